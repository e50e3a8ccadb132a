/*-------------------------------------------------------------------------
 *
 * gateway.c
 *	  The worker that clients are connected to.
 *
 * A gateway is one thread with one loop.  It joins three parts that know
 * nothing of one another: the socket server (net/), the hub (realtime/), and
 * the links to the streamer and the executors (gateway_events.c,
 * gateway_calls.c).  Each turn takes what came in over the links, then what
 * came in over the sockets, then writes what became due, to each connection
 * in one go, and waits for the next latch, socket or deadline.
 *
 * It never waits for anything else: no SQL, no lock, no other process.  Files
 * are read at start and on reload only.
 *
 * The socket server and the hub are libraries to PostgreSQL: an error must
 * not jump over their frames.  What they call back here only moves bytes and
 * pointers; a line for the log is kept until they have returned (gateway_notes.c).
 * Interrupts are held off while they run.
 *
 * Sockets are opened when there is something to serve: the tables are known
 * and the stream of events runs.  Later the stream may stop for a while; then
 * joins wait, and live subscriptions go on when it does, for the slot has kept
 * what they missed.  When the slot itself was lost (a new epoch), or we were
 * left behind, they get from the tables what they missed.  Only when the
 * extension was dropped are clients asked to come back.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which they must not see. */
#include "admission.h"
#include "gateway_events.h"
#include "gateway_http.h"
#include "gateway_metrics.h"
#include "gateway_notes.h"
#include "gateway_positions.h"
#include "gateway_receipts.h"
#include "gateway_requests.h"
#include "gateway_rules.h"
#include "gateway_tables.h"
#include "gateway_tls.h"

#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "gateway_calls.h"
#include "refusals.h"
#include "worker.h"

#define MAX_CHANNELS		100 /* of a connection */
#define MAX_BINDINGS		100 /* of a channel */
#define IDLE_TIMEOUT		90	/* seconds without a word of the client's */

/* Beside those of connections, as many questions may be open. */
#define OTHER_CALLS			8
#define MAX_LISTEN_RETRY	30000

#define ERROR_SIZE			256

static server *srv;
static hub *rooms;
static WaitEventSet *events;
static const admission_rules *rules;

/* The time of this turn, and of what is to be done later. */
static TimestampTz now;
static TimestampTz next_listen = 0;

static bool clock_was_set_back = false;
static bool running = false;	/* the streamer is at work */
static bool listening = false;
static bool live = false;
static bool sockets_ready = true;	/* the kernel has something for them */
static uint32 epoch_seen;
static uint32 extension_seen;

static void make_hub(void);
static void make_server(void);
static void leave(int code, Datum arg);
static void read_clock(void);
static int64 unix_time(void);
static void take_settings(void);
static void look_around(void);
static bool events_were_lost(void);
static void note_losses(void);
static void start_over(const char *reason);
static void recover(void);
static void start_listening(void);
static bool serve_events(void);
static void flush_sockets(void);
static bool tick_is_due(void);
static void serve_sockets(void);
static void report(void);
static long time_left(void);
static void wait_for_work(bool at_once);

static void *on_request(void *arg, server_conn *conn,
						const http_request *request,
						server_refusal *refusal);
static void on_receive(void *arg, void *user, bool binary,
					   const char *data, size_t len);
static void on_pong(void *arg, void *user, const char *data, size_t len);
static size_t on_fill(void *arg, void *user, uint8_t *buf, size_t size);
static void on_closed(void *arg, void *user);
static void on_refused(void *arg, int status, const char *error);
static bool on_load_user(void *arg, uint64_t ticket,
						 const uint8_t profile_id[16]);
static void on_dirty(void *arg, hub_conn *conn);
static void on_drain(void *arg, hub_conn *conn);
static void on_close(void *arg, hub_conn *conn, int code, const char *reason);
static void on_answer(const MsgCall *call, bool success,
					  const void *payload, Size len);

void
msg_gateway_main(Datum arg)
{
	msg_worker_start(DatumGetInt32(arg));
	pgstat_report_activity(STATE_IDLE, "serving WebSocket clients");
	MemoryContextSwitchTo(TopMemoryContext);

	note_losses();
	extension_seen = pg_atomic_read_u32(&msg_shared->extension_changes);
	msg_tables_forget(extension_seen);
	make_hub();
	msg_events_init(rooms);
	make_server();
	msg_calls_init(msg_max_connections + OTHER_CALLS, on_answer);
	msg_requests_init();
	msg_worker_set_state(MSG_WORKER_WAITING);

	for (;;)
	{
		bool		more;

		if (msg_worker_interrupts())
			take_settings();

		read_clock();
		msg_calls_receive();
		msg_requests_release();
		look_around();
		more = serve_events();
		serve_sockets();
		msg_receipts_tell(rooms, unix_time());
		msg_positions_save(rooms, unix_time());
		msg_calls_dispatch();
		msg_notes_write();
		msg_refusals_report(now, false);
		report();
		wait_for_work(more);
	}
}

/* When it was set back, what was to come later comes now. */
static void
read_clock(void)
{
	TimestampTz before = now;

	now = GetCurrentTimestamp();
	clock_was_set_back = now < before;
	if (clock_was_set_back)
	{
		next_listen = 0;
		msg_tables_hurry();
	}
}

/* Microseconds from 1970 to the server's epoch. */
#define UNIX_EPOCH_USECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* Microseconds since 1970. */
static int64
unix_time(void)
{
	return now + UNIX_EPOCH_USECS;
}

static TimestampTz
later(int milliseconds)
{
	return TimestampTzPlusMilliseconds(now, milliseconds);
}

static void
make_hub(void)
{
	static const hub_ops ops = {
		.load_user = on_load_user,
		.take_mark = msg_positions_mark,
		.catch_up = msg_positions_catch_up,
		.replay = msg_positions_replay,
		.dirty = on_dirty,
		.drain = on_drain,
		.close = on_close,
		.log = msg_note,
		.posted = msg_http_posted,
	};
	hub_config	config = {0};

	rooms = hub_new(&config, &ops, NULL);
	if (rooms == NULL)
		ereport(ERROR,
				errcode(ERRCODE_OUT_OF_MEMORY),
				errmsg("out of memory"));
}

/*
 * The server raises the limit of open files by as many as there may be
 * connections, so these do not come out of what fd.c counts on.
 */
static void
make_server(void)
{
	static const server_ops ops = {
		.request = on_request,
		.begin = msg_http_begin,
		.body = msg_http_body,
		.expired = msg_http_expired,
		.done = msg_http_done,
		.receive = on_receive,
		.pong = on_pong,
		.fill = on_fill,
		.closed = on_closed,
		.refused = on_refused,
		.log = msg_note,
	};
	server_config config = {
		.addresses = msg_listen_addresses,
		.port = msg_port,
		.shared = msg_gateways > 1,
		.max_connections = msg_max_connections,
		.other_files = max_files_per_process,
		.max_message = msg_max_message_bytes,
	};
	char		error[ERROR_SIZE];

	srv = server_new(&config, &ops, NULL, error, sizeof(error));
	if (srv == NULL)
		ereport(ERROR,
				errcode(ERRCODE_SYSTEM_ERROR),
				errmsg("%s", error),
				errhint("Is the package libwebsockets-evlib-uv installed?"));
	before_shmem_exit(leave, (Datum) 0);
	take_settings();

	events = create_wait_event_set(3);
	AddWaitEventToSet(events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET,
					  NULL, NULL);
	AddWaitEventToSet(events, WL_SOCKET_READABLE, server_fd(srv), NULL, NULL);

	/* The loop tells the kernel of its descriptors only when it runs. */
	serve_sockets();
}

/* Whatever the reason, clients are asked to come back. */
static void
leave(int code, Datum arg)
{
	server_shutdown(srv, HUB_CLOSE_RESTART, "the server is restarting");
	msg_refusals_report(now, true);
}

/*
 * Settings
 */

static void
take_settings(void)
{
	hub_config	config = {
		.max_queue_bytes = msg_max_queue_bytes,
		.max_channels = MAX_CHANNELS,
		.max_bindings = MAX_BINDINGS,
		.idle_timeout = IDLE_TIMEOUT,
		.gateway = msg_worker->gateway,
		.presence_grace = msg_presence_grace,
		.public_channels = msg_public_channels,
		.receipts = msg_delivery_receipts,
	};

	rules = msg_rules_read();
	config.keys = rules->keys;
	hub_set_config(rooms, &config);
	server_set_max_message(srv, msg_max_message_bytes);
	msg_http_set(rooms, rules, msg_max_message_bytes);
	server_set_compression(srv, msg_compression);
	msg_tls_read(srv);
	msg_rules_settle();
}

/*
 * The others: streamer, executors, the extension
 */

/* Is what we serve still there, and still the same? */
static void
look_around(void)
{
	MsgWorkerSlot *streamer = &msg_shared->slots[MSG_SLOT_STREAMER];
	uint32		extension = pg_atomic_read_u32(&msg_shared->extension_changes);
	bool		is_live;

	running = msg_worker_state(streamer) == MSG_WORKER_RUNNING;

	if (extension != extension_seen)
	{
		extension_seen = extension;
		msg_tables_forget(extension);
		start_over("the extension has changed");
	}
	if (events_were_lost())
		recover();

	if (running)
		msg_tables_ask(now);

	is_live = running && msg_tables_known() && msg_events_connected();
	if (is_live && !listening && now >= next_listen && msg_tls_ready())
		start_listening();
	if (is_live != live)
	{
		live = is_live;
		hub_set_live(rooms, live);
	}
}

/* A new slot, or the streamer has gone on without us. */
static bool
events_were_lost(void)
{
	return pg_atomic_read_u32(&msg_shared->epoch) != epoch_seen ||
		pg_atomic_read_u32(&msg_worker->left_behind) !=
		pg_atomic_read_u32(&msg_worker->left_behind_seen);
}

static void
note_losses(void)
{
	epoch_seen = pg_atomic_read_u32(&msg_shared->epoch);
	pg_atomic_write_u32(&msg_worker->left_behind_seen,
						pg_atomic_read_u32(&msg_worker->left_behind));
}

static void
start_over(const char *reason)
{
	live = false;
	hub_set_live(rooms, false);
	hub_reset(rooms, HUB_CLOSE_RESTART, reason);
	msg_events_forget();
}

/*
 * Events were lost.  Who is connected stays, and gets what he missed from the
 * tables.
 */
static void
recover(void)
{
	note_losses();
	live = false;
	hub_set_live(rooms, false);
	msg_events_forget();
	hub_recover(rooms);
	msg_note(NULL, "events were missed, reading the tables instead");
}

static void
start_listening(void)
{
	static int	retry = 0;
	char		error[ERROR_SIZE];
	int			err = server_listen(srv, error, sizeof(error));

	if (err == 0)
	{
		listening = true;
		ereport(LOG,
				errmsg("openhr_msg gateway %d is listening on \"%s\", port %d",
					   msg_worker->gateway, msg_listen_addresses, msg_port));
		msg_worker_set_state(MSG_WORKER_RUNNING);
		return;
	}

	if (retry == 0)
	{
		errno = err;
		ereport(LOG,
				errcode_for_socket_access(),
				errmsg("%s", error),
				err == EADDRINUSE ?
				errhint("Is another server using port %d?  It is tried again; else set \"openhr_msg.port\" to a free one and restart.",
						msg_port) : 0);
		msg_worker_set_state(MSG_WORKER_STARTING);
	}
	retry = Min(Max(retry * 2, 1000), MAX_LISTEN_RETRY);
	next_listen = later(retry);
}

static void
on_answer(const MsgCall *call, bool success, const void *payload, Size len)
{
	if (call->kind == MSG_CALL_LOAD_USER)
	{
		if (success)
			hub_user_loaded(rooms, call->ticket, payload, len);
		else
			hub_user_failed(rooms, call->ticket,
							"memberships could not be read");
		return;
	}
	if (call->kind == MSG_CALL_RECEIPTS)
	{
		if (!success)
			msg_note(NULL, "receipts could not be written");
		msg_receipts_told(rooms, success, payload, len, unix_time());
		return;
	}

	if (call->kind == MSG_CALL_REQUEST)
	{
		msg_requests_answered(call->ticket, success, payload, len);
		return;
	}
	if (msg_positions_answered(rooms, call, success, payload, len))
		return;

	msg_tables_answered(rooms, call, success, payload, len);
}

/*
 * The turn
 */

/*
 * The first transaction of a turn is written before the next one is looked
 * for, and before the sockets are: each costs system calls, and as a rule
 * there is no next one.  When there are many, they are written together.
 *
 * The streamer's position was read first: what it stands for had been sent to
 * us, unless we were left behind before.
 */
static bool
serve_events(void)
{
	MsgWorkerSlot *streamer = &msg_shared->slots[MSG_SLOT_STREAMER];
	uint64		position = pg_atomic_read_u64(&streamer->position);

	if (msg_events_receive(true, unix_time()))
	{
		flush_sockets();
		if (msg_events_receive(false, unix_time()))
			return true;
	}
	pg_read_barrier();
	if (live && !events_were_lost())
		hub_passed(rooms, position);
	return false;
}

static void
flush_sockets(void)
{
	HOLD_INTERRUPTS();
	queue_clock = 0;
	server_flush(srv);
	RESUME_INTERRUPTS();
}

static bool
tick_is_due(void)
{
	int64		due = hub_next_tick(rooms);

	return due != 0 && (due <= unix_time() || clock_was_set_back);
}

static void
serve_sockets(void)
{
	HOLD_INTERRUPTS();
	if (sockets_ready || server_timeout(srv) == 0)
		server_run(srv);
	if (tick_is_due())
		hub_tick(rooms, unix_time());
	msg_events_publish(unix_time());
	queue_clock = 0;
	server_flush(srv);
	RESUME_INTERRUPTS();
}

static void
report(void)
{
	const hub_stats *stats = hub_get_stats(rooms);

	pg_atomic_write_u64(&msg_worker->connections, server_connections(srv));
	pg_atomic_write_u64(&msg_worker->channels, stats->channels);
	pg_atomic_write_u64(&msg_worker->events, stats->events);
	msg_gateway_measure(stats, srv);
}

static void
at_most(long *timeout, TimestampTz when)
{
	long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
													   when);

	if (*timeout < 0 || left < *timeout)
		*timeout = left;
}

/* Milliseconds until there is something to do in any case; -1: never. */
static long
time_left(void)
{
	long		timeout = server_timeout(srv);
	long		answer = msg_calls_timeout();
	long		held = msg_requests_timeout();
	int64		due = hub_next_tick(rooms);

	if (answer >= 0 && (timeout < 0 || answer < timeout))
		timeout = answer;
	if (held >= 0 && (timeout < 0 || held < timeout))
		timeout = held;
	if (due != 0)
		at_most(&timeout, due - UNIX_EPOCH_USECS);
	if (msg_receipts_due(rooms) != 0)
		at_most(&timeout, msg_receipts_due(rooms) - UNIX_EPOCH_USECS);
	if (msg_positions_due(rooms) != 0)
		at_most(&timeout, msg_positions_due(rooms) - UNIX_EPOCH_USECS);
	if (running && msg_tables_due() != 0)
		at_most(&timeout, msg_tables_due());
	if (live && !listening && msg_tls_ready())
		at_most(&timeout, next_listen);
	if (msg_refusals_due() != 0)
		at_most(&timeout, msg_refusals_due());
	return timeout;
}

static void
wait_for_work(bool at_once)
{
	WaitEvent	occurred[3];
	int			n = WaitEventSetWait(events, at_once ? 0 : time_left(),
									 occurred, lengthof(occurred),
									 PG_WAIT_EXTENSION);

	sockets_ready = false;
	for (int i = 0; i < n; i++)
		if (occurred[i].events & WL_SOCKET_READABLE)
			sockets_ready = true;
	ResetLatch(MyLatch);
	msg_worker_count_wakeup();
}

/*
 * Called back by the socket server and by the hub: no error may be raised.
 */

static void *
on_request(void *arg, server_conn *conn, const http_request *request,
		   server_refusal *refusal)
{
	static admission admitted;
	hub_conn   *opened;

	if (!admission_check(rules, request, true, unix_time() / USECS_PER_SEC,
						 &admitted, refusal))
		return NULL;
	if (hub_token_revoked(rooms, &admitted.claims))
	{
		*refusal = (server_refusal) {401, "Token has been revoked"};
		return NULL;
	}

	opened = hub_conn_open(rooms, conn, admitted.vsn, &admitted.claims,
						   admitted.token, unix_time());
	if (opened != NULL &&
		!hub_conn_set_client(opened, admitted.client_id,
							 strlen(admitted.client_id)))
	{
		hub_conn_close(opened);
		opened = NULL;
	}
	if (opened == NULL)
		*refusal = (server_refusal) {503, "out of memory"};
	else
		hub_conn_set_window(opened, server_window(conn));
	return opened;
}

static void
on_receive(void *arg, void *user, bool binary, const char *data, size_t len)
{
	hub_conn_receive(user, binary, data, len, unix_time());
}

static void
on_pong(void *arg, void *user, const char *data, size_t len)
{
	hub_conn_pong(user, data, len, unix_time());
}

static size_t
on_fill(void *arg, void *user, uint8_t *buf, size_t size)
{
	return queue_take(hub_conn_queue(user), buf, size);
}

static void
on_closed(void *arg, void *user)
{
	hub_conn_close(user);
}

/*
 * Who asked for something else than a WebSocket, a health check perhaps, was
 * not kept from anything.
 */
static void
on_refused(void *arg, int status, const char *error)
{
	if (status == 404 || status == 426)
		return;
	msg_refusals_count(error);
	msg_gateway_refused(status);
}

static bool
on_load_user(void *arg, uint64_t ticket, const uint8_t profile_id[16])
{
	return msg_calls_ask(ticket, MSG_CALL_LOAD_USER, profile_id);
}

static void
on_dirty(void *arg, hub_conn *conn)
{
	server_want_write(hub_conn_socket(conn));
}

static void
on_drain(void *arg, hub_conn *conn)
{
	server_write(hub_conn_socket(conn));
}

/* A reader that is behind would only see the reason when it is too late. */
static void
on_close(void *arg, hub_conn *conn, int code, const char *reason)
{
	if (code == HUB_CLOSE_TRY_LATER)
		server_cut(hub_conn_socket(conn), code, reason);
	else
		server_close(hub_conn_socket(conn), code, reason);
}
