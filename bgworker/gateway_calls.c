/*-------------------------------------------------------------------------
 *
 * gateway_calls.c
 *	  A gateway's questions to its executors, and their answers.
 *
 * Questions wait in one line.  Each goes to the executor that has the fewest,
 * and an executor answers in the order in which it was asked, so an answer
 * belongs to the first call in its executor's line.  When an executor dies,
 * or does not answer for longer than a call may take, its calls go back to the
 * head of the waiting line: they only read, so it does no harm when one is
 * answered by two executors, the first of which cannot say so any more.
 *
 * All calls are allocated at the start.  So taking one cannot fail for want
 * of memory in a callback of the socket server, where no error may be raised.
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

/* Small enough for a call never to wait for room in the queue. */
#define MAX_IN_FLIGHT	32
#define CALLS_SIZE		8192
#define REPLIES_SIZE	65536

StaticAssertDecl(MAX_IN_FLIGHT * (sizeof(MsgCall) + 2 * sizeof(Size)) <
				 CALLS_SIZE / 2,
				 "an executor's calls must fit into its queue");

/*
 * In milliseconds: longer than an executor may take for a call, and shorter
 * than a client waits for its join.
 */
#define ANSWER_TIMEOUT	(MSG_CALL_TIMEOUT + 1000)

typedef struct Call
{
	dlist_node	node;			/* in spare, waiting, or an executor's calls */
	MsgCall		call;
} Call;

typedef struct Executor
{
	MsgWorkerSlot *slot;
	MsgLink    *link;			/* NULL: to be published */
	dlist_head	calls;			/* in flight */
	int			ncalls;
	TimestampTz due;			/* when the next answer must have come */
} Executor;

static dlist_head spare;
static dlist_head waiting;
static Executor *executors;
static MsgAnswered answered;

static void receive_from(Executor *e);
static void take_reply(Executor *e, const MsgReply *reply, Size len);
static void expect_answer(Executor *e);
static void lose_link(Executor *e);
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
	Call	   *c;

	if (dlist_is_empty(&spare))
		return false;

	c = dlist_container(Call, node, dlist_pop_head_node(&spare));
	memset(&c->call, 0, sizeof(c->call));
	c->call.ticket = ticket;
	c->call.kind = kind;
	if (profile_id)
		memcpy(c->call.profile_id, profile_id, sizeof(c->call.profile_id));
	dlist_push_tail(&waiting, &c->node);
	return true;
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

	/* The answer may lead to another question, so make room for it first. */
	dlist_delete(&c->node);
	dlist_push_head(&spare, &c->node);
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
}

void
msg_calls_dispatch(void)
{
	Executor   *e;

	while (!dlist_is_empty(&waiting) && (e = least_busy()) != NULL)
	{
		Call	   *c = dlist_head_element(Call, node, &waiting);

		if (msg_link_send(e->link, sizeof(c->call), &c->call) == MSG_LINK_OK)
		{
			dlist_delete(&c->node);
			dlist_push_tail(&e->calls, &c->node);
			if (e->ncalls++ == 0)
				expect_answer(e);
		}
		else
			lose_link(e);		/* there is room, so it must be broken */
	}
}

/* An executor that is there and can take a call, or NULL. */
static Executor *
least_busy(void)
{
	Executor   *best = NULL;

	for (int i = 0; i < msg_executors; i++)
	{
		Executor   *e = &executors[i];

		if (e->link && e->ncalls < MAX_IN_FLIGHT &&
			msg_link_attached(e->link) &&
			(best == NULL || e->ncalls < best->ncalls))
			best = e;
	}
	return best;
}
