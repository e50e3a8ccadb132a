/*-------------------------------------------------------------------------
 *
 * link.c
 *	  Message queues between the workers; see link.h.
 *
 * A segment holds a header and up to two queues.  The gateway that made it is
 * its publisher: "in" and "out" are named from the publisher's side.
 *
 * The segment lives as long as somebody has it mapped, so nothing can leak:
 * each end's mapping goes when the process closes the link or exits.  The
 * publisher's end takes its handle out of the worker slot by a callback on
 * that same occasion, so that a handle in a slot is at worst one of a process
 * that is just leaving; attaching that one fails without harm.
 *
 * A queue takes exactly one sender and one receiver in its life.  A restarted
 * peer may find a segment that its predecessor had attached: "taken" makes it
 * leave that alone until the publisher has noticed and made another.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "link.h"
#include "worker.h"

typedef struct LinkHeader
{
	pg_atomic_flag taken;		/* set by the peer that attaches */
	Size		in_size;
	Size		out_size;
} LinkHeader;

struct MsgLink
{
	dsm_segment *segment;
	uint32		number;			/* as in the slot */
	shm_mq_handle *in;			/* NULL when there is none */
	shm_mq_handle *out;
};

#define HEADER_SIZE		MAXALIGN(sizeof(LinkHeader))

static void withdraw(dsm_segment *segment, Datum arg);

/* A queue of size bytes at offset, or NULL when there is none. */
static shm_mq *
queue_at(dsm_segment *segment, Size offset, Size size)
{
	if (size == 0)
		return NULL;
	return (shm_mq *) ((char *) dsm_segment_address(segment) + offset);
}

/* Take the two ends of a segment's queues that are ours. */
static MsgLink *
take_ends(dsm_segment *segment, uint32 number, shm_mq *in, shm_mq *out)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	MsgLink    *link = palloc0(sizeof(MsgLink));

	link->segment = segment;
	link->number = number;
	if (in)
	{
		shm_mq_set_receiver(in, MyProc);
		link->in = shm_mq_attach(in, segment, NULL);
	}
	if (out)
	{
		shm_mq_set_sender(out, MyProc);
		link->out = shm_mq_attach(out, segment, NULL);
	}

	MemoryContextSwitchTo(old);
	return link;
}

MsgLink *
msg_link_publish(MsgWorkerSlot *slot, Size in_size, Size out_size)
{
	dsm_segment *segment;
	LinkHeader *header;
	shm_mq	   *in;
	shm_mq	   *out;
	MsgLink    *link;
	uint32		number;

	in_size = MAXALIGN(in_size);
	out_size = MAXALIGN(out_size);
	segment = dsm_create(HEADER_SIZE + in_size + out_size, 0);
	dsm_pin_mapping(segment);

	header = dsm_segment_address(segment);
	pg_atomic_init_flag(&header->taken);
	header->in_size = in_size;
	header->out_size = out_size;
	in = queue_at(segment, HEADER_SIZE, in_size);
	if (in)
		shm_mq_create(in, in_size);
	out = queue_at(segment, HEADER_SIZE + in_size, out_size);
	if (out)
		shm_mq_create(out, out_size);

	LWLockAcquire(msg_shared->lock, LW_SHARED);
	number = slot->link_number + 1;
	LWLockRelease(msg_shared->lock);
	link = take_ends(segment, number, in, out);
	on_dsm_detach(segment, withdraw, PointerGetDatum(slot));

	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	slot->link = dsm_segment_handle(segment);
	slot->link_number = number;
	LWLockRelease(msg_shared->lock);

	msg_worker_wake(slot->kind == MSG_GATEWAY ?
					&msg_shared->slots[MSG_SLOT_STREAMER] : slot);
	return link;
}

/* The publisher lets go of a segment: nobody shall attach it any more. */
static void
withdraw(dsm_segment *segment, Datum arg)
{
	MsgWorkerSlot *slot = (MsgWorkerSlot *) DatumGetPointer(arg);

	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	if (slot->link == dsm_segment_handle(segment))
		slot->link = DSM_HANDLE_INVALID;
	LWLockRelease(msg_shared->lock);
}

bool
msg_link_attached(MsgLink *link)
{
	if (link->in)
		return shm_mq_get_sender(shm_mq_get_queue(link->in)) != NULL;
	return shm_mq_get_receiver(shm_mq_get_queue(link->out)) != NULL;
}

MsgLink *
msg_link_attach(MsgWorkerSlot *slot, MsgLink *link)
{
	dsm_handle	handle;
	uint32		number;
	dsm_segment *segment;
	LinkHeader *header;

	LWLockAcquire(msg_shared->lock, LW_SHARED);
	handle = slot->link;
	number = slot->link_number;
	LWLockRelease(msg_shared->lock);

	if (link && link->number == number && handle != DSM_HANDLE_INVALID)
		return link;
	if (link)
		msg_link_close(link);
	if (handle == DSM_HANDLE_INVALID)
		return NULL;

	segment = dsm_attach(handle);
	if (segment == NULL)
		return NULL;			/* its publisher has just left */
	dsm_pin_mapping(segment);

	header = dsm_segment_address(segment);
	if (!pg_atomic_test_set_flag(&header->taken))
	{
		dsm_detach(segment);
		return NULL;			/* the publisher will make another */
	}

	/* The publisher's out is our in. */
	return take_ends(segment, number,
					 queue_at(segment, HEADER_SIZE + header->in_size,
							  header->out_size),
					 queue_at(segment, HEADER_SIZE, header->in_size));
}

void
msg_link_close(MsgLink *link)
{
	if (link->in)
		shm_mq_detach(link->in);
	if (link->out)
		shm_mq_detach(link->out);
	dsm_detach(link->segment);
	pfree(link);
}

uint32
msg_link_number(const MsgLink *link)
{
	return link->number;
}

static MsgLinkResult
link_result(shm_mq_result result)
{
	switch (result)
	{
		case SHM_MQ_SUCCESS:
			return MSG_LINK_OK;
		case SHM_MQ_WOULD_BLOCK:
			return MSG_LINK_WOULD_BLOCK;
		case SHM_MQ_DETACHED:
			break;
	}
	return MSG_LINK_BROKEN;
}

MsgLinkResult
msg_link_send(MsgLink *link, Size len, const void *data)
{
	return link_result(shm_mq_send(link->out, len, data, true, true));
}

MsgLinkResult
msg_link_put(MsgLink *link, Size len, const void *data)
{
	return link_result(shm_mq_send(link->out, len, data, true, false));
}

MsgLinkResult
msg_link_receive(MsgLink *link, Size *len, void **data)
{
	return link_result(shm_mq_receive(link->in, len, data, true));
}
