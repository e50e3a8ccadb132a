/*-------------------------------------------------------------------------
 *
 * rooms.h
 *	  What the hub's own files share: its objects, and what each file offers
 *	  the others.
 *
 * Who owns whom: the hub owns connections and users; a connection owns its
 * channels; a channel owns its bindings (one a requested postgres_changes
 * item).  A user stands for a profile with at least one channel and owns its
 * seats, one a conversation that the profile is a member of or that a binding
 * names.  A room is a conversation with at least one seated member.
 *
 * A live binding is in exactly one list, the one by which an event finds it:
 * that of a seat when its filter names a conversation, that of its user when
 * it does not, or the hub's when the channel may see everything.  So an event
 * costs what its receivers cost, however many others are connected.
 *
 * Cutting a connection while lists of its channels are being walked would
 * pull the ground away, so conn_cut() only marks it; what it owned goes in
 * hub_reap(), at the end of each call from outside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_ROOMS_H
#define REALTIME_ROOMS_H

#include "buf.h"
#include "change.h"
#include "filter.h"
#include "hub.h"
#include "list.h"
#include "map.h"
#include "message.h"
#include "table.h"
#include "wheel.h"

#define UUID_SIZE			16
#define HUB_MAX_BINDINGS	100 /* whatever the configuration allows */

typedef struct room
{
	map_entry	entry;
	uint8_t		id[UUID_SIZE];
	list		members;		/* seats */
	list		lost;			/* seats whose user lost sight of it by the
								 * transaction being applied */
	list_node	in_lost;		/* hub.lost, when lost is not empty */
} room;

typedef enum user_state
{
	USER_QUEUED,				/* in hub.unasked */
	USER_ASKED,					/* load is in flight */
	USER_LOADED
} user_state;

typedef struct user
{
	map_entry	entry;
	uint8_t		id[UUID_SIZE];
	hub		   *hub;
	list		channels;
	list		waiting;		/* channels, until the user is loaded */
	list		bindings;		/* live ones that name no conversation */
	list		seats;
	list_node	in_unasked;
	struct load *load;
	user_state	state;

	/* What the memberships' snapshot saw; until the stream passes fence. */
	uint64_t	fence;
	uint32_t	xmin;
	uint32_t	xmax;
	uint32_t	nxip;
	uint32_t   *xip;

	/* Spent on the event being routed; see route.c. */
	uint64_t	effort_event;
	uint32_t	effort;
} user;

/* A question about a user that waits for its answer. */
typedef struct load
{
	map_entry	entry;
	uint64_t	ticket;
	user	   *user;
	struct kept_change *kept;	/* membership changes since it was asked */
	uint32_t	nkept;
} load;

typedef struct seat
{
	map_entry	entry;
	uint8_t		room_id[UUID_SIZE]; /* with user_id the key */
	uint8_t		user_id[UUID_SIZE];
	user	   *user;
	room	   *room;			/* NULL: no member (any more) */
	list_node	in_room;		/* members or lost */
	list_node	in_user;
	list		bindings;		/* live ones that name this conversation */
	bool		member;
	uint64_t	since;			/* commit that made it a member's; 0: read */
} seat;

typedef struct binding
{
	list_node	link;			/* the list by which events find it */
	struct channel *channel;
	seat	   *seat;			/* when in a seat's list */
	struct binding *next_hit;	/* route.c */
	uint32_t	id;
	uint8_t		tables;			/* bits 1 << event_table */
	uint8_t		actions;		/* BINDING_* */
	bool		pinned;			/* to one conversation */
	uint8_t		room_id[UUID_SIZE];
	filter	   *filter;			/* what else it asks for, or NULL */
	projection *select;			/* or NULL: all columns */
} binding;

#define BINDING_INSERT	0x01
#define BINDING_UPDATE	0x02
#define BINDING_DELETE	0x04
#define BINDING_ALL		0x07

typedef enum identity_kind
{
	IDENTITY_NONE,				/* no usable token */
	IDENTITY_ANON,				/* sees nothing */
	IDENTITY_USER,				/* sees what its profile is a member of */
	IDENTITY_SERVICE			/* sees everything */
} identity_kind;

typedef struct identity
{
	identity_kind kind;
	uint8_t		profile_id[UUID_SIZE];
	int64_t		exp;			/* seconds since 1970 */
	uint64_t	token[2];		/* seeded hash: to tell a token from itself */
} identity;

typedef struct channel
{
	list_node	in_conn;
	list_node	in_user;
	list_node	in_waiting;		/* hub's or user's */
	hub_conn   *conn;
	user	   *user;			/* IDENTITY_USER, once asked for */
	identity	identity;
	timer		timer;			/* its answer's time limit, then expiry */
	frame	   *reply;			/* until it can be given */
	frame	   *close_replaced; /* phx_close of the channel before it */
	bool		live;			/* bindings are in the lists */
	int			nbindings;
	binding    *bindings;

	/* The event being routed; see route.c. */
	struct channel *next_hit;
	binding    *hits;
	binding   **hits_end;

	uint64_t	topic_hash;
	size_t		topic_len;
	const char *topic;
	const char *join_ref;		/* JSON */
	const char *ref;			/* of the join, JSON */
	char		text[];			/* of the three */
} channel;

/* What a frame on its way needs comes first: it is in few cache lines then. */
struct hub_conn
{
	hub		   *hub;
	void	   *socket;
	int			vsn;
	bool		cut;
	queue		queue;
	list_node	link;			/* hub.conns, or hub.cut */
	int			close_code;
	const char *close_reason;
	identity	identity;
	list		channels;
	list		refusals;		/* error replies that wait */
	int			nchannels;
	int			nrefusals;
	size_t		refusal_bytes;
	int			nbindings;
	int64_t		joins_until;	/* see conn_may_join() */
	int64_t		last_seen;		/* seconds */
	timer		idle;
};

struct hub
{
	hub_config	config;
	hub_ops		ops;
	void	   *arg;
	hub_stats	stats;
	hash_seed	seed;
	wheel		wheel;
	int64_t		now;			/* seconds */
	bool		live;
	bool		routing;		/* a transaction, of which a piece was routed */
	table	   *tables[EVENT_TABLES];
	list		conns;
	list		cut;			/* connections that hub_reap() ends */
	list		closed;			/* ended, not yet closed by the shell */
	list		waiting;		/* channels, until the stream is live */
	list		bindings;		/* live ones that see everything */
	list		unasked;		/* users */
	list		lost;			/* rooms */
	map			users;
	map			rooms;
	map			seats;
	map			loads;
	map			projections;
	uint64_t	next_ticket;
	struct route *route;
};

/* hub.c */
extern bool hub_knows_tables(const hub *h);

/* conn.c */
extern void conn_push(hub_conn *conn, frame *f, const channel *owner);
extern void conn_send(hub_conn *conn, frame *f);	/* drops the reference */
extern void conn_cut(hub_conn *conn, int code, const char *reason);
extern void conn_refuse(hub_conn *conn, frame *f);
extern bool conn_may_join(hub_conn *conn);
extern void hub_reap(hub *h);

/* identity.c */
extern void identity_set(hub *h, identity *identity,
						 const token_claims *claims, const char *token,
						 size_t len);
extern const char *identity_token(const json_t *payload, const char *key,
								  size_t *len);
extern bool identity_same_token(hub *h, const identity *identity,
								const char *token, size_t len);
extern token_status identity_verify(hub *h, identity *identity,
									const char *token, size_t len);
extern void identity_problem(buf *b, token_status status, int64_t expired_s,
							 bool with_code);
extern bool identity_expired(const identity *identity, int64_t now_s);

/* channel.c */
#define NOT_READY \
	"InitializingProjectConnection: Realtime is initializing the project " \
	"connection"

extern void channel_receive(hub_conn *conn, const message *m);
extern channel *channel_find(hub_conn *conn, const message *m);
extern channel *channel_new(hub_conn *conn, const message *m,
							const identity *identity);
extern void channel_drop(channel *ch);
extern void channel_take_back(const channel *ch, const uint8_t *room_id);
extern void channel_clear_bindings(channel *ch);
extern frame *channel_close_frame(const channel *ch);
extern void channel_system(channel *ch, const char *extension,
						   const char *status, const char *text);
extern void channel_settle(channel *ch);
extern void channel_refuse(channel *ch, const char *reason);

/* join.c */
extern void channel_join(hub_conn *conn, const message *m);

/* binding.c */
extern bool binding_parse(hub *h, binding *b, const json_t *params,
						  buf *problem);
extern void binding_clear(hub *h, binding *b);
extern uint32_t binding_id(const json_t *params, const binding *others,
						   int nothers);

/* membership.c */
extern user *user_get(hub *h, const uint8_t *profile_id);
extern void user_free_if_idle(user *u);
extern bool user_knows(user *u, const event_header *e);
extern void user_cut(user *u);
extern seat *seat_get(user *u, const uint8_t *room_id);
extern void seat_free_if_idle(seat *s);
extern void membership_apply(hub *h, const event_header *e);
extern void membership_take_back(hub *h);
extern void membership_forget_lost(hub *h);
extern void membership_ask(hub *h);

/* route.c */
extern struct route *route_new(void);
extern void route_free(struct route *r);
extern void route_event(hub *h, const event_header *e);

#endif							/* REALTIME_ROOMS_H */
