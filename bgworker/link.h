/*-------------------------------------------------------------------------
 *
 * link.h
 *	  Message queues between the workers, on PostgreSQL's shm_mq.
 *
 * A gateway makes every link: one to the streamer (events in, and with several
 * gateways signals in both directions) and one to each of its executors (calls
 * out, replies in).  It publishes the segment in the
 * worker slot of shared memory and wakes the peer, which attaches.  When
 * either end dies, shm_mq tells the other, and the gateway publishes a new
 * segment.  So there is nothing to repair: a link is used until it breaks.
 *
 * What a peer had sent before it died can still be received.  A transaction
 * whose EVENT_COMMIT is not among it will come again, whole, over the next
 * link.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_LINK_H
#define OPENHR_MSG_LINK_H

#include "storage/shm_mq.h"

#include "openhr_msg.h"

typedef struct MsgLink MsgLink;

typedef enum MsgLinkResult
{
	MSG_LINK_OK,
	MSG_LINK_WOULD_BLOCK,		/* again after the latch was set */
	MSG_LINK_BROKEN				/* the peer is gone: close it */
} MsgLinkResult;

/*
 * Gateway: make a segment and publish it in slot.  Sizes of the queues are as
 * the gateway sees them; 0 means that there is none in this direction.
 */
extern MsgLink *msg_link_publish(MsgWorkerSlot *slot, Size in_size,
								 Size out_size);

/* Gateway: has the peer come?  Its coming sets the gateway's latch. */
extern bool msg_link_attached(MsgLink *link);

/*
 * Peer: attach what slot publishes when it is newer than link (which may be
 * NULL and is closed then); returns the link to use from now on, or NULL when
 * nothing is published.
 */
extern MsgLink *msg_link_attach(MsgWorkerSlot *slot, MsgLink *link);
extern void msg_link_close(MsgLink *link);

/* Tells a link of a slot from those before it. */
extern uint32 msg_link_number(const MsgLink *link);

/*
 * None of these calls waits.  A send that would block must be repeated with
 * the same bytes.  msg_link_put() is a send that may keep the message back
 * until the next msg_link_send(), so that the reader is not woken for each
 * piece.  What receive returns is valid until the next receive.
 */
extern MsgLinkResult msg_link_send(MsgLink *link, Size len, const void *data);
extern MsgLinkResult msg_link_put(MsgLink *link, Size len, const void *data);
extern MsgLinkResult msg_link_receive(MsgLink *link, Size *len, void **data);

#endif							/* OPENHR_MSG_LINK_H */
