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
 * All calls are allocated at the start, so that taking one needs no memory and
 * raises no error: it happens in callbacks of the socket server.  What a call
 * brings along (its letter) is the exception: when there is no memory for it,
 * or too much of it already, the call is not taken.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "gateway_calls.h"
#include "link.h"
#include "worker.h"

#define MAX_IN_FLIGHT	32
#define CALLS_SIZE		16384
#define REPLIES_SIZE	65536

/* Memory of all letters together. */
#define MAX_LETTERS		(16 * 1024 * 1024)

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
	TimestampTz asked_at;
} Call;

typedef struct Executor
{
	MsgWorkerSlot *slot;
	MsgLink    *link;			/* NULL: to be published */
	dlist_head	calls;			/* in flight */
	int			ncalls;
	bool		sending;		/* the last one of them is sent in part */
	TimestampTz due;			/* when the next answer must have come */
} Executor;

static Size letters = 0;			/* bytes of them */
static int	nopen = 0;			/* calls that are not answered */

static dlist_head spare;
static dlist_head waiting;
static Executor *executors;
static MsgAnswered answered;

static Call *new_call(uint64 ticket, MsgCallKind kind,
					  const uint8 *profile_id);
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

	dlist_init(&spare);
	dlist_init(&waiting);
	for (int i = 0; i < max_calls; i++)
		dlist_push_tail(&spare, &calls[i].node);

	executors = MemoryContextAllocZero(TopMemoryContext,
									   msg_executors * sizeof(Executor));
	for (int i = 0; i < msg_executors; i++)
	{
		int			slot = MSG_SLOT_EXECUTOR(msg_worker->gateway, i);

		executors[i].slot = &msg_shared->slots[slot];
		dlist_init(&executors[i].calls);
	}
	answered = callback;
}

bool
msg_calls_ask(uint64 ticket, MsgCallKind kind, const uint8 *profile_id)
{
	return new_call(ticket, kind, profile_id) != NULL;
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
	c = new_call(ticket, kind, profile_id);
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

/* At the end of the line; NULL: there are too many. */
static Call *
new_call(uint64 ticket, MsgCallKind kind, const uint8 *profile_id)
{
	Call	   *c;

	if (dlist_is_empty(&spare))
		return NULL;
	c = dlist_container(Call, node, dlist_pop_head_node(&spare));
	memset(&c->call, 0, sizeof(c->call));
	c->call.ticket = ticket;
	c->call.kind = kind;
	if (profile_id)
		memcpy(c->call.profile_id, profile_id, sizeof(c->call.profile_id));
	c->asked_at = GetCurrentTimestamp();
	dlist_push_tail(&waiting, &c->node);
	nopen++;
	return c;
}

static void
free_call(Call *c)
{
	if (c->letter)
	{
		letters -= c->call.len;
		free(c->letter);
		c->letter = NULL;
	}
	dlist_delete(&c->node);
	dlist_push_head(&spare, &c->node);
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
	free_call(c);
	e->ncalls--;
	expect_answer(e);
	answered(&call, reply->status == MSG_REPLY_OK, reply + 1, reply->len);
}

/* The executor has died, or might as well: whoever is left shall answer. */
static void
lose_link(Executor *e)
{
	msg_link_close(e->link);
	e->link = NULL;
	while (!dlist_is_empty(&e->calls))
	{
		dlist_node *node = dlist_tail_node(&e->calls);

		dlist_delete(node);
		dlist_push_head(&waiting, node);
	}
	e->ncalls = 0;
	e->sending = false;
}

void
msg_calls_dispatch(void)
{
	Executor   *e;

	for (int i = 0; i < msg_executors; i++)
	{
		e = &executors[i];
		if (e->link && e->sending)
			send_call(e, dlist_tail_element(Call, node, &e->calls));
	}
	while (!dlist_is_empty(&waiting) && (e = least_busy()) != NULL)
	{
		Call	   *c = dlist_head_element(Call, node, &waiting);

		dlist_delete(&c->node);
		dlist_push_tail(&e->calls, &c->node);
		if (e->ncalls++ == 0)
			expect_answer(e);
		send_call(e, c);
	}
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

/* An executor that is there and can take a call, or NULL. */
static Executor *
least_busy(void)
{
	Executor   *best = NULL;

	for (int i = 0; i < msg_executors; i++)
	{
		Executor   *e = &executors[i];

		if (e->link && !e->sending && e->ncalls < MAX_IN_FLIGHT &&
			msg_link_attached(e->link) &&
			(best == NULL || e->ncalls < best->ncalls))
			best = e;
	}
	return best;
}
