/*-------------------------------------------------------------------------
 *
 * hub.h
 *	  One gateway's realtime state, without a socket or a server in it:
 *	  connections, channels, subscriptions, who is a member of what, and the
 *	  queues of frames that wait to be written.
 *
 * The hub is driven from one thread by its owner, the shell, which
 *	 - opens and closes connections and passes on what they received,
 *	 - passes on the pongs that come from them (acks.c),
 *	 - passes on the events out of the WAL, in commit order,
 *	 - answers the hub's questions about the tables (hub_ops.load_user,
 *	   take_mark, catch_up, replay),
 *	 - has the tables keep what arrived (receipts), and how far clients are
 *	   (positions),
 *	 - takes signals from here to the hubs of all gateways,
 *	 - writes the queues of the connections that became dirty, and
 *	 - calls hub_tick() when hub_next_tick() says.
 *
 * Nothing here blocks, raises an error of the server's, or calls into
 * PostgreSQL; the #error below keeps it so.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_HUB_H
#define OPENHR_MSG_HUB_H

#ifdef POSTGRES_H
#error "the realtime rooms know nothing of PostgreSQL"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../decoder/event.h"
#include "../../src/token.h"
#include "queue.h"

typedef struct hub hub;
typedef struct hub_conn hub_conn;
typedef struct hub_post hub_post;

/* RFC 6455 close codes that the hub asks for. */
#define HUB_CLOSE_NORMAL		1000	/* idle */
#define HUB_CLOSE_PROTOCOL		1002
#define HUB_CLOSE_POLICY		1008	/* its token was revoked */
#define HUB_CLOSE_TOO_BIG		1009
#define HUB_CLOSE_RESTART		1012	/* come back: state was lost */
#define HUB_CLOSE_TRY_LATER		1013	/* come back: reader too slow */

/* What became of a post. */
typedef enum hub_post_result
{
	HUB_POST_SAID,				/* as far as it was allowed */
	HUB_POST_FORBIDDEN,			/* nothing of it was allowed */
	HUB_POST_BUSY,				/* nothing was said: there is no room */
	HUB_POST_FAILED				/* nothing was said: it is not known whether
								 * it would be allowed */
} hub_post_result;

typedef struct hub_ops
{
	/*
	 * Read the conversations that a profile is a member of now; answered
	 * later by hub_user_loaded() or hub_user_failed() with the same ticket.
	 * False: the question cannot be taken now (queue full, no executor).
	 */
	bool		(*load_user) (void *arg, uint64_t ticket,
							  const uint8_t profile_id[16]);

	/*
	 * Look at the tables; answered by hub_marked().  Read what a profile has
	 * missed: the request is a MsgCatchUp (calls.h), answered by
	 * hub_caught_up() or hub_catch_up_failed().  False: not now.
	 */
	bool		(*take_mark) (void *arg, uint64_t ticket);
	bool		(*catch_up) (void *arg, uint64_t ticket,
							 const uint8_t profile_id[16],
							 const void *request, size_t len);

	/*
	 * Read the latest broadcasts of a topic (without "realtime:") since a time
	 * in milliseconds since 1970; answered by hub_replayed().  False: not now.
	 */
	bool		(*replay) (void *arg, uint64_t ticket, const char *topic,
						   size_t len, int64_t since, int limit);

	/* The connection's empty queue got a frame.  A queue may also become
	 * empty by itself, and dirty again before the shell has looked. */
	void		(*dirty) (void *arg, hub_conn *conn);

	/*
	 * The queue is full, perhaps only because so much came at once: write now
	 * what the socket takes.  The connection stays, whatever comes of it.
	 */
	void		(*drain) (void *arg, hub_conn *conn);

	/*
	 * Close this connection soon, never from within this call.  The hub has
	 * emptied its queue, except for frames that must precede the close.
	 */
	void		(*close) (void *arg, hub_conn *conn, int code,
						  const char *reason);

	/* One line for the log; never holds anything that a client sent. */
	void		(*log) (void *arg, const char *line);

	/* The end of hub_post_send(), perhaps from within it. */
	void		(*posted) (void *arg, void *post_arg, hub_post_result result);
} hub_ops;

typedef struct hub_config
{
	size_t		max_queue_bytes;	/* per connection */
	int			max_channels;	/* per connection (100) */
	int			max_bindings;	/* per channel (100) */
	int			idle_timeout;	/* seconds without a client frame (90) */
	int			gateway;		/* number of this one among all */
	int			presence_grace; /* seconds that a lost connection is present */
	bool		public_channels;	/* topics that are no conversation's */
	bool		receipts;		/* find out what has arrived */
	const token_keys *keys;		/* may be replaced by hub_set_config */
} hub_config;

typedef struct hub_stats
{
	uint64_t	connections;
	uint64_t	channels;
	uint64_t	users;			/* profiles with a membership in memory */
	uint64_t	events;			/* routed */
	uint64_t	frames;			/* queued */
	uint64_t	slow_readers;	/* cut at max_queue_bytes */
	uint64_t	signals;		/* taken */
	uint64_t	dropped;		/* frames of broadcast and presence that slow
								 * readers did not get */
	uint64_t	receipts;		/* messages' ranges known to have arrived */
	uint64_t	receipts_lost;	/* of which nobody was told */
	uint64_t	delivered;		/* messages in them that were news */
	latency		acknowledged;	/* the oldest message of each pong */
	uint64_t	caught_up;		/* events told to who had missed them */
	uint64_t	positions_lost; /* that could not be kept */
} hub_stats;

/* now is in microseconds since 1970 in every call that takes it. */
extern hub *hub_new(const hub_config *config, const hub_ops *ops, void *arg);
extern void hub_free(hub *h);
extern void hub_set_config(hub *h, const hub_config *config);
extern const hub_stats *hub_get_stats(const hub *h);

/*
 * Name of the tables' schema and their columns: a JSON array of
 * {"name":..,"type":..} per table as in an event.  Until it was called for
 * all tables, joins with bindings are answered with an error.
 */
extern bool hub_set_table(hub *h, event_table table, const char *schema,
						  const char *columns, size_t columns_len);

/*
 * Connections.  socket is the shell's own pointer; claims are those of the
 * token, or NULL when it brought none that is valid: such a connection can
 * join with a token of the channel's own only.  NULL: no memory.
 * hub_token_revoked() tells, before, whether the hub knows of a revocation of
 * the token; if it hears of one later, the connection ends.
 */
extern hub_conn *hub_conn_open(hub *h, void *socket, int vsn /* 1 or 2 */ ,
							   const token_claims *claims, const char *token,
							   int64_t now);
extern bool hub_token_revoked(hub *h, const token_claims *claims);
extern void hub_conn_close(hub_conn *conn); /* frees it */

/*
 * The client takes compressed frames (RFC 7692), when what they stand for fits
 * in a window of so many bits; 0, as at first: it does not.
 */
extern void hub_conn_set_window(hub_conn *conn, int bits);

/*
 * The client has a name by which it comes back, of at most MSG_CLIENT_ID_MAX
 * bytes of UTF-8.  False: it is too long, or there is no memory.
 */
extern bool hub_conn_set_client(hub_conn *conn, const char *client_id,
								size_t len);
extern void hub_conn_receive(hub_conn *conn, bool binary, const char *data,
							 size_t len, int64_t now);
extern void hub_conn_pong(hub_conn *conn, const char *data, size_t len,
						  int64_t now);
extern void *hub_conn_socket(const hub_conn *conn);
extern struct queue *hub_conn_queue(hub_conn *conn);

/*
 * Answers to load_user.  From the snapshot on, the user's memberships follow
 * the events; events that are part of the snapshot neither change them nor
 * are delivered to this user.  False: the answer is malformed.
 */
extern bool hub_user_loaded(hub *h, uint64_t ticket,
							const event_snapshot *snapshot, size_t len);
extern void hub_user_failed(hub *h, uint64_t ticket, const char *reason);

/*
 * A transaction, in three steps:
 * - hub_learn() with all its events that change who sees what, or revoke
 *	 tokens (others do no harm), in their order; when it must be done anew,
 *	 from the beginning;
 * - hub_route() with all its events, in one piece or in several;
 * - hub_commit().
 * So each event goes to exactly those who see it once the transaction has
 * committed; a deleted conversation or participant row is told to those who
 * lost sight of it by this transaction, too.  The shell has checked each event
 * by hub_event_valid() and drops what it has seen already (commit_lsn,
 * ordinal).
 */
extern bool hub_event_valid(const void *data, size_t len);
extern void hub_learn(hub *h, const event_header *event);
extern void hub_route(hub *h, const event_header *const *events, size_t n);
extern void hub_commit(hub *h);

/* The rest of the transaction will not come. */
extern void hub_abandon(hub *h);

/* Every transaction was routed that had committed before this place. */
extern void hub_passed(hub *h, uint64_t lsn);

/*
 * Answers to take_mark (an event_mark; NULL: there is none) and to catch_up (a
 * MsgCaughtUp).  False: the answer is malformed.
 */
extern bool hub_marked(hub *h, uint64_t ticket, const void *mark, size_t len);
extern bool hub_caught_up(hub *h, uint64_t ticket, const void *data,
						  size_t len);
extern void hub_catch_up_failed(hub *h, uint64_t ticket, const char *reason);

/* The answer to replay: events, the oldest first; NULL: there is none. */
extern void hub_replayed(hub *h, uint64_t ticket, const void *data,
						 size_t len);

/*
 * Is the stream of events running?  Joins that ask for changes wait while it
 * is not: their reply promises that every later commit arrives.
 */
extern void hub_set_live(hub *h, bool live);

/*
 * Events were lost (the slot was made anew, or we were left behind): before
 * the stream is live again, everybody's memberships are read again, and then
 * what each channel has missed.  Where it is not known what that is, the
 * connection is asked to come back.
 */
extern void hub_recover(hub *h);

/*
 * Nothing holds any more (the extension was dropped): every connection is
 * asked to come back, posts that wait fail, and memberships are forgotten.
 */
extern void hub_reset(hub *h, int code, const char *reason);

/*
 * Broadcast and presence (signals.h).  What hub_outgoing() returns is the next
 * signal that all hubs are to get by hub_signal(), this one included, all in
 * the same order; NULL: there is none.  It stays the same until hub_sent()
 * says that it is on its way.  When some that were on their way may be lost,
 * hub_relink() makes good for them.  The shell has checked a signal by
 * signal_valid().
 */
extern const void *hub_outgoing(hub *h, size_t *size);
extern void hub_sent(hub *h);
extern void hub_relink(hub *h);
extern void hub_signal(hub *h, const void *data, size_t len, int64_t now);

/*
 * Messages that have arrived at a client of a profile: those of other senders
 * from first to last, by seq, in a conversation.
 */
typedef struct hub_receipt
{
	uint8_t		conversation_id[16];
	uint8_t		profile_id[16];
	int64_t		first;
	int64_t		last;
	uint32_t	tries;			/* the hub's own */
} hub_receipt;

/*
 * Take up to max receipts, to be written to the tables; returns how many.
 * Those for which that did not succeed may be given back, and come again
 * later; sooner or later they are given up.  hub_receipts_due() tells when
 * there is something to take, 0: never.
 */
extern size_t hub_take_receipts(hub *h, hub_receipt *receipts, size_t max);
extern void hub_receipts_again(hub *h, const hub_receipt *receipts, size_t n,
							   int64_t now);
extern int64_t hub_receipts_due(const hub *h);

/*
 * Take positions of clients to be saved, as many MsgSavedPosition records as
 * fit; returns the bytes.  hub_positions_saved() when they are saved, or
 * cannot be.  hub_positions_due() is like hub_receipts_due().
 */
extern size_t hub_take_positions(hub *h, void *records, size_t max,
								 int64_t now);
extern void hub_positions_saved(hub *h);
extern int64_t hub_positions_due(const hub *h);

/*
 * What is broadcast without a connection, over HTTP.  A post gets its messages
 * one by one and is sent once, when hub_post_wait() has let it pass.  It may
 * be freed at any time; then nothing is told of it any more.
 */
typedef struct hub_said
{
	const char *topic;			/* without "realtime:" */
	size_t		topic_len;
	const char *event;			/* UTF-8, at most 255 bytes */
	size_t		event_len;
	const char *payload;		/* JSON, or (raw) bytes */
	size_t		payload_len;
	const char *id;				/* UTF-8, for meta.id; or NULL */
	bool		private;
	bool		raw;
} hub_said;

#define HUB_POST_MAX_TOPIC	246
#define HUB_POST_MAX_EVENT	255
#define HUB_POST_MOST		100 /* messages of one post */

extern hub_post *hub_post_new(hub *h, const token_claims *claims, void *arg);
extern bool hub_post_add(hub_post *p, const hub_said *said);

/* 0, and its share is used up; or how many milliseconds to wait. */
extern int64_t hub_post_wait(hub_post *p, int64_t now);
extern void hub_post_send(hub_post *p, int64_t now);
extern void hub_post_free(hub_post *p);

/*
 * Expired tokens, idle connections, changes of presence.  It may be called at
 * any time; hub_next_tick() tells when it must be, 0: never.
 */
extern void hub_tick(hub *h, int64_t now);
extern int64_t hub_next_tick(const hub *h);

#endif							/* OPENHR_MSG_HUB_H */
