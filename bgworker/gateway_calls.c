/*-------------------------------------------------------------------------
 *
 * gateway_calls.c
 *	  A gateway's questions to its executors, and their answers.
 *
 * Questions wait in one line.  Each goes to the executor that has the fewest,
 * and an executor answers in the order in which it was asked, so an answer
 * belongs to the first call in its executor's line.  When an executor dies,
 * or does not answer for longer than a call may take, its calls go back to the
 * head of the waiting line: they only read, or write what may be written
 * again, so it does no harm when one is answered by two executors, the first
 * of which cannot say so any more.
 *
 * HTTP requests are calls, too, with other rules.  They change what must not be
 * changed twice, so those that an executor took with it are not asked again,
 * unless they only read: their outcome is not known.  They may take long, and
 * the gateway's own questions must not wait behind them: they have a line of
 * their own, an executor gets few of them ahead, and of several executors the
 * first one gets none.  The line is bounded, and so is a profile's part of it.
 *
 * Who has gone does not need an answer.  A request that still waits is dropped;
 * one that an executor has is marked in shared memory, and the executor is
 * signalled, which looks whether it is the marked one that it is working on.
 *
 * All calls are allocated at the start, so that taking one needs no memory and
 * raises no error: it happens in callbacks of the socket server.  What a call
 * brings along (its letter) is the exception: when there is no memory for it,
 * or too much of it already, the call is not taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "gateway_calls.h"
#include "link.h"
#include "worker.h"

#define MAX_IN_FLIGHT	32

/* HTTP requests that wait, of all and of one profile. */
#define MAX_REQUESTS	1024
#define MAX_OF_PROFILE	128
#define CALLS_SIZE		16384
#define REPLIES_SIZE	65536

/* Those that wait, and those that executors have. */
#define MAX_CALLS_OF_REQUESTS \
	(MAX_REQUESTS + 64 * MSG_REQUESTS_AHEAD)

/* Memory of all letters together, and of those that are requests. */
#define MAX_LETTERS		(16 * 1024 * 1024)
#define MAX_REQUEST_LETTERS	(16 * 1024 * 1024)

/*
 * In milliseconds: longer than an executor may take for a call, and shorter
 * than a client waits for its join.
 */
#define ANSWER_TIMEOUT	(MSG_CALL_TIMEOUT + 1000)

typedef struct Call
{
	dlist_node	node;			/* in spare, waiting, or an executor's calls */
	MsgCall		call;
	MsgCall    *letter;			/* the same with its payload, or NULL */
	bool		reads;			/* a request that may be asked again */
	int			lane;			/* a request's, of its executor's two */
	TimestampTz asked_at;
} Call;

typedef struct Executor
{
	MsgWorkerSlot *slot;
	MsgLink    *link;			/* NULL: to be published */
	dlist_head	calls;			/* in flight */
	int			ncalls;
	uint32		lanes;			/* of requests in flight, a bit each */
	bool		signal;			/* one of them is marked as cancelled */
	bool		sending;		/* the last one of them is sent in part */
	TimestampTz due;			/* when the next answer must have come */
} Executor;

static Size letters = 0;		/* bytes of them */
static Size request_letters = 0;
static int	nopen = 0;			/* calls that are not answered */

static dlist_head spare;
static dlist_head waiting;
static dlist_head spare_requests;
static dlist_head requests;		/* that wait */
static int	nrequests = 0;
static dlist_head lost;			/* requests whose outcome is not known */
static Executor *executors;
static MsgAnswered answered;

static Call *new_call(dlist_head *pool, dlist_head *line, uint64 ticket,
					  MsgCallKind kind, const uint8 *profile_id);
static bool is_request(const Call *c);
static bool has_its_part(const uint8 *profile_id);
static void leave_executor(Executor *e, Call *c);
static void tell_lost(void);
static void signal_cancelled(Executor *e);
static void dispatch_call(Executor *e, Call *c);
static Executor *request_executor(void);
static void free_call(Call *c);
static void receive_from(Executor *e);
static void take_reply(Executor *e, const MsgReply *reply, Size len);
static void expect_answer(Executor *e);
static void lose_link(Executor *e);
static void send_call(Executor *e, const Call *c);
static Executor *least_busy(void);

void
msg_calls_init(int max_calls, MsgAnswered callback)
{
	Call	   *calls = MemoryContextAllocZero(TopMemoryContext,
											   max_calls * sizeof(Call));

	Call	   *more = MemoryContextAllocZero(TopMemoryContext,
											  MAX_CALLS_OF_REQUESTS *
											  sizeof(Call));

	dlist_init(&spare);
	dlist_init(&waiting);
	dlist_init(&spare_requests);
	dlist_init(&requests);
	dlist_init(&lost);
	for (int i = 0; i < max_calls; i++)
		dlist_push_tail(&spare, &calls[i].node);
	for (int i = 0; i < MAX_CALLS_OF_REQUESTS; i++)
		dlist_push_tail(&spare_requests, &more[i].node);

	executors = MemoryContextAllocZero(TopMemoryContext,
									   msg_executors * sizeof(Executor));
	for (int i = 0; i < msg_executors; i++)
	{
		int			slot = MSG_SLOT_EXECUTOR(msg_worker->gateway, i);

		executors[i].slot = &msg_shared->slots[slot];
		dlist_init(&executors[i].calls);

		/* Tickets begin anew with us. */
		for (int j = 0; j < MSG_REQUESTS_AHEAD; j++)
			pg_atomic_write_u64(&executors[i].slot->cancelled[j], 0);
	}
	answered = callback;
}

bool
msg_calls_ask(uint64 ticket, MsgCallKind kind, const uint8 *profile_id)
{
	return new_call(&spare, &waiting, ticket, kind, profile_id) != NULL;
}

bool
msg_calls_tell(uint64 ticket, MsgCallKind kind, const uint8 *profile_id,
			   const void *payload, Size len)
{
	MsgCall    *letter;
	Call	   *c;

	Assert(len <= MSG_CALL_PAYLOAD);
	if (letters + len > MAX_LETTERS)
		return false;
	letter = malloc(sizeof(MsgCall) + len);
	if (letter == NULL)
		return false;
	c = new_call(&spare, &waiting, ticket, kind, profile_id);
	if (c == NULL)
	{
		free(letter);
		return false;
	}
	c->call.len = len;
	*letter = c->call;
	memcpy(letter + 1, payload, len);
	c->letter = letter;
	letters += len;
	return true;
}

bool
msg_calls_request(uint64 ticket, const uint8 *profile_id, MsgCall *letter,
				  Size len)
{
	const MsgRequest *request = (MsgRequest *) (letter + 1);
	Call	   *c;

	Assert(len <= MSG_CALL_PAYLOAD);
	if (nrequests >= MAX_REQUESTS ||
		request_letters + len > MAX_REQUEST_LETTERS ||
		(nrequests >= MAX_OF_PROFILE && profile_id != NULL &&
		 has_its_part(profile_id)))
		return false;
	c = new_call(&spare_requests, &requests, ticket, MSG_CALL_REQUEST,
				 profile_id);
	if (c == NULL)
		return false;
	c->call.len = len;
	*letter = c->call;
	c->letter = letter;
	c->reads = request->reads;
	request_letters += len;
	nrequests++;
	return true;
}

/* Has a profile as many requests in the line as it may? */
static bool
has_its_part(const uint8 *profile_id)
{
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &requests)
	{
		const Call *c = dlist_container(Call, node, iter.cur);

		if (memcmp(c->call.profile_id, profile_id,
				   sizeof(c->call.profile_id)) == 0)
			n++;
	}
	return n >= MAX_OF_PROFILE;
}

void
msg_calls_cancel(uint64 ticket)
{
	dlist_iter	iter;

	dlist_foreach(iter, &requests)
	{
		Call	   *c = dlist_container(Call, node, iter.cur);

		if (c->call.ticket == ticket)
		{
			nrequests--;
			free_call(c);
			return;
		}
	}
	for (int i = 0; i < msg_executors; i++)
	{
		Executor   *e = &executors[i];

		dlist_foreach(iter, &e->calls)
		{
			Call	   *c = dlist_container(Call, node, iter.cur);

			if (is_request(c) && c->call.ticket == ticket)
			{
				pg_atomic_write_u64(&e->slot->cancelled[c->lane], ticket);
				e->signal = true;
				return;
			}
		}
	}
}

/* At the end of a line; NULL: there are too many. */
static Call *
new_call(dlist_head *pool, dlist_head *line, uint64 ticket, MsgCallKind kind,
		 const uint8 *profile_id)
{
	Call	   *c;

	if (dlist_is_empty(pool))
		return NULL;
	c = dlist_container(Call, node, dlist_pop_head_node(pool));
	memset(&c->call, 0, sizeof(c->call));
	c->call.ticket = ticket;
	c->call.kind = kind;
	if (profile_id)
		memcpy(c->call.profile_id, profile_id, sizeof(c->call.profile_id));
	c->asked_at = GetCurrentTimestamp();
	dlist_push_tail(line, &c->node);
	nopen++;
	return c;
}

static bool
is_request(const Call *c)
{
	return c->call.kind == MSG_CALL_REQUEST;
}

static void
free_call(Call *c)
{
	if (c->letter)
	{
		if (is_request(c))
			request_letters -= c->call.len;
		else
			letters -= c->call.len;
		free(c->letter);
		c->letter = NULL;
	}
	dlist_delete(&c->node);
	dlist_push_head(is_request(c) ? &spare_requests : &spare, &c->node);
	nopen--;
}

int
msg_calls_open(void)
{
	return nopen;
}

void
msg_calls_receive(void)
{
	for (int i = 0; i < msg_executors; i++)
	{
		Executor   *e = &executors[i];

		if (e->link)
			receive_from(e);
		if (e->link && e->ncalls > 0 && GetCurrentTimestamp() >= e->due)
		{
			ereport(WARNING,
					errmsg("openhr_msg gateway %d gets no answer from executor %d, asking others",
						   e->slot->gateway, e->slot->number));
			lose_link(e);
		}
		if (e->link == NULL)
			e->link = msg_link_publish(e->slot, REPLIES_SIZE, CALLS_SIZE);
	}
	tell_lost();
}

/* The whole line is late when its first call is. */
static void
expect_answer(Executor *e)
{
	e->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										 ANSWER_TIMEOUT);
}

long
msg_calls_timeout(void)
{
	long		timeout = -1;

	for (int i = 0; i < msg_executors; i++)
	{
		Executor   *e = &executors[i];
		long		left;

		if (e->ncalls == 0)
			continue;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), e->due);
		if (timeout < 0 || left < timeout)
			timeout = left;
	}
	return timeout;
}

static void
receive_from(Executor *e)
{
	for (;;)
	{
		Size		len;
		void	   *data;

		switch (msg_link_receive(e->link, &len, &data))
		{
			case MSG_LINK_OK:
				take_reply(e, data, len);
				break;
			case MSG_LINK_WOULD_BLOCK:
				return;
			case MSG_LINK_BROKEN:
				lose_link(e);
				return;
		}
	}
}

static void
take_reply(Executor *e, const MsgReply *reply, Size len)
{
	Call	   *c;
	MsgCall		call;

	if (len < sizeof(MsgReply) || len != sizeof(MsgReply) + reply->len ||
		dlist_is_empty(&e->calls))
		elog(ERROR, "unexpected reply from executor %d", e->slot->number);

	c = dlist_head_element(Call, node, &e->calls);
	call = c->call;
	if (call.ticket != reply->ticket || call.kind != reply->kind)
		elog(ERROR, "reply from executor %d is to another call",
			 e->slot->number);

	msg_metrics_time(&msg_worker->metrics, MSG_LATENCY_ANSWER,
					 GetCurrentTimestamp() - c->asked_at, 1);

	/* The answer may lead to another question, so make room for it first. */
	leave_executor(e, c);
	free_call(c);
	expect_answer(e);
	answered(&call, reply->status == MSG_REPLY_OK, reply + 1, reply->len);
}

/* A call is no longer among its executor's. */
static void
leave_executor(Executor *e, Call *c)
{
	e->ncalls--;
	if (is_request(c))
		e->lanes &= ~(1u << c->lane);
}

/*
 * The executor has died, or might as well: whoever is left shall answer.  Of a
 * request it may have done all or nothing, unless it has not got it whole.
 */
static void
lose_link(Executor *e)
{
	msg_link_close(e->link);
	e->link = NULL;
	while (!dlist_is_empty(&e->calls))
	{
		Call	   *c = dlist_tail_element(Call, node, &e->calls);

		dlist_delete(&c->node);
		leave_executor(e, c);
		if (!is_request(c))
			dlist_push_head(&waiting, &c->node);
		else if (e->sending || c->reads)
		{
			dlist_push_head(&requests, &c->node);
			nrequests++;
		}
		else
			dlist_push_head(&lost, &c->node);
		e->sending = false;		/* that was about the last one */
	}
	e->sending = false;
}

static void
tell_lost(void)
{
	while (!dlist_is_empty(&lost))
	{
		Call	   *c = dlist_head_element(Call, node, &lost);
		MsgCall		call = c->call;

		free_call(c);
		answered(&call, false, NULL, 0);
	}
}

/* Outside of all callbacks, because of the lock. */
static void
signal_cancelled(Executor *e)
{
	pid_t		pid;

	e->signal = false;
	LWLockAcquire(msg_shared->lock, LW_SHARED);
	pid = e->slot->pid;
	LWLockRelease(msg_shared->lock);
	if (pid != 0)
		kill(pid, SIGUSR2);
}

void
msg_calls_dispatch(void)
{
	Executor   *e;

	for (int i = 0; i < msg_executors; i++)
	{
		e = &executors[i];
		if (e->signal)
			signal_cancelled(e);
		if (e->link && e->sending)
			send_call(e, dlist_tail_element(Call, node, &e->calls));
	}
	while (!dlist_is_empty(&waiting) && (e = least_busy()) != NULL)
		dispatch_call(e, dlist_head_element(Call, node, &waiting));
	while (!dlist_is_empty(&requests) && (e = request_executor()) != NULL)
	{
		Call	   *c = dlist_head_element(Call, node, &requests);

		nrequests--;
		c->lane = e->lanes & 1 ? 1 : 0;
		e->lanes |= 1u << c->lane;
		((MsgRequest *) (c->letter + 1))->others_wait = nrequests > 0;
		dispatch_call(e, c);
	}
	tell_lost();
}

static void
dispatch_call(Executor *e, Call *c)
{
	dlist_delete(&c->node);
	dlist_push_tail(&e->calls, &c->node);
	if (e->ncalls++ == 0)
		expect_answer(e);
	send_call(e, c);
}

/* As far as it goes now. */
static void
send_call(Executor *e, const Call *c)
{
	const MsgCall *call = c->letter ? c->letter : &c->call;
	MsgLinkResult result = msg_link_send(e->link, sizeof(MsgCall) + call->len,
										 call);

	e->sending = result == MSG_LINK_WOULD_BLOCK;
	if (result == MSG_LINK_BROKEN)
		lose_link(e);
}

static bool
can_take(const Executor *e)
{
	return e->link && !e->sending && e->ncalls < MAX_IN_FLIGHT &&
		msg_link_attached(e->link);
}

/* An executor that is there and can take a call, or NULL. */
static Executor *
least_busy(void)
{
	Executor   *best = NULL;

	for (int i = 0; i < msg_executors; i++)
	{
		Executor   *e = &executors[i];

		if (can_take(e) &&
			(best == NULL || (e->lanes == 0) > (best->lanes == 0) ||
			 ((e->lanes == 0) == (best->lanes == 0) &&
			  e->ncalls < best->ncalls)))
			best = e;
	}
	return best;
}

/* The same for a request. */
static Executor *
request_executor(void)
{
	Executor   *best = NULL;

	for (int i = msg_executors > 1 ? 1 : 0; i < msg_executors; i++)
	{
		Executor   *e = &executors[i];

		if (can_take(e) && e->lanes != (1u << MSG_REQUESTS_AHEAD) - 1 &&
			(best == NULL || e->ncalls < best->ncalls))
			best = e;
	}
	return best;
}
