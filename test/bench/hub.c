/*-------------------------------------------------------------------------
 *
 * hub.c
 *	  A bare hub: what it costs to send frames to sockets, and nothing else.
 *
 *		hub PORT			one send() for each frame
 *		hub PORT coalesce	one for all that is due to a socket in a turn
 *
 * The measure for the gateway's fan-out.  It knows no tokens, no members, no
 * slow readers, and its clients trust it.  Whoever begins with "G" gets a
 * WebSocket, is a reader of the room that its first message names (at the end
 * of "eq.", see room_id()), and gets an answer to each further one.  Whoever
 * begins with "P" gets that back, and publishes texts, each after its room and
 * length.
 *
 *-------------------------------------------------------------------------
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FILES	20000
#define MOST_ROOMS	20000
#define INPUT_SIZE	(8 << 20)

typedef struct reader
{
	int			fd;
	struct reader *next;		/* in its room */
	bool		joined;
	char	   *due;			/* what this turn has for it */
	size_t		due_len;
	size_t		due_size;
} reader;

static bool coalesce;
static reader readers[MOST_FILES];
static reader *rooms[MOST_ROOMS];
static reader *touched[MOST_FILES];
static int	ntouched;
static int	publisher = -1;
static char input[INPUT_SIZE];
static size_t input_len;

static void
check(bool fine, const char *what)
{
	if (!fine)
	{
		perror(what);
		exit(1);
	}
}

/* The one send() of the comparison. */
static void
write_out(reader *r, const char *data, size_t len)
{
	check(send(r->fd, data, len, MSG_NOSIGNAL) == (ssize_t) len ||
		  errno == EPIPE || errno == ECONNRESET, "send");
}

static void
add_due(reader *r, const char *data, size_t len)
{
	if (r->due_len == 0)
		touched[ntouched++] = r;
	if (r->due_len + len > r->due_size)
	{
		r->due_size = 2 * (r->due_len + len);
		r->due = realloc(r->due, r->due_size);
		check(r->due != NULL, "realloc");
	}
	memcpy(r->due + r->due_len, data, len);
	r->due_len += len;
}

static void
flush_due(void)
{
	while (ntouched > 0)
	{
		reader	   *r = touched[--ntouched];

		write_out(r, r->due, r->due_len);
		r->due_len = 0;
	}
}

static size_t
make_frame(char *frame, const char *text, uint32_t len)
{
	size_t		at = 2;

	frame[0] = (char) 0x81;
	if (len < 126)
		frame[1] = (char) len;
	else
	{
		frame[1] = 126;
		frame[at++] = (char) (len >> 8);
		frame[at++] = (char) len;
	}
	memcpy(frame + at, text, len);
	return at + len;
}

static void
publish(void)
{
	ssize_t		got = recv(publisher, input + input_len,
						   sizeof(input) - input_len, MSG_DONTWAIT);
	char	   *p = input;
	uint32_t	head[2];
	static char frame[65536 + 4];

	if (got <= 0)
	{
		close(publisher);
		publisher = -1;
		return;
	}
	input_len += (size_t) got;
	while ((size_t) (input + input_len - p) >= sizeof(head) &&
		   (memcpy(head, p, sizeof(head)),
			(size_t) (input + input_len - p) >= sizeof(head) + head[1]))
	{
		size_t		len = make_frame(frame, p + sizeof(head), head[1]);

		for (reader *r = rooms[head[0]]; r != NULL; r = r->next)
			coalesce ? add_due(r, frame, len) : write_out(r, frame, len);
		p += sizeof(head) + head[1];
	}
	input_len = (size_t) (input + input_len - p);
	memmove(input, p, input_len);
	flush_due();
}

static void
leave(reader *r)
{
	close(r->fd);
	for (int i = 0; i < MOST_ROOMS; i++)
		for (reader **link = &rooms[i]; *link != NULL; link = &(*link)->next)
			if (*link == r)
			{
				*link = r->next;
				return;
			}
}

/* A request, the message that names the room, or a publisher. */
static void
read_reader(reader *r)
{
	static const char welcome[] = "HTTP/1.1 101 Switching Protocols\r\n"
		"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
	static const char reply[] = "[\"1\",\"1\",\"room\",\"phx_reply\","
		"{\"status\":\"ok\",\"response\":{}}]";
	char		text[4096];
	char		frame[200];
	ssize_t		got = recv(r->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	char	   *room;

	if (got <= 0)
	{
		leave(r);
		return;
	}
	text[got] = '\0';
	if (text[0] == 'P')
	{
		publisher = r->fd;
		write_out(r, text, 1);
	}
	else if (text[0] == 'G')
		write_out(r, welcome, sizeof(welcome) - 1);
	else if (r->joined)			/* heartbeats are all that comes then */
		write_out(r, frame, make_frame(frame, reply, sizeof(reply) - 1));
	else if ((room = memmem(text, (size_t) got, "eq.", 3)) != NULL)
	{
		reader	  **list = &rooms[strtoul(room + 3 + 24, NULL, 16)];

		r->joined = true;
		r->next = *list;
		*list = r;
		write_out(r, frame, make_frame(frame, reply, sizeof(reply) - 1));
	}
}

static void
take_in(int epoll, int listener)
{
	struct epoll_event event = {.events = EPOLLIN};
	int			fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	check(fd >= 0 && fd < MOST_FILES, "accept");
	event.data.fd = fd;
	readers[fd] = (reader) {.fd = fd};
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int
listen_on(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t) port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	int			fd = socket(AF_INET, SOCK_STREAM, 0);
	int			one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));	/* inherited */
	check(bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0 &&
		  listen(fd, 4096) == 0, "listen");
	return fd;
}

int
main(int argc, char **argv)
{
	int			listener = listen_on(atoi(argv[1]));
	int			epoll = epoll_create1(0);
	struct epoll_event events[512] = {{.events = EPOLLIN,.data.fd = listener}};
	struct rlimit limit;

	coalesce = argc > 2;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, events);
	for (;;)
	{
		int			n = epoll_wait(epoll, events, 512, -1);

		for (int i = 0; i < n; i++)
		{
			int			fd = events[i].data.fd;

			if (fd == listener)
				take_in(epoll, listener);
			else if (fd == publisher)
				publish();
			else
				read_reader(&readers[fd]);
		}
	}
}
