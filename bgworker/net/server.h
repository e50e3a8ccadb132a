/*-------------------------------------------------------------------------
 *
 * server.h
 *	  The socket server: listening, the opening handshake, messages in, bytes
 *	  out, and the end of a connection, on libwebsockets and libuv.
 *
 * Driven from one thread by its owner, which waits until server_fd() is
 * readable or server_timeout() has passed, calls server_run(), and once a turn
 * server_flush().  Nothing here blocks or calls into PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#ifdef POSTGRES_H
#error "the socket server knows nothing of PostgreSQL"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"

typedef struct server server;
typedef struct server_conn server_conn;

/* In place of a status of HTTP: who was turned away did not speak TLS. */
#define SERVER_NO_TLS	(-1)

typedef struct server_refusal
{
	int			status;			/* of HTTP */
	const char *error;			/* lasts, and needs no escaping in JSON */
} server_refusal;

typedef struct server_ops
{
	/*
	 * A client asks for a WebSocket.  Returns the owner's pointer for the
	 * connection, which is open from then on, or NULL and fills refusal.
	 */
	void	   *(*request) (void *arg, server_conn *conn,
							const http_request *request,
							server_refusal *refusal);

	/* A complete message; text is valid UTF-8. */
	void		(*receive) (void *arg, void *user, bool binary,
							const char *data, size_t len);

	/* The answer to a ping that was among what was filled; at most 125 bytes. */
	void		(*pong) (void *arg, void *user, const char *data, size_t len);

	/* Copy whole frames that wait to be sent; 0: there are none. */
	size_t		(*fill) (void *arg, void *user, uint8_t *buf, size_t size);

	/* The connection is no longer open; user is not used again. */
	void		(*closed) (void *arg, void *user);

	/*
	 * A client asks for something else, with a body of so many bytes.  Returns
	 * the owner's pointer for the exchange, whose body is read then, or NULL
	 * and fills response.
	 */
	void	   *(*begin) (void *arg, server_conn *conn,
						  const http_request *request, size_t body_size,
						  http_response *response);

	/* The body, which lasts as long as the call.  To be answered, soon. */
	void		(*body) (void *arg, void *exchange, const char *data,
						 size_t len);

	/* It was not answered in time: this is the last chance. */
	void		(*expired) (void *arg, void *exchange);

	/* The exchange is over, answered or not; it is not used again. */
	void		(*done) (void *arg, void *exchange);

	/*
	 * Somebody was turned away before there was a WebSocket, with a status of
	 * HTTP; error is a text of ours that lasts.
	 */
	void		(*refused) (void *arg, int status, const char *error);

	/* One line for the log; never holds anything that a client sent. */
	void		(*log) (void *arg, const char *line);
} server_ops;

typedef struct server_config
{
	const char *addresses;		/* names or numbers, separated by commas */
	int			port;
	bool		shared;			/* other processes listen on the port, too */
	int			max_connections;
	int			other_files;	/* descriptors that the process needs besides */
	size_t		max_message;	/* bytes */
	bool		compression;	/* for those who offer it */
} server_config;

/* NULL with a message in error: it cannot be made. */
extern server *server_new(const server_config *config, const server_ops *ops,
						  void *arg, char *error, size_t error_size);
extern void server_free(server *srv);

/* For connections that come from now on. */
extern void server_set_max_message(server *srv, size_t max_message);
extern void server_set_compression(server *srv, bool compression);

/*
 * Speak TLS with this certificate (NULL: none) with connections that come from
 * now on.  False, with a message in error: all stays as it was.
 */
extern bool server_set_tls(server *srv, const char *cert_file,
						   const char *key_file,
						   char *error, size_t error_size);

/* When it expires, in seconds since 1970, or 0; how many handshakes went well. */
extern int64_t server_certificate_expiry(const server *srv);
extern uint64_t server_handshakes(const server *srv);

/* How many requests were answered with a status of this hundred. */
extern uint64_t server_answers(const server *srv, int hundred);

/* 0, or an errno with a message in error; may be tried again. */
extern int	server_listen(server *srv, char *error, size_t error_size);

extern int	server_fd(const server *srv);
extern int	server_timeout(server *srv);	/* milliseconds, -1: none */
extern void server_run(server *srv);
extern size_t server_connections(const server *srv);

/* The client's address, or its proxy's; false: it is gone. */
struct sockaddr_storage;
extern bool server_peer(const server_conn *conn,
						struct sockaddr_storage *peer);

/*
 * Does the client take compressed frames (RFC 7692)?  The bits of its window,
 * which all that such a frame stands for must fit in; 0: it does not.
 */
extern int	server_window(const server_conn *conn);

/*
 * May be called from within the callbacks, too: they take effect in the next
 * server_flush().  There is something to fill; close after what is to be
 * filled; and close, but do not wait for a reader that is behind.
 */
extern void server_want_write(server_conn *conn);
extern void server_close(server_conn *conn, int code, const char *reason);
extern void server_cut(server_conn *conn, int code, const char *reason);
extern void server_flush(server *srv);

/* Answer an exchange, once. */
extern void server_answer(server_conn *conn, const http_response *response);

/*
 * Fill and write now, as far as the socket takes it; whatever comes of it, the
 * connection is there until the next server_run() or server_flush().
 */
extern void server_write(server_conn *conn);

/* Tell every client at once; the process is about to exit. */
extern void server_shutdown(server *srv, int code, const char *reason);

#endif							/* NET_SERVER_H */
