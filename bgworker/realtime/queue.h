/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  Frames ready to be written, shared by all who get them, and each
 *	  connection's queue of references to them.
 *
 * A frame is a whole RFC 6455 frame, header included: server frames are not
 * masked, so one encoding serves every receiver and several can be written
 * in one go.  Frames are immutable once made and counted by reference.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_QUEUE_H
#define OPENHR_MSG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct frame
{
	uint32_t	refs;
	uint32_t	len;
	uint8_t		bytes[];
} frame;

/* Room for a text frame of this many payload bytes; NULL: no memory. */
extern frame *frame_text(const char *payload, size_t len);
extern frame *frame_ref(frame *f);
extern void frame_unref(frame *f);

typedef struct queue queue;

/*
 * The frames of a queue in order.  tag names the conversation that a frame
 * speaks of (NULL: none), so that queue_drop() can take them out again.
 */
extern bool queue_push(queue *q, frame *f, const uint8_t *tag); /* takes a ref */
extern size_t queue_bytes(const queue *q);
extern void queue_drop(queue *q, const uint8_t *tag);
extern void queue_clear(queue *q);

/*
 * Copy whole frames from the head into buf until it is full or the queue is
 * empty, and release them; returns the bytes copied.  A frame larger than
 * the buffer is copied in pieces (a piece once started is never dropped).
 */
extern size_t queue_take(queue *q, uint8_t *buf, size_t size);

#endif							/* OPENHR_MSG_QUEUE_H */
