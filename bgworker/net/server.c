/*-------------------------------------------------------------------------
 *
 * server.c
 *	  The socket server.
 *
 * libuv's loop is one descriptor that the owner waits for, among its other
 * events.  libwebsockets sits on that loop and carries bytes for sockets that
 * we accepted and it adopted: reading, writing, keeping what a socket did not
 * take, closing; those of TLS pass OpenSSL on the way (tls.c).  It does so in
 * its raw role: HTTP and WebSocket are ours (http.c, websocket.c, conn.c),
 * which are small, know nothing of sockets, and can be fuzzed.  In its own
 * WebSocket role 4.1.6 takes unmasked frames without telling, has no limit to a
 * message, loops for ever on pipelined POSTs, keeps its timers in a list that
 * each connection walks through, and Debian builds it with its assertions on.
 *
 * Its timers are not used at all.  Deadlines are our own (conn.c), and the
 * loop sleeps when there are none.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Connections above max_connections: they are told so and closed, or have not
 * asked for anything yet.
 */
#define EXCESS_CONNECTIONS	64

/* For listening sockets, the loop's own descriptors, and libraries. */
#define SPARE_FILES			64

#define PROTOCOL			"openhr_msg"

static int	serve(struct lws *wsi, enum lws_callback_reasons reason,
				  void *session, void *in, size_t len);
static bool start_library(server *srv, char *error, size_t error_size);
static void log_library(int level, const char *line);
static void limit_files(server *srv);
static void adopt(server *srv, int fd);

static const struct lws_protocols protocols[] = {
	{.name = PROTOCOL,.callback = serve,.tx_packet_size = OUT_SIZE},
	{0}
};

/* Where the library's log goes: it knows of only one in a process. */
static server *log_server;

server *
server_new(const server_config *config, const server_ops *ops, void *arg,
		   char *error, size_t error_size)
{
	server	   *srv = calloc(1, sizeof(server));
	char	   *addresses = strdup(config->addresses);
	inflater   *inflater = inflater_new();

	if (srv == NULL || addresses == NULL || inflater == NULL)
	{
		snprintf(error, error_size, "out of memory");
		inflater_free(inflater);
		free(addresses);
		free(srv);
		return NULL;
	}

	srv->config = *config;
	srv->config.addresses = addresses;
	srv->inflater = inflater;
	srv->ops = *ops;
	srv->arg = arg;
	list_init(&srv->conns);
	list_init(&srv->due);
	for (int kind = 0; kind < DEADLINE_KINDS; kind++)
		list_init(&srv->deadlines[kind]);

	limit_files(srv);
	if (!start_library(srv, error, error_size))
	{
		inflater_free(inflater);
		free(addresses);
		free(srv);
		return NULL;
	}
	return srv;
}

static bool
start_library(server *srv, char *error, size_t error_size)
{
	/* No timers of the library's on any connection. */
	static const lws_retry_bo_t no_timers = {0};
	void	   *loops[] = {&srv->loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
		.foreign_loops = loops,
		.protocols = protocols,
		.retry_and_idle_policy = &no_timers,
		.pt_serv_buf_size = OUT_SIZE,
		.vhost_name = PROTOCOL,
		.pcontext = &srv->context
	};

	log_server = srv;
	lws_set_log_level(LLL_ERR, log_library);

	if (uv_loop_init(&srv->loop) != 0)
	{
		snprintf(error, error_size, "could not make an event loop");
		return false;
	}

	srv->context = lws_create_context(&info);
	if (srv->context)
		srv->vhost = lws_create_vhost(srv->context, &info);
	srv->listeners = srv->vhost ? listeners_new(srv, adopt) : NULL;
	if (srv->listeners == NULL)
	{
		snprintf(error, error_size,
				 "could not start libwebsockets with its libuv event library");
		return false;
	}
	return true;
}

/* An error of the library's, without its line end. */
static void
log_library(int level, const char *line)
{
	char		text[256];

	(void) level;
	snprintf(text, sizeof(text), "libwebsockets: %.*s",
			 (int) strcspn(line, "\n"), line);
	log_server->ops.log(log_server->arg, text);
}

/*
 * Ask for as many descriptors as connections may need, on top of what the
 * process uses otherwise, and take fewer connections when there are fewer.
 * The library reserves memory by this limit, so it must be neither the
 * default nor infinite.
 */
static void
limit_files(server *srv)
{
	server_config *config = &srv->config;
	rlim_t		others = config->other_files + EXCESS_CONNECTIONS + SPARE_FILES;
	rlim_t		wanted = config->max_connections + others;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;

	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < wanted)
	{
		char		line[160];
		int			possible = limit.rlim_cur > others ?
			(int) (limit.rlim_cur - others) : 1;

		snprintf(line, sizeof(line),
				 "the limit of open files allows only %d of %d connections",
				 possible, config->max_connections);
		srv->ops.log(srv->arg, line);
		config->max_connections = possible;
	}
}

void
server_free(server *srv)
{
	list_foreach_safe(node, &srv->conns)
		lws_set_timeout(list_entry(server_conn, all, node)->wsi,
						PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	listeners_close(srv->listeners);
	uv_run(&srv->loop, UV_RUN_NOWAIT);

	/* In two steps, with the loop's help; the pointer is cleared at the end. */
	lws_context_destroy(srv->context);
	while (uv_run(&srv->loop, UV_RUN_NOWAIT) != 0)
		;
	if (srv->context)
		lws_context_destroy(srv->context);
	uv_loop_close(&srv->loop);
	inflater_free(srv->inflater);
	tls_context_free(srv->tls);
	free((char *) srv->config.addresses);
	free(srv);
}

void
server_set_max_message(server *srv, size_t max_message)
{
	srv->config.max_message = max_message;
}

void
server_set_compression(server *srv, bool compression)
{
	srv->config.compression = compression;
}

bool
server_set_tls(server *srv, const char *cert_file, const char *key_file,
			   char *error, size_t error_size)
{
	tls_context *context = NULL;

	if (cert_file != NULL)
	{
		context = tls_context_new(cert_file, key_file, error, error_size);
		if (context == NULL)
			return false;
	}
	tls_context_free(srv->tls);
	srv->tls = context;
	return true;
}

int64_t
server_certificate_expiry(const server *srv)
{
	return srv->tls != NULL ? tls_context_expiry(srv->tls) : 0;
}

uint64_t
server_handshakes(const server *srv)
{
	return srv->handshakes;
}

uint64_t
server_answers(const server *srv, int hundred)
{
	return srv->answers[hundred];
}

int
server_window(const server_conn *conn)
{
	return conn->deflate.window;
}

bool
server_peer(const server_conn *conn, struct sockaddr_storage *peer)
{
	socklen_t	len = sizeof(*peer);

	return getpeername(conn->fd, (struct sockaddr *) peer, &len) == 0;
}

int
server_listen(server *srv, char *error, size_t error_size)
{
	return listeners_open(srv->listeners, error, error_size);
}

/* Take over an accepted socket. */
static void
adopt(server *srv, int fd)
{
	lws_adopt_desc_t info = {
		.vh = srv->vhost,
		.type = LWS_ADOPT_SOCKET,
		.fd = {.sockfd = fd},
		.vh_prot_name = PROTOCOL
	};
	size_t		most = (size_t) srv->config.max_connections +
		EXCESS_CONNECTIONS;
	size_t		before = srv->count;
	server_conn *conn = before < most || conn_make_room(srv) ?
		conn_new(srv) : NULL;

	if (conn != NULL && srv->tls != NULL)
	{
		conn->tls = tls_new(srv->tls, conn);
		if (conn->tls == NULL)
		{
			conn_free(conn);
			conn = NULL;
		}
	}
	if (conn == NULL)
	{
		close(fd);
		return;
	}

	/* It closes fd when it fails, and may have called us back by then. */
	info.opaque = conn;
	if (lws_adopt_descriptor_vhost_via_info(&info) == NULL &&
		srv->count > before)
		conn_free(conn);
}

/* libwebsockets' callback; a return value of -1 makes it close the socket. */
static int
serve(struct lws *wsi, enum lws_callback_reasons reason, void *session,
	  void *in, size_t len)
{
	server_conn *conn;

	(void) session;
	switch (reason)
	{
		case LWS_CALLBACK_RAW_ADOPT:
			conn = lws_get_opaque_user_data(wsi);
			conn->wsi = wsi;
			conn->fd = lws_get_socket_fd(wsi);
			return 0;
		case LWS_CALLBACK_RAW_RX:
			conn = lws_get_opaque_user_data(wsi);
			if (conn->tls != NULL)
				tls_input(conn, in, len);
			else
				conn_input(conn, in, len);
			return conn->dead ? -1 : 0;
		case LWS_CALLBACK_RAW_WRITEABLE:
			conn = lws_get_opaque_user_data(wsi);
			conn_writable(conn);
			return conn->dead ? -1 : 0;
		case LWS_CALLBACK_RAW_CLOSE:
			conn_free(lws_get_opaque_user_data(wsi));
			return 0;
		default:
			return 0;
	}
}

int
server_fd(const server *srv)
{
	return uv_backend_fd(&srv->loop);
}

int
server_timeout(server *srv)
{
	int			timeout;

	uv_update_time(&srv->loop);
	timeout = uv_backend_timeout(&srv->loop);

	for (int kind = 0; kind < DEADLINE_KINDS; kind++)
	{
		uint64_t	now = uv_now(&srv->loop);
		uint64_t	due;
		int			left;

		if (list_is_empty(&srv->deadlines[kind]))
			continue;
		due = list_entry(deadline, link, srv->deadlines[kind].next)->due;
		left = due > now ? (int) (due - now) : 0;
		if (timeout < 0 || left < timeout)
			timeout = left;
	}
	return timeout;
}

void
server_run(server *srv)
{
	uv_run(&srv->loop, UV_RUN_NOWAIT);
	conn_expire(srv);
}

size_t
server_connections(const server *srv)
{
	return srv->count;
}

/*
 * Connections are many and lie anywhere in memory.  While the kernel works for
 * one, the next two can be fetched, and what the owner has for the first.
 */
static void
prefetch_due(const server *srv)
{
	const server_conn *next;

	if (list_is_empty(&srv->due))
		return;
	next = list_entry(server_conn, due, srv->due.next);
	__builtin_prefetch(next->due.next);
	__builtin_prefetch(next->user);
	__builtin_prefetch((const char *) next->user + 64);
}

void
server_flush(server *srv)
{
	list_node  *node;

	while ((node = list_shift(&srv->due)) != NULL)
	{
		server_conn *conn = list_entry(server_conn, due, node);

		prefetch_due(srv);
		conn_flush(conn);
		if (conn->dead)
			lws_set_timeout(conn->wsi, PENDING_TIMEOUT_USER_OK,
							LWS_TO_KILL_SYNC);
	}
}

void
server_shutdown(server *srv, int code, const char *reason)
{
	list_foreach(node, &srv->conns)
		server_close(list_entry(server_conn, all, node), code, reason);
	server_flush(srv);
}
