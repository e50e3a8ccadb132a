/*-------------------------------------------------------------------------
 *
 * listen.c
 *	  Listening sockets.
 *
 * We accept ourselves, because libwebsockets neither shares a port between
 * processes nor bounds what it accepts, and spins when descriptors run out.
 * Here a turn of the loop accepts so many connections and no more; when there
 * are no descriptors left, a spare one is given up for a moment to take the
 * next connection and drop it, so that the listening socket does not stay
 * readable for ever; and when even that fails we do not listen for a second.
 *
 * When everybody comes back at once, those who are connected must not notice,
 * and those who come must not be refused: some clients never try again then.
 * So they are let in at a rate, and wait in the kernel's line before that.  Who
 * finds no place there is not told either; TCP tries again by itself, after one
 * second, three, and seven.
 *
 * What is set on a listening socket is inherited by those that it accepts.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_LISTENERS		16
#define BACKLOG				4096	/* or net.core.somaxconn */
#define ACCEPTS_A_TURN		64
#define PAUSE_MS			1000

/*
 * A handshake costs up to 0.1 ms, most of it for the token's signature: at
 * this rate, after a first burst, handshakes take at most a fifth of a core.
 */
#define ACCEPTS_A_SECOND	2000
#define ACCEPT_BURST		500
#define NS_PER_ACCEPT		(UINT64_C(1000000000) / ACCEPTS_A_SECOND)

/* By TLS it costs up to 1 ms, so these count twice, lest it takes too long. */
#define TLS_FACTOR			2

/* For so long it is full, before the next few are let in. */
#define TURNSTILE_MS		20

/* That clients wait, or are turned away, is said no more often than this. */
#define COMPLAINT_MS		60000

/* The kernel doubles this; it is all that a stalled reader can cost it. */
#define SOCKET_BUFFER		65536

/* A peer that vanished is noticed after so long, with data under way or not. */
#define UNACKED_MS			30000
#define KEEPALIVE_IDLE_S	60
#define KEEPALIVE_TRY_S		15
#define KEEPALIVE_TRIES		4

typedef struct listener
{
	struct listeners *owner;
	int			fd;
	uv_poll_t	poll;
} listener;

struct listeners
{
	server	   *srv;
	void		(*accepted) (server *srv, int fd);
	int			spare;			/* a descriptor to give up */
	uint64_t	next_complaint;	/* of what is missing */
	uint64_t	next_notice;	/* of a storm */
	uint64_t	spent_until;	/* in ns: those so far use up the rate */
	uv_timer_t	pause;
	int			count;
	listener	items[MAX_LISTENERS];
};

static int	open_entry(struct listeners *l, const char *entry,
					   char *error, size_t error_size);
static int	open_host(struct listeners *l, const char *host, int *opened,
					  char *error, size_t error_size);
static int	open_address(struct listeners *l, const struct addrinfo *address);
static int	set_options(int fd, int family, bool shared);
static void ready(uv_poll_t *poll, int status, int events);
static bool may_accept(struct listeners *l);
static bool accept_one(struct listeners *l, int listening);
static bool drop_one(struct listeners *l, int listening);
static bool accept_failed(struct listeners *l);
static void complain(struct listeners *l, uint64_t *next, const char *line);
static void pause_listening(struct listeners *l, unsigned milliseconds);
static void resume_listening(uv_timer_t *timer);

struct listeners *
listeners_new(server *srv, void (*accepted) (server *srv, int fd))
{
	struct listeners *l = calloc(1, sizeof(struct listeners));

	if (l == NULL)
		return NULL;
	l->srv = srv;
	l->accepted = accepted;
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	uv_timer_init(&srv->loop, &l->pause);
	l->pause.data = l;
	return l;
}

/* Listen on every address, or on none. */
int
listeners_open(struct listeners *l, char *error, size_t error_size)
{
	char	   *addresses = strdup(l->srv->config.addresses);
	char	   *save = NULL;
	int			err = addresses ? EADDRNOTAVAIL : ENOMEM;

	snprintf(error, error_size, "could not listen: %s",
			 addresses ? "no address is given" : strerror(ENOMEM));

	for (char *entry = addresses ? strtok_r(addresses, ", \t", &save) : NULL;
		 entry != NULL;
		 entry = strtok_r(NULL, ", \t", &save))
	{
		err = open_entry(l, entry, error, error_size);
		if (err != 0)
			break;
	}
	free(addresses);

	if (err != 0)
	{
		while (l->count > 0)
			close(l->items[--l->count].fd);
		return err;
	}

	for (int i = 0; i < l->count; i++)
	{
		uv_poll_init(&l->srv->loop, &l->items[i].poll, l->items[i].fd);
		l->items[i].poll.data = &l->items[i];
	}
	resume_listening(&l->pause);
	return 0;
}

/* One entry of the list; at least one of its addresses must be there. */
static int
open_entry(struct listeners *l, const char *entry,
		   char *error, size_t error_size)
{
	int			opened = 0;
	int			err;

	/* Both families, where the machine has both. */
	if (strcmp(entry, "*") == 0)
	{
		err = open_host(l, "0.0.0.0", &opened, error, error_size);
		if (err == 0)
			err = open_host(l, "::", &opened, error, error_size);
	}
	else if (strcmp(entry, "localhost") == 0)
	{
		err = open_host(l, "127.0.0.1", &opened, error, error_size);
		if (err == 0)
			err = open_host(l, "::1", &opened, error, error_size);
	}
	else
		err = open_host(l, entry, &opened, error, error_size);

	if (err == 0 && opened == 0)
		err = EADDRNOTAVAIL;
	return err;
}

static int
open_host(struct listeners *l, const char *host, int *opened,
		  char *error, size_t error_size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,.ai_flags = AI_PASSIVE};
	struct addrinfo *found;
	char		port[16];
	int			err;

	snprintf(port, sizeof(port), "%d", l->srv->config.port);
	err = getaddrinfo(host, port, &hints, &found);
	if (err != 0)
	{
		snprintf(error, error_size, "could not resolve address \"%s\": %s",
				 host, gai_strerror(err));
		return EADDRNOTAVAIL;
	}

	for (struct addrinfo *a = found; a != NULL; a = a->ai_next)
	{
		err = open_address(l, a);
		if (err == 0)
		{
			(*opened)++;
			continue;
		}
		snprintf(error, error_size,
				 "could not listen on address \"%s\", port %s: %s",
				 host, port, strerror(err));
		if (err != EADDRNOTAVAIL && err != EAFNOSUPPORT)
			break;
		err = 0;
	}
	freeaddrinfo(found);
	return err;
}

static int
open_address(struct listeners *l, const struct addrinfo *address)
{
	int			err;
	int			fd;

	if (l->count == MAX_LISTENERS)
		return EMFILE;

	fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
				0);
	if (fd < 0)
		return errno;

	err = set_options(fd, address->ai_family, l->srv->config.shared);
	if (err == 0 && (bind(fd, address->ai_addr, address->ai_addrlen) != 0 ||
					 listen(fd, BACKLOG) != 0))
		err = errno;
	if (err != 0)
	{
		close(fd);
		return err;
	}

	l->items[l->count].owner = l;
	l->items[l->count++].fd = fd;
	return 0;
}

static int
set_options(int fd, int family, bool shared)
{
	const struct
	{
		bool		wanted;
		int			level;
		int			name;
		int			value;
	}			options[] = {
		{true, SOL_SOCKET, SO_REUSEADDR, 1},

		/*
		 * Not when we are alone: another server of the same user could then
		 * share the port with us, and each would get half of the clients.
		 */
		{shared, SOL_SOCKET, SO_REUSEPORT, 1},
		{family == AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, 1},
		{true, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER},
		{true, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER},
		{true, SOL_SOCKET, SO_KEEPALIVE, 1},
		{true, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{true, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_TRY_S},
		{true, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TRIES},
		{true, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS},
		{true, IPPROTO_TCP, TCP_NODELAY, 1}
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].wanted &&
			setsockopt(fd, options[i].level, options[i].name,
					   &options[i].value, sizeof(int)) != 0)
			return errno;
	return 0;
}

static void
ready(uv_poll_t *poll, int status, int events)
{
	listener   *item = poll->data;
	struct listeners *l = item->owner;

	(void) status;
	(void) events;
	for (int i = 0; i < ACCEPTS_A_TURN; i++)
	{
		if (!may_accept(l))
		{
			complain(l, &l->next_notice,
					 "more clients come than are let in at once, they wait");
			pause_listening(l, TURNSTILE_MS);
			break;
		}
		if (!accept_one(l, item->fd))
			break;
		l->spent_until += NS_PER_ACCEPT *
			(l->srv->tls != NULL ? TLS_FACTOR : 1);
	}
}

static bool
may_accept(struct listeners *l)
{
	uint64_t	now = uv_hrtime();

	if (l->spent_until < now)
		l->spent_until = now;
	return l->spent_until - now < ACCEPT_BURST * NS_PER_ACCEPT;
}

/* False: there is nobody left, or no way to take somebody in. */
static bool
accept_one(struct listeners *l, int listening)
{
	int			fd = accept4(listening, NULL, NULL,
							 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
	{
		l->accepted(l->srv, fd);
		return true;
	}

	/* Without a free descriptor it fails even when nobody is waiting. */
	if (errno == EMFILE || errno == ENFILE)
		return drop_one(l, listening);
	return accept_failed(l);
}

/* Give up the spare descriptor to take somebody in, and out. */
static bool
drop_one(struct listeners *l, int listening)
{
	int			fd;
	int			err;

	if (l->spare >= 0)
		close(l->spare);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	err = errno;
	if (fd >= 0)
	{
		close(fd);
		complain(l, &l->next_complaint,
				 "no file descriptors are left, clients are turned away");
	}
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);

	errno = err;
	return fd >= 0 || accept_failed(l);
}

/* True: a failure of that one connection's only. */
static bool
accept_failed(struct listeners *l)
{
	if (errno == ECONNABORTED || errno == EINTR)
		return true;
	if (errno != EAGAIN)
	{
		complain(l, &l->next_complaint,
				 "could not accept connections for a while");
		pause_listening(l, PAUSE_MS);
	}
	return false;
}

static void
complain(struct listeners *l, uint64_t *next, const char *line)
{
	uint64_t	now = uv_now(&l->srv->loop);

	if (now < *next)
		return;
	*next = now + COMPLAINT_MS;
	l->srv->ops.log(l->srv->arg, line);
}

static void
pause_listening(struct listeners *l, unsigned milliseconds)
{
	for (int i = 0; i < l->count; i++)
		uv_poll_stop(&l->items[i].poll);
	uv_timer_start(&l->pause, resume_listening, milliseconds, 0);
}

static void
resume_listening(uv_timer_t *timer)
{
	struct listeners *l = timer->data;

	if (l->spare < 0)
		l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < l->count; i++)
		uv_poll_start(&l->items[i].poll, UV_READABLE, ready);
}

static void
freed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The timer, closed last, takes the whole struct with it. */
void
listeners_close(struct listeners *l)
{
	for (int i = 0; i < l->count; i++)
	{
		uv_poll_stop(&l->items[i].poll);
		uv_close((uv_handle_t *) &l->items[i].poll, NULL);
		close(l->items[i].fd);
	}
	if (l->spare >= 0)
		close(l->spare);
	uv_close((uv_handle_t *) &l->pause, freed);
}
