/*-------------------------------------------------------------------------
 *
 * conn.h
 *	  A connection's inside, shared by the files of the socket server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <libwebsockets.h>
#include <uv.h>

#include "../realtime/list.h"
#include "extensions.h"
#include "server.h"
#include "tls.h"
#include "websocket.h"

/* Bytes that are handed to a socket in one write. */
#define OUT_SIZE		16384

/*
 * Everything that a client can keep us waiting for.  Each kind has one length
 * of time, so its list is in order of expiry and costs nothing to keep.
 */
typedef enum deadline_kind
{
	DEADLINE_HEAD,				/* for a complete request's head */
	DEADLINE_IDLE,				/* for another request to begin */
	DEADLINE_BODY,				/* for its body */
	DEADLINE_ANSWER,			/* for the owner's answer */
	DEADLINE_MESSAGE,			/* for the rest of a message */
	DEADLINE_CLOSE,				/* for the peer's end of a closing */
	DEADLINE_WRITE				/* for a reader to take anything at all */
} deadline_kind;

#define DEADLINE_KINDS	7

typedef struct deadline
{
	list_node	link;
	uint64_t	due;			/* milliseconds of the loop's clock */
} deadline;

typedef enum conn_state
{
	CONN_HEAD,					/* a request is to come */
	CONN_BODY,					/* the request's body is to come */
	CONN_ANSWER,				/* the owner's answer is to come */
	CONN_ANSWERED,				/* it is to be sent, then the next request */
	CONN_OPEN,					/* a WebSocket */
	CONN_CLOSING,				/* our close frame first, then the peer's */
	CONN_DRAINING,				/* our last bytes, then the peer's last */
	CONN_LEAVING				/* our last bytes, and that is all */
} conn_state;

/* What server_flush() looks at comes first, to be in one cache line. */
struct server_conn
{
	list_node	due;			/* in server.due: to be looked at */
	void	   *user;			/* the owner's, while it is open .. */
	uint8_t    *last;			/* bytes that end our side */
	int			fd;
	bool		choked;			/* the socket takes no more */
	bool		ended;			/* the last bytes are written */
	bool		dead;			/* to be torn down */
	bool		tls_failed;		/* nothing can be read or written any more */
	tls		   *tls;			/* NULL: plain */
	server	   *srv;
	conn_state	state;
	struct lws *wsi;
	size_t		last_len;
	list_node	all;
	deadline	reading;
	deadline	writing;
	char	   *head;			/* pieces of a request */
	size_t		head_len;
	void	   *exchange;		/* .. or while a request is served */
	char	   *body;			/* pieces of it */
	size_t		body_len;
	size_t		body_size;		/* as it was announced */
	bool		bodyless;		/* the answer to HEAD */
	bool		whole;			/* nothing of the request is still to come */
	bool		keep;			/* another request may follow */
	bool		kept;			/* it may, and has not begun */
	size_t		unsent;			/* bytes of an answer that the socket did not
								 * take at once */
	deflate_terms deflate;
	ws_decoder	ws;
};

struct server
{
	uv_loop_t	loop;
	struct lws_context *context;
	struct lws_vhost *vhost;
	server_ops	ops;
	void	   *arg;
	server_config config;
	size_t		count;			/* connections of every state */
	size_t		open;			/* those that have an owner */
	size_t		body_bytes;		/* memory for bodies */
	size_t		unsent_bytes;	/* and for answers that wait for readers */
	list		conns;
	list		due;
	list		deadlines[DEADLINE_KINDS];
	struct listeners *listeners;
	inflater   *inflater;		/* of all connections */
	tls_context *tls;			/* of new connections; NULL: plain */
	uint64_t	handshakes;		/* of TLS, that succeeded */
	uint64_t	answers[6];		/* to requests, by status / 100 */
	server_conn *reading;		/* whose input by TLS this is .. */
	const uint8_t *cipher;
	size_t		cipher_len;
	uint8_t		in[OUT_SIZE];	/* .. and what it means */
	uint8_t		out[OUT_SIZE];
};

/* conn.c */
extern server_conn *conn_new(server *srv);
extern void conn_free(server_conn *conn);
extern void conn_input(server_conn *conn, uint8_t *data, size_t len);
extern void conn_writable(server_conn *conn);
extern void conn_flush(server_conn *conn);
extern void conn_kill(server_conn *conn);
extern void conn_reset(server_conn *conn);
extern void conn_expire(server *srv);
extern bool conn_make_room(server *srv);

extern void conn_end(server_conn *conn, const void *head, size_t head_len,
					 const void *body, size_t body_len, conn_state next);
extern void conn_count_answer(server_conn *conn, int status);
extern void conn_fail(server_conn *conn, int status, const char *error);
extern void conn_await(server_conn *conn, deadline_kind kind);
extern void conn_give_up(server_conn *conn);
extern bool conn_write(server_conn *conn, const uint8_t *bytes, size_t len);
extern bool conn_put(server_conn *conn, const uint8_t *bytes, size_t len);

/* exchange.c */
extern void exchange_begin(server_conn *conn, const http_request *request,
						   const char *data, size_t len);
extern void exchange_input(server_conn *conn, const char *data, size_t len);
extern void exchange_end(server_conn *conn);
extern void exchange_next(server_conn *conn);
extern void exchange_waits(server_conn *conn, size_t len);
extern void exchange_sent(server_conn *conn);

/* listen.c: open sockets are handed to accepted(), which owns them then. */
extern struct listeners *listeners_new(server *srv,
									   void (*accepted) (server *srv, int fd));
extern int	listeners_open(struct listeners *l, char *error,
						   size_t error_size);
extern void listeners_close(struct listeners *l);

#endif							/* NET_CONN_H */
