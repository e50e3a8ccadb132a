/*-------------------------------------------------------------------------
 *
 * net_world.h
 *	  A socket server in a child process, and a client that knows every byte.
 *
 * The child serves a small owner that echoes messages and obeys a few
 * commands; the parent is the client, with plain blocking sockets.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_WORLD_H
#define NET_WORLD_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "net/server.h"

#define MAX_MESSAGE		16384
#define MAX_CONNECTIONS	40
#define PATIENCE_S		20		/* longer than every deadline of the server */

/* The example key of RFC 6455, 1.3, and its answer. */
#define KEY		"dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT	"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static int	port;

/* Bytes that the server takes; a program may set it before serve(). */
static size_t max_message = MAX_MESSAGE;

static size_t max_body = 1024 * 1024;
/* Is compression agreed on with those who offer it?  Likewise. */
static bool compression = true;

/* Where a certificate and its key are, for TLS; read anew upon SIGHUP. */
static const char *cert_file;
static const char *key_file;

/* The test cannot go on. */
static void __attribute__((format(printf, 1, 2), noreturn))
bail_out(const char *format,...)
{
	va_list		args;

	printf("Bail out! ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	exit(255);
}

/*
 * The owner
 */

typedef struct owned
{
	server_conn *conn;
	uint8_t    *bytes;
	size_t		len;
	size_t		sent;
} owned;

static server *srv;
static long turns;
static long pongs;
static volatile sig_atomic_t stopping;
static volatile sig_atomic_t reloading;

static inline void
enqueue(owned *o, bool binary, const char *data, size_t len)
{
	uint8_t		head[10] = {binary ? 0x82 : 0x81, len < 126 ? len : 127};
	size_t		head_len = 2;

	if (len >= 126)
	{
		for (int i = 0; i < 8; i++)
			head[2 + i] = (uint64_t) len >> (8 * (7 - i));
		head_len = 10;
	}
	o->bytes = realloc(o->bytes, o->len + head_len + len);
	memcpy(o->bytes + o->len, head, head_len);
	memcpy(o->bytes + o->len + head_len, data, len);
	o->len += head_len + len;
	server_want_write(o->conn);
}

static inline void *
on_request(void *arg, server_conn *conn, const http_request *request,
		   server_refusal *refusal)
{
	owned	   *o;
	char		value[64];

	(void) arg;
	if (http_query_value(request, "apikey", value, sizeof(value)) &&
		strcmp(value, "no good") == 0)
	{
		refusal->status = 401;
		refusal->error = "Token has expired";
		return NULL;
	}
	o = calloc(1, sizeof(owned));
	o->conn = conn;
	return o;
}

/*
 * HTTP: "/echo" answers with its body, "/sum" with the sum of its bytes,
 * "/late" never, or with the next request to "/now", "/expire" when it is too
 * late.
 */
typedef struct exchange
{
	server_conn *conn;
	char		path[16];
} exchange;

static exchange *late;
static int	exchanges;

static inline void *
on_begin(void *arg, server_conn *conn, const http_request *request,
		 size_t body_size, http_response *response)
{
	static const char *const paths[] = {
		"/echo", "/sum", "/late", "/now", "/expire"
	};
	static char body[64];
	exchange   *x;

	(void) arg;
	http_set_error(response, body_size > max_body ? 413 : 404, "not found",
				   body, sizeof(body));
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
	{
		if (strcmp(request->path, paths[i]) != 0 || body_size > max_body)
			continue;
		x = calloc(1, sizeof(exchange));
		x->conn = conn;
		strcpy(x->path, paths[i]);
		exchanges++;
		return x;
	}
	return NULL;
}

static inline void
reply(const exchange *x, int status, const char *body, size_t len)
{
	http_response response = {
		.status = status,.headers = "X-Test: yes\r\n",.body = body,
		.body_len = len
	};

	server_answer(x->conn, &response);
}

static inline void
on_body(void *arg, void *user, const char *data, size_t len)
{
	exchange   *x = user;
	char		text[64];
	unsigned long sum = 0;

	(void) arg;
	for (size_t i = 0; i < len; i++)
		sum += (unsigned char) data[i];
	snprintf(text, sizeof(text), "%zu:%lu:%d", len, sum, exchanges);
	if (strcmp(x->path, "/echo") == 0)
		reply(x, 202, data, len);
	else if (strcmp(x->path, "/sum") == 0)
		reply(x, 202, text, strlen(text));
	else if (strcmp(x->path, "/late") == 0)
		late = x;
	else if (strcmp(x->path, "/now") == 0)
	{
		if (late != NULL)
			reply(late, 202, "late", 4);
		reply(x, 202, late != NULL ? "it was" : "nobody", 6);
	}
}

static inline void
on_expired(void *arg, void *user)
{
	exchange   *x = user;

	(void) arg;
	if (strcmp(x->path, "/expire") == 0)
		reply(x, 503, "expired", 7);
}

static inline void
on_done(void *arg, void *user)
{
	(void) arg;
	if (late == user)
		late = NULL;
	exchanges--;
	free(user);
}

static inline void
tell(owned *o, long number)
{
	char		text[32];

	enqueue(o, false, text, snprintf(text, sizeof(text), "%ld", number));
}

/* Leave room for so many descriptors, or (-1) for as many as before. */
static inline void
limit_files(int spare)
{
	static rlim_t before = 0;
	int			lowest = dup(0);
	struct rlimit limit;

	close(lowest);
	getrlimit(RLIMIT_NOFILE, &limit);
	if (before == 0)
		before = limit.rlim_cur;
	limit.rlim_cur = spare < 0 ? before : (rlim_t) (lowest + spare);
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* A command, or something to echo. */
static inline void
on_receive(void *arg, void *user, bool binary, const char *data, size_t len)
{
	owned	   *o = user;
	int			count,
				size;
	char		text[64];

	(void) arg;
	snprintf(text, sizeof(text), "%.*s", (int) len, data);
	if (sscanf(text, "burst %d %d", &count, &size) == 2)
	{
		char	   *filler = malloc(size);

		memset(filler, 'x', size);
		while (count-- > 0)
			enqueue(o, false, filler, size);
		free(filler);
	}
	else if (sscanf(text, "files %d", &count) == 1)
	{
		limit_files(count);
		tell(o, count);
	}
	else if (strcmp(text, "close") == 0)
		server_close(o->conn, 1012, "come back");
	else if (strcmp(text, "cut") == 0)
		server_cut(o->conn, 1013, "too slow");
	else if (strcmp(text, "turns") == 0)
		tell(o, turns);
	else if (strcmp(text, "pongs") == 0)
		tell(o, pongs);
	else if (strcmp(text, "handshakes") == 0)
		tell(o, server_handshakes(srv));
	else if (strcmp(text, "connections") == 0)
		tell(o, server_connections(srv));
	else
		enqueue(o, binary, data, len);
}

static inline void
on_pong(void *arg, void *user, const char *data, size_t len)
{
	(void) arg;
	(void) user;
	(void) data;
	(void) len;
	pongs++;
}

static inline size_t
on_fill(void *arg, void *user, uint8_t *buf, size_t size)
{
	owned	   *o = user;
	size_t		len = o->len - o->sent;

	(void) arg;
	if (len > size)
		len = size;
	if (len > 0)
		memcpy(buf, o->bytes + o->sent, len);
	o->sent += len;
	if (o->sent == o->len)
	{
		free(o->bytes);
		o->bytes = NULL;
		o->len = o->sent = 0;
	}
	return len;
}

static inline void
on_closed(void *arg, void *user)
{
	owned	   *o = user;

	(void) arg;
	free(o->bytes);
	free(o);
}

static inline void
on_refused(void *arg, int status, const char *error)
{
	(void) arg;
	(void) status;
	(void) error;
}

static inline void
on_log(void *arg, const char *line)
{
	(void) arg;
	printf("# %s\n", line);
	fflush(stdout);
}

static inline void
on_signal(int signo)
{
	(void) signo;
	stopping = 1;
}

static inline void
on_hangup(int signo)
{
	(void) signo;
	reloading = 1;
}

static inline void
reload(void)
{
	char		error[256];

	reloading = 0;
	if (cert_file != NULL &&
		!server_set_tls(srv, cert_file, key_file, error, sizeof(error)))
		on_log(NULL, error);
}

/* The child: serve until SIGTERM. */
static inline void
serve(int ready)
{
	static const server_ops ops = {
		on_request, on_receive, on_pong, on_fill, on_closed, on_begin,
		on_body, on_expired, on_done, on_refused, on_log
	};
	server_config config = {
		.addresses = "localhost",.port = port,
		.max_connections = MAX_CONNECTIONS,.other_files = 100,
		.max_message = max_message,.compression = compression
	};
	char		error[256] = "";
	int			err;

	/* Not to be left behind by a test that dies. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, on_signal);
	srv = server_new(&config, &ops, NULL, error, sizeof(error));
	if (srv != NULL)
		reload();
	signal(SIGHUP, on_hangup);
	err = srv ? server_listen(srv, error, sizeof(error)) : -1;
	if (err != 0)
	{
		printf("# %s\n", error);
		exit(1);
	}
	server_run(srv);
	if (write(ready, "", 1) != 1)
		exit(1);

	while (!stopping)
	{
		struct pollfd fd = {.fd = server_fd(srv),.events = POLLIN};

		poll(&fd, 1, server_timeout(srv));
		turns++;
		if (reloading)
			reload();
		server_run(srv);
		server_flush(srv);
	}
	server_shutdown(srv, 1012, "the server is shutting down");
	server_free(srv);
	exit(0);
}

/*
 * The client
 */

static pid_t child;

/* A port that nobody listens on now. */
static inline int
free_port(void)
{
	struct sockaddr_in any = {
		.sin_family = AF_INET,.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	socklen_t	len = sizeof(any);
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *) &any, sizeof(any)) != 0 ||
		getsockname(fd, (struct sockaddr *) &any, &len) != 0)
		bail_out("could not find a port: %s", strerror(errno));
	close(fd);
	return ntohs(any.sin_port);
}

/* Have a server. */
static inline void
start(void)
{
	int			ready[2];
	char		byte;

	port = free_port();
	if (pipe(ready) != 0 || (child = fork()) < 0)
		bail_out("could not start: %s", strerror(errno));
	if (child == 0)
		serve(ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		bail_out("the server did not start");
	close(ready[0]);
}

/* End it; it must have lived, without a fault or a leak. */
static inline void
stop(void)
{
	int			status;

	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		  "the server ends well, and leaks nothing");
}

static inline int
dial(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int			one = 1;
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *) &to, sizeof(to)) != 0)
		bail_out("could not connect: %s", strerror(errno));
	return fd;
}

static inline void
say(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;

	/* A server that has closed already is none of the sender's business. */
	while (len > 0)
	{
		ssize_t		n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		p += n;
		len -= n;
	}
}

/* Everything until the server closes, or size bytes; -1: it was reset. */
static inline ssize_t
hear(int fd, void *buf, size_t size)
{
	size_t		len = 0;

	while (len < size)
	{
		ssize_t		n = recv(fd, (char *) buf + len, size - len, 0);

		if (n < 0 && errno == EAGAIN)
			bail_out("the server is silent after %zu of %zu bytes", len, size);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += n;
	}
	return len;
}

static inline void
hear_head(int fd, char *head, size_t size)
{
	size_t		len = 0;

	while (len < size - 1 && (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4)))
		if (hear(fd, head + len, 1) == 1)
			len++;
		else
			break;
	head[len] = '\0';
}

#define UPGRADE \
	"GET /x/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: here\r\n" \
	"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" \
	"Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n"

/* A connection with its handshake done. */
static inline int
join(void)
{
	int			fd = dial();
	char		head[1024];

	say(fd, UPGRADE, strlen(UPGRADE));
	hear_head(fd, head, sizeof(head));
	if (strncmp(head, "HTTP/1.1 101 ", 13) != 0 ||
		strstr(head, "Sec-WebSocket-Accept: " ACCEPT "\r\n") == NULL)
		bail_out("handshake failed: %s", head);
	return fd;
}

/* A client's frame; returns its size. */
static inline size_t
build(uint8_t *out, int first, const void *data, size_t len)
{
	static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	size_t		at = 0;

	out[at++] = first;
	if (len < 126)
		out[at++] = 0x80 | len;
	else if (len < 65536)
	{
		out[at++] = 0x80 | 126;
		out[at++] = len >> 8;
		out[at++] = len;
	}
	else
	{
		out[at++] = 0x80 | 127;
		for (int i = 7; i >= 0; i--)
			out[at++] = (uint64_t) len >> (8 * i);
	}
	memcpy(out + at, mask, 4);
	at += 4;
	for (size_t i = 0; i < len; i++)
		out[at++] = ((const uint8_t *) data)[i] ^ mask[i & 3];
	return at;
}

static inline void
frame(int fd, int first, const void *data, size_t len)
{
	uint8_t    *out = malloc(len + 14);

	say(fd, out, build(out, first, data, len));
	free(out);
}

static inline void
text(int fd, const char *message)
{
	frame(fd, 0x81, message, strlen(message));
}

/* The server's next frame; returns its first byte, or -1 at the end. */
static inline int
next(int fd, char *data, size_t size, size_t *len)
{
	uint8_t		head[10];

	*len = 0;
	if (hear(fd, head, 2) != 2)
		return -1;
	*len = head[1];
	if (head[1] == 127)
	{
		if (hear(fd, head + 2, 8) != 8)
			return -1;
		*len = 0;
		for (int i = 0; i < 8; i++)
			*len = *len << 8 | head[2 + i];
	}
	if (*len >= size || hear(fd, data, *len) != (ssize_t) *len)
		return -1;
	data[*len] = '\0';
	return head[0];
}

/* Is this the next frame? */
static inline bool
receives(int fd, int first, const char *message)
{
	char		data[64];
	size_t		len;

	return next(fd, data, sizeof(data), &len) == first &&
		strcmp(data, message) == 0;
}

static inline bool
echoes(int fd, const char *message)
{
	text(fd, message);
	return receives(fd, 0x81, message);
}

static inline long
ask(int fd, const char *question)
{
	char		data[64];
	size_t		len;

	text(fd, question);
	if (next(fd, data, sizeof(data), &len) != 0x81)
		bail_out("no answer to \"%s\"", question);
	return atol(data);
}

/* The code of the close frame that comes next, 1005 without, -1: none. */
static inline int
close_code(int fd)
{
	char		data[128];
	size_t		len;

	if (next(fd, data, sizeof(data), &len) != 0x88)
		return -1;
	return len < 2 ? 1005 : (uint8_t) data[0] << 8 | (uint8_t) data[1];
}

static inline double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

#endif							/* NET_WORLD_H */
