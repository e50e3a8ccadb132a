/*-------------------------------------------------------------------------
 *
 * gateway_receipts.c
 *	  What has arrived at a gateway's clients, on its way to the tables.
 *
 * The hub finds it out (realtime/acks.c), an executor writes it.  It goes in
 * batches, one after the other, so that those who join do not wait for it; and
 * a batch is small, for while it is written others wait for its conversations.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which it must not see. */
#include "gateway_receipts.h"

#include "postgres.h"

#include "gateway_calls.h"

#define BATCH	20

/* In microseconds; what is due later than this is due now. */
#define FAR_AWAY	INT64CONST(10000000)

StaticAssertDecl(BATCH * sizeof(MsgReceipt) <= MSG_CALL_PAYLOAD,
				 "a batch of receipts must fit into a call");

/* The batch under way. */
static hub_receipt batch[BATCH];
static size_t nbatch = 0;

int64_t
msg_receipts_due(const hub *h)
{
	return nbatch > 0 ? 0 : hub_receipts_due(h);
}

void
msg_receipts_tell(hub *h, int64_t now)
{
	MsgReceipt	receipts[BATCH];
	int64_t		due = msg_receipts_due(h);

	/* Or was the clock set back? */
	if (due == 0 || (due > now && due < now + FAR_AWAY))
		return;
	nbatch = hub_take_receipts(h, batch, BATCH);
	for (size_t i = 0; i < nbatch; i++)
	{
		memcpy(receipts[i].conversation_id, batch[i].conversation_id,
			   sizeof(receipts[i].conversation_id));
		memcpy(receipts[i].profile_id, batch[i].profile_id,
			   sizeof(receipts[i].profile_id));
		receipts[i].first = batch[i].first;
		receipts[i].last = batch[i].last;
	}
	if (!msg_calls_tell(0, MSG_CALL_RECEIPTS, NULL, receipts,
						nbatch * sizeof(MsgReceipt)))
		msg_receipts_told(h, false, NULL, 0, now);
}

/* What could not be written is told again; after an error, all of it. */
void
msg_receipts_told(hub *h, bool success, const void *payload, size_t len,
				  int64_t now)
{
	const uint32_t *again = payload;
	size_t		n = nbatch;

	nbatch = 0;
	if (!success)
		hub_receipts_again(h, batch, n, now);
	for (size_t i = 0; success && i < len / sizeof(uint32_t); i++)
		if (again[i] < n)
			hub_receipts_again(h, &batch[again[i]], 1, now);
}
