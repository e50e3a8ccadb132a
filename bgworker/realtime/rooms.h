/*-------------------------------------------------------------------------
 *
 * rooms.h
 *	  What the hub's own files share: its objects, and what each file offers
 *	  the others.
 *
 * Who owns whom: the hub owns connections and users; a connection owns its
 * channels; a channel owns its bindings (one a requested postgres_changes
 * item).  A user stands for a profile whose tokens are in use here.  Once a
 * channel follows what the profile sees, or a post waits to know, it owns the
 * profile's seats, one a conversation that the profile is a member of or that
 * a binding names.  A room is a conversation with at least one seated member.
 *
 * A live binding is in exactly one list, the one by which an event finds it:
 * that of a seat when its filter names a conversation, that of its user when
 * it does not, or the hub's when the channel may see everything.  So an event
 * costs what its receivers cost, however many others are connected.
 *
 * A venue is a topic's name, private or not, with at least one channel here
 * that was joined under it, or somebody present anywhere.  Broadcasts find
 * their way by it.  When it is a conversation's, its channels also hang on
 * their users' seats: who has no member's seat hears nothing and is not heard.
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
#include "packer.h"
#include "position.h"
#include "signals.h"
#include "table.h"
#include "wheel.h"
#include "../calls.h"

#define UUID_SIZE			16
#define HUB_MAX_BINDINGS	100 /* whatever the configuration allows */

typedef struct room
{
	map_entry	entry;
	uint8_t		id[UUID_SIZE];
	list		members;		/* seats */
	uint32_t	nmembers;
	list		lost;			/* seats whose user lost sight of it by the
								 * transaction being applied */
	list_node	in_lost;		/* hub.lost, when lost is not empty */
} room;

typedef enum user_state
{
	USER_IDLE,					/* nobody asks for its memberships */
	USER_QUEUED,				/* in hub.unasked */
	USER_ASKED,					/* load is in flight */
	USER_LOADED
} user_state;

typedef struct user
{
	map_entry	entry;
	uint8_t		id[UUID_SIZE];
	hub		   *hub;
	list		conns;			/* that opened with a token of it */
	list		bearers;		/* all channels with a token of it */
	list		channels;		/* those that follow its memberships */
	list		waiting;		/* channels, until the user is loaded */
	list		bindings;		/* live ones that name no conversation */
	list		seats;
	list		posts;			/* until the user is loaded */
	list_node	in_unasked;
	list_node	in_known;		/* hub.known, unless idle */
	struct load *load;
	user_state	state;
	int			pins;			/* keep it, whoever leaves it */
	bool		judged;			/* revoked_at was read, and is followed */
	int64_t		revoked_at;		/* seconds since 1970; 0: never */

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
	list		channels;		/* whose topic names it */
	bool		member;
	bool		stale;			/* of before the user is read again */
	uint64_t	since;			/* commit that made it a member's; 0: read */

	/* Messages that are known to have arrived, and so need no receipt. */
	int64_t		first_seq;
	int64_t		last_seq;
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
	bool		has_profile;	/* that tokens of it can be revoked for */
	uint8_t		profile_id[UUID_SIZE];
	int64_t		exp;			/* seconds since 1970 */
	int64_t		iat;			/* 0: not known */
	uint64_t	token[2];		/* seeded hash: to tell a token from itself */
} identity;

/* Where broadcasts are heard, and who is present. */
typedef struct venue
{
	map_entry	entry;
	uint64_t	digest[2];		/* of the rest of its identity */
	hub		   *hub;
	list		channels;
	list		attendees;		/* in the order in which they came */
	list		changed;		/* those of which there is something to tell */
	list_node	in_changed;		/* hub.changed */
	int			nmetas;
	size_t		meta_bytes;
	buf			state;			/* as clients were told; empty: to be built */
	bool		private;
	bool		of_room;		/* members only */
	uint8_t		room_id[UUID_SIZE];
	size_t		topic_len;
	char		topic[];
} venue;

/* A channel's presence, as its own gateway has published it; presence.c. */
typedef struct tracked
{
	map_entry	entry;
	uint64_t	number;			/* of the channel */
	list_node	link;			/* hub.tracked or hub.lingering */
	hub		   *hub;
	struct channel *channel;	/* NULL: it lingers, until .. */
	timer		timer;
	struct parcel *track;		/* what was published last */
} tracked;

typedef struct channel
{
	list_node	in_conn;
	list_node	in_bearers;
	list_node	in_user;
	list_node	in_waiting;		/* hub's or user's */
	list_node	in_venue;
	list_node	in_seat;
	list_node	in_behind;		/* hub.behind */
	hub_conn   *conn;
	user	   *bearer_of;		/* whose token it has, if it is a profile's */
	user	   *user;			/* the same, IDENTITY_USER, once asked for */
	identity	identity;
	timer		timer;			/* its answer's time limit, then expiry */
	frame	   *reply;			/* until it can be given */
	frame	   *close_replaced; /* phx_close of the channel before it */
	bool		live;			/* bindings are in the lists */
	bool		joined;			/* takes part in its venue */
	bool		expiry_told;	/* its token ends soon */
	int			nbindings;
	binding    *bindings;

	/* Broadcast and presence. */
	uint64_t	number;			/* of this gateway's channels */
	venue	   *venue;			/* from when the user is known */
	seat	   *seat;			/* when it is a conversation's */
	char	   *problem;		/* with its changes, told with the reply */
	char	   *key;			/* of presence; NULL: one will be made */
	tracked    *tracked;
	int64_t		presence_until; /* see conn_spend() */
	bool		made_key;		/* the key is ours */
	bool		private;
	bool		self;			/* hears its own broadcasts */
	bool		ack;			/* gets replies to them */
	bool		presence;		/* wants to know who is present */
	bool		informed;		/* .. and was told */
	bool		warned;			/* of broadcasts that were dropped */

	/* Catching up, and what is saved of that; catchup.c, stay.c. */
	struct catchup *catchup;	/* while it is under way */
	mark	   *origin;			/* where it ended; NULL: needed by nobody */
	bool		apart;			/* not all events of the stream are for it */
	int64_t		session;		/* of its client; 0: nothing is saved */
	uint64_t	whole_since;	/* its connection's pings by then */

	struct replay *replay;		/* of broadcasts, until it is over; or NULL */

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

/* What a connection was sent that it may not have yet; acks.c. */
typedef struct acks
{
	uint32_t	n;
	uint32_t	npinged;		/* the first ones: queued before the ping */
	hub_receipt *items;			/* own, or more */
	hub_receipt own[1];
	uint32_t	size;
	list_node	in_unpinged;	/* hub.unpinged, unless a ping is under way */
	uint64_t	ping;			/* its number; 0: there is none */
	int64_t		ping_oldest;	/* commit of the oldest message before it */
	int64_t		oldest;			/* and of the oldest one behind it; 0: none */
} acks;

/* A transaction of which something was pushed. */
typedef struct passed
{
	uint64_t	number;			/* see hub.ntransactions */
	uint32_t	xid;
} passed;

/* A connection whose client names itself; stay.c. */
typedef struct stay
{
	hub_conn   *conn;
	passed	   *passed;			/* in the order of their numbers */
	uint32_t	n;
	uint32_t	size;
	uint32_t	npinged;		/* the first ones: pushed before the ping */
	uint32_t	nacked;			/* .. and before the last pong's ping */
	bool		waits;			/* there is something to be acknowledged */
	uint64_t	pings;
	uint64_t	acked_pings;
	mark	   *pinged;			/* the hub's when the ping was queued */
	mark	   *acked;			/* .. for the last pong; or NULL */
	list_node	in_unsaved;		/* hub.unsaved */
	int64_t		save_at;		/* seconds */
	uint32_t	client_id_len;
	char		client_id[MSG_CLIENT_ID_MAX];
} stay;

/* What a frame on its way needs comes first: it is in few cache lines then. */
struct hub_conn
{
	hub		   *hub;
	void	   *socket;
	int			vsn;
	bool		cut;
	bool		revoked;		/* its token was */
	uint8_t		window;			/* for compressed frames, or 0 */
	queue		queue;
	acks		acks;
	stay	   *stay;			/* or NULL */
	list_node	link;			/* hub.conns, or hub.cut */
	int			close_code;
	const char *close_reason;
	identity	identity;
	user	   *bearer_of;
	list_node	in_bearers;
	list		channels;
	list		refusals;		/* error replies that wait */
	int			nchannels;
	int			nrefusals;
	size_t		refusal_bytes;
	int			nbindings;
	int64_t		joins_until;	/* see conn_spend() */
	int64_t		broadcasts_until;
	int64_t		last_seen;		/* seconds */
	timer		idle;
};

/* Shares of posts, found by a hash; a few profiles may have one together. */
#define POST_SHARES		4096

struct hub
{
	hub_config	config;
	hub_ops		ops;
	void	   *arg;
	hub_stats	stats;
	hash_seed	seed;
	wheel		wheel;
	int64_t		now;			/* seconds */
	int64_t		now_us;
	bool		live;
	bool		routing;		/* a transaction, of which a piece was routed */
	uint64_t	routing_lsn;	/* its commit */
	uint32_t	routing_xid;
	table	   *tables[EVENT_TABLES];
	list		conns;
	size_t		relief_at;		/* of queue_memory; see conn.c */
	list		cut;			/* connections that hub_reap() ends */
	list		closed;			/* ended, not yet closed by the shell */
	list		waiting;		/* channels, until the stream is live */
	list		bindings;		/* live ones that see everything */
	list		known;			/* users who are not idle */
	list		unasked;		/* users */
	list		lost;			/* rooms */
	list		denied;			/* channels whose user may yet be a member */
	list		replaying;		/* channels whose replay is being read */
	list		behind;			/* channels that missed who is present */
	map			users;
	map			rooms;
	map			seats;
	map			loads;
	map			replays;		/* of which a question is open */
	map			projections;
	uint64_t	next_ticket;
	uint64_t	next_channel;
	struct route *route;
	packer	   *packer;

	/* Signals that wait to be taken by the shell; signals.c. */
	list		outbox;
	size_t		outbox_bytes;
	bool		outbox_started; /* the first one may be on its way */
	bool		resend_due;		/* something could not be put there */
	bool		ask_due;
	signal_header ask;

	/* Acknowledgements. */
	list		unpinged;		/* connections */
	int64_t		last_ping;		/* seconds */
	uint64_t	next_ping;
	hub_receipt *receipts;		/* to be taken: from first_receipt on */
	size_t		first_receipt;
	size_t		nreceipts;
	size_t		receipts_size;
	int64_t		receipts_due;	/* microseconds; 0: there are none */

	/* How far we are; marks.c. */
	uint64_t	ntransactions;	/* routed so far */
	mark	   *mark;			/* NULL: it is not known */
	mark	   *next_mark;		/* until everything before it is routed */
	uint64_t	mark_ticket;	/* a question is open; or 0 */
	uint64_t	mark_covers;
	uint32_t   *routed;			/* ids of the last ones; see marks_note() */
	bool		routed_lost;	/* .. too many of them */
	size_t		nrouted;
	size_t		routed_size;

	/* Catching up, and how far clients are; catchup.c, stay.c. */
	map			catchups;		/* of which a question is open */
	list		in_line;
	list		asked;
	list		telling;
	int			ncatchups;		/* asked or telling */
	list		unsaved;		/* stays, in the order of save_at */
	list		partings;		/* records to be saved */
	size_t		parting_bytes;
	uint64_t	partings_made;
	uint64_t	partings_taken;
	uint64_t	partings_saved;

	/* Presence: what is ours, and what is known of all. */
	map			venues;
	map			own;			/* all tracked */
	list		tracked;
	list		lingering;
	size_t		tracked_bytes;
	uint64_t	next_ref;
	map			attendees;
	map			metas;
	list		all_metas;
	list		changed;		/* venues */
	int64_t		flush_due;		/* microseconds; 0: nothing changed */

	list		posts;			/* that wait */
	size_t		posts_bytes;
	int64_t		posts_until[POST_SHARES];	/* see conn_spend() */
};

/* hub.c */
extern bool hub_knows_tables(const hub *h);
extern bool hub_follow_columns(hub *h, const event_header *e);
extern void hub_set_time(hub *h, int64_t now);

/* conn.c */
extern bool conn_push(hub_conn *conn, frame *f, const channel *owner);
extern void conn_send(hub_conn *conn, frame *f);	/* drops the reference */
extern void conn_cut(hub_conn *conn, int code, const char *reason);
extern void conn_refuse(hub_conn *conn, frame *f);
extern bool conn_spend(const hub *h, int64_t *until, int burst,
					   int interval_ms);
extern int64_t conn_wait(const hub *h, int64_t *until, int n, int burst,
						 int interval_ms);
extern void hub_reap(hub *h);

/* acks.c */
extern void acks_init(hub_conn *conn);
extern void acks_free(hub_conn *conn);
extern bool acks_wanted(const hub *h, const room *where,
						const event_header *e);
extern void acks_note(hub_conn *conn, const user *u, const event_header *e);
extern void acks_forget(hub_conn *conn);
extern void acks_want_ping(hub_conn *conn);
extern void acks_ping(hub *h);

/* marks.c */
extern void marks_forget(hub *h);
extern void marks_free(hub *h);
extern void marks_note(hub *h, uint32_t xid);
extern void marks_ask(hub *h);
extern mark *marks_here(hub *h, const channel *ch);
extern mark *marks_extend(const mark *base, const uint32_t *xids, size_t n);

/* stay.c */
extern void stay_free(hub_conn *conn);
extern void stay_wait(hub_conn *conn);
extern void stay_note(hub_conn *conn, uint32_t xid, uint64_t number);
extern void stay_pinged(hub_conn *conn);
extern void stay_ponged(hub_conn *conn);
extern void stay_begin(channel *ch);
extern void stay_save(channel *ch);
extern void stay_supersede(const channel *ch);
extern void stay_forget_partings(hub *h);

/* catchup.c */
extern bool catchup_begin(channel *ch, mark *from);
extern void catchup_end(channel *ch);
extern void catchup_user_loaded(user *u);
extern void catchup_ask(hub *h);
extern bool catchup_admits(channel *ch, const event_header *e);
extern void catchup_hold(channel *ch, frame *f, const event_header *e);
extern void catchup_take_back(channel *ch, const uint8_t *room_id,
							  int64_t seq);
extern void catchup_tick(hub *h);

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

#define TOKEN_IS_REVOKED	"Token has been revoked"

/* What is told to who may not speak or hear on a topic. */
#define MEMBERS_ONLY \
	"Unauthorized: You do not have permissions to read from this Channel " \
	"topic: "

extern void channel_receive(hub_conn *conn, const message *m);
extern void channel_reply(channel *ch, const char *ref, const char *status,
						  const char *response);
extern void channel_error(channel *ch, const char *ref, const char *reason);
extern void channel_seated(channel *ch);
extern void channel_unseated(channel *ch);
extern channel *channel_find(hub_conn *conn, const message *m);
extern channel *channel_new(hub_conn *conn, const message *m,
							const identity *identity);
extern void channel_drop(channel *ch);
extern void channel_take_back(channel *ch, const uint8_t *room_id);
extern void channel_clear_bindings(channel *ch);
extern frame *channel_close_frame(const channel *ch);
extern void channel_system(channel *ch, const char *extension,
						   const char *status, const char *text);
extern void channel_settle(channel *ch);
extern void channel_resumed(channel *ch);
extern void channel_caught_up(channel *ch);
extern void channel_refuse(channel *ch, const char *reason);
extern void channel_revoke(channel *ch);

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
extern void user_load(user *u);
extern void user_pin(user *u);
extern void user_unpin(user *u);
extern void user_free_if_idle(user *u);
extern bool user_knows(user *u, const event_header *e);
extern void user_cut(user *u);
extern seat *seat_find(user *u, const uint8_t *room_id);
extern seat *seat_get(user *u, const uint8_t *room_id);
extern void seat_free_if_idle(seat *s);
extern void membership_apply(hub *h, const event_header *e);
extern void membership_take_back(hub *h);
extern void membership_forget_lost(hub *h);
extern void membership_ask(hub *h);
extern void membership_reload(hub *h);

/* revocation.c */
extern bool channel_bear(channel *ch);
extern void channel_unbear(channel *ch);
extern bool conn_bear(hub_conn *conn);
extern void conn_unbear(hub_conn *conn);
extern bool identity_revoked(hub *h, const identity *identity);
extern void user_revoke(user *u, int64_t revoked_at);
extern void revocation_apply(hub *h, const event_header *e);

/* route.c */
extern struct route *route_new(void);
extern void route_free(struct route *r);
extern void route_event(hub *h, const event_header *e);
extern bool route_to_channel(hub *h, channel *ch, const event_header *e);
extern void route_held(channel *ch, frame *f, const event_header *e);

/* venue.c */
extern bool topic_room(const char *topic, size_t len, uint8_t *room_id);
extern venue *venue_find(hub *h, bool private, const char *topic, size_t len);
extern venue *venue_get(hub *h, bool private, const char *topic, size_t len);
extern void venue_free_if_idle(venue *v);
extern void venue_mark(const venue *v, frame *f);
extern bool venue_enter(channel *ch);
extern void venue_leave(channel *ch);
extern void venue_leave_seat(channel *ch);
extern bool venue_admits(const channel *ch);
extern bool venue_hears(const channel *ch);
extern bool venue_reaches(const channel *ch);
extern bool venue_is_closed(const hub *h, const identity *identity,
							bool private, const char *topic, size_t len);
extern void venue_reason(buf *reason, const char *topic, size_t len);

/* signals.c */
typedef struct parcel
{
	list_node	link;
	signal_header signal;
} parcel;

extern parcel *parcel_new(hub *h, signal_kind kind, uint8_t flags,
						  const channel *ch, span name, span payload);
extern parcel *parcel_of(hub *h, signal_kind kind, uint8_t flags, span topic,
						 span name, span payload);
extern parcel *parcel_copy(const parcel *p);
extern bool signal_has_room(const hub *h, size_t bytes);
extern bool signal_publish(hub *h, parcel *p);
extern void signal_free(hub *h);

/* This many broadcasts at once, and then thirty a second. */
#define BROADCAST_BURST			100
#define BROADCAST_INTERVAL_MS	33

/* broadcast.c */
extern void broadcast_receive(channel *ch, const message *m);
extern void broadcast_deliver(hub *h, const signal_header *s);

/* post.c */
extern void post_settle(user *u, bool loaded);
extern void post_give_up(hub *h);

/* notice.c */
extern bool notice_route(hub *h, const event_header *e);
extern frame *notice_replayed(const channel *ch, const event_header *e,
							  span *id);

/* replay.c */
#define REPLAY_FAILED \
	"UnableToReplayMessages: Realtime was unable to replay messages"

extern const char *replay_problem(const json_t *wanted, bool private);
extern bool replay_want(channel *ch, const json_t *wanted);
extern void replay_restart(channel *ch);
extern void replay_end(channel *ch);
extern bool replay_ready(channel *ch);
extern bool replay_waits(const channel *ch);
extern void replay_tell(channel *ch);
extern bool replay_takes(channel *ch, const event_header *e, span id,
						 frame *f);

/* presence.c */
extern const char *presence_key_problem(const identity *identity,
										const char *key);
extern void presence_receive(channel *ch, const message *m);
extern void presence_leave(channel *ch);
extern void presence_linger(channel *ch);
extern void presence_replaced(hub *h, uint64_t number);
extern void presence_removed(hub *h, const uint8_t *room_id,
							 const uint8_t *profile_id);
extern void presence_free(hub *h);

/* attendance.c */
extern void attendance_apply(hub *h, const signal_header *s);
extern void attendance_flush(hub *h);
extern void attendance_inform(channel *ch);
extern void attendance_withdraw(channel *ch);
extern void attendance_missed(channel *ch);
extern void attendance_catch_up(hub *h);
extern void attendance_free(hub *h);

#endif							/* REALTIME_ROOMS_H */
