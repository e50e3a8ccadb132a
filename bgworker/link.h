/*-------------------------------------------------------------------------
 *
 * link.h
 *	  Message queues between the workers, on PostgreSQL's shm_mq.
 *
 * A gateway makes every link: one to the streamer (events) and one to each of
 * its executors (calls out, replies in).  It publishes the segment in the
 * worker slot of shared memory and wakes the peer, which attaches.  When
 * either end dies, shm_mq tells the other, and the gateway publishes a new
 * segment.  So there is nothing to repair: a link is used until it breaks.
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

/* Gateway: make a segment and publish it in slot; in_size may be 0. */
extern MsgLink *msg_link_publish(MsgWorkerSlot *slot, Size in_size,
								 Size out_size);

/*
 * Peer: attach what slot publishes when it is newer than link (which may be
 * NULL and is closed then); returns the link to use from now on, or NULL when
 * nothing is published.
 */
extern MsgLink *msg_link_attach(MsgWorkerSlot *slot, MsgLink *link);
extern void msg_link_close(MsgLink *link);

/*
 * Neither call waits.  A send that would block must be repeated with the same
 * bytes.  What receive returns is valid until the next receive.
 */
extern MsgLinkResult msg_link_send(MsgLink *link, Size len, const void *data);
extern MsgLinkResult msg_link_receive(MsgLink *link, Size *len, void **data);

#endif							/* OPENHR_MSG_LINK_H */
