/*-------------------------------------------------------------------------
 *
 * gateway_positions.c
 *	  How far a gateway and its clients are in the stream of changes, and
 *	  what they have missed.
 *
 * The hub knows what to ask (realtime/marks.c, stay.c, catchup.c, replay.c); here it is
 * brought to the executors and back.  Positions are saved in batches, one after
 * the other.  A batch that cannot be written is tried again a few times; if
 * that fails the older positions stand, and clients may get again what they
 * have.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which it must not see. */
#include "gateway_positions.h"

#include "postgres.h"

#include "gateway_calls.h"

#define BATCH_BYTES		(64 * 1024)
#define MAX_TRIES		5

/* In microseconds; what is due later than this is due now. */
#define FAR_AWAY	INT64CONST(10000000)

StaticAssertDecl(BATCH_BYTES <= MSG_CALL_PAYLOAD,
				 "a batch of positions must fit into a call");

/* The batch under way. */
static char batch[BATCH_BYTES];
static size_t batch_len = 0;
static int	tries;

static void send_batch(hub *h);

bool
msg_positions_mark(void *arg, uint64_t ticket)
{
	return msg_calls_ask(ticket, MSG_CALL_MARK, NULL);
}

bool
msg_positions_catch_up(void *arg, uint64_t ticket,
					   const uint8_t profile_id[16], const void *request,
					   size_t len)
{
	return len <= MSG_CALL_PAYLOAD &&
		msg_calls_tell(ticket, MSG_CALL_CATCH_UP, profile_id, request, len);
}

bool
msg_positions_replay(void *arg, uint64_t ticket, const char *topic,
					 size_t len, int64_t since, int limit)
{
	union
	{
		MsgReplay	head;
		char		bytes[sizeof(MsgReplay) + 256];
	}			request = {.head = {.since = since,.limit = limit,
	.topic_len = len}};

	if (len > sizeof(request) - sizeof(MsgReplay))
		return false;
	memcpy(request.bytes + sizeof(MsgReplay), topic, len);
	return msg_calls_tell(ticket, MSG_CALL_REPLAY, NULL, &request,
						  sizeof(MsgReplay) + len);
}

int64_t
msg_positions_due(const hub *h)
{
	return batch_len > 0 ? 0 : hub_positions_due(h);
}

void
msg_positions_save(hub *h, int64_t now)
{
	int64_t		due = msg_positions_due(h);

	/* Or was the clock set back? */
	if (due == 0 || (due > now && due < now + FAR_AWAY))
		return;
	batch_len = hub_take_positions(h, batch, sizeof(batch), now);
	tries = 0;
	if (batch_len > 0)
		send_batch(h);
	else
		hub_positions_saved(h);
}

static void
end_batch(hub *h)
{
	batch_len = 0;
	hub_positions_saved(h);
}

static void
send_batch(hub *h)
{
	if (!msg_calls_tell(0, MSG_CALL_SAVE_POSITIONS, NULL, batch, batch_len))
		end_batch(h);
}

static void
batch_answered(hub *h, bool success)
{
	if (success || ++tries == MAX_TRIES)
		end_batch(h);
	else
		send_batch(h);
}

bool
msg_positions_answered(hub *h, const MsgCall *call, bool success,
					   const void *payload, size_t len)
{
	switch (call->kind)
	{
		case MSG_CALL_MARK:
			hub_marked(h, call->ticket, success ? payload : NULL, len);
			return true;
		case MSG_CALL_CATCH_UP:
			if (success)
				hub_caught_up(h, call->ticket, payload, len);
			else
				hub_catch_up_failed(h, call->ticket,
									"changes could not be read");
			return true;
		case MSG_CALL_SAVE_POSITIONS:
			batch_answered(h, success);
			return true;
		case MSG_CALL_REPLAY:
			hub_replayed(h, call->ticket, success ? payload : NULL, len);
			return true;
		default:
			return false;
	}
}
