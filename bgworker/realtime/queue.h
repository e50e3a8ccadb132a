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
 * A frame may have a twin that says the same in fewer bytes, for all who take
 * compressed frames (packer.h); it lives as long as either is needed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_QUEUE_H
#define REALTIME_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../src/latency.h"

#define QUEUE_ROOM_SIZE	16

/* Bytes that all frames and rings take now; not for others to change. */
extern size_t queue_memory;

/* How old messages were when they were taken, and how many never were. */
extern latency queue_written;
extern uint64_t queue_lost;

/*
 * The time by which they are judged.  Whoever begins to take from many queues
 * sets it to 0, to have it read anew; and so it is now and then.
 */
extern int64_t queue_clock;

typedef struct frame
{
	uint32_t	refs;
	uint32_t	len;
	uint8_t		room[QUEUE_ROOM_SIZE];	/* what it speaks of; zero: nothing */
	int64_t		seq;			/* message of the room, or 0 */
	int64_t		committed_at;	/* a new message: when, in microseconds since
								 * 1970; else 0 */
	struct frame *packed;		/* the twin */
	bool		ephemeral;		/* may be left out under pressure */
	bool		incompressible; /* there is no twin that is smaller */
	uint8_t		plain;			/* how many were content without a twin */
	uint8_t		bytes[];
} frame;

typedef struct frame_part
{
	const char *data;
	size_t		len;
} frame_part;

/*
 * A text frame of this payload, in one piece or in several, or a binary one,
 * or a ping of at most 125 bytes; the caller holds the one reference.  NULL: no memory.
 */
extern frame *frame_text(const char *payload, size_t len);
extern frame *frame_parts(const frame_part *parts, int nparts);
extern frame *frame_binary(const frame_part *parts, int nparts);
extern frame *frame_ping(const void *payload, size_t len);

/* What f says, compressed to this payload; NULL: no memory. */
extern frame *frame_packed(const frame *f, const frame_part *payload);

/* Where a frame's payload begins. */
extern size_t frame_header_size(const frame *f);

extern frame *frame_ref(frame *f);
extern void frame_unref(frame *f);	/* NULL is fine */

typedef struct queue_entry
{
	frame	   *frame;
	const void *owner;			/* for whom, or NULL */
} queue_entry;

#define QUEUE_OWN_SIZE	2

/* It must not be moved. */
typedef struct queue
{
	queue_entry *entries;		/* a ring: own, or a larger one */
	uint32_t	size;			/* a power of two */
	uint32_t	head;
	uint32_t	count;
	uint32_t	taken;			/* bytes of the head that are written */
	size_t		bytes;			/* that wait */
	queue_entry own[QUEUE_OWN_SIZE];
} queue;

extern void queue_init(queue *q);
extern void queue_free(queue *q);	/* with all that is in it */

/* Which frames: all for which each that is set here is the same. */
typedef struct queue_choice
{
	const void *owner;			/* NULL: whoever */
	const uint8_t *room;		/* NULL: any */
	int64_t		seq;			/* 0: any */
	bool		ephemeral;		/* false: any */
} queue_choice;

/*
 * The frames of a queue in order.  A push takes a reference of its own; false:
 * no memory.  The queue never looks at an owner, and an owner that ends must
 * have its frames dropped before.  A drop returns how many it were.
 */
extern bool queue_push(queue *q, frame *f, const void *owner);
extern size_t queue_bytes(const queue *q);
extern uint32_t queue_drop(queue *q, const queue_choice *which);
extern void queue_clear(queue *q);

/*
 * Copy whole frames from the head into buf until it is full or the queue is
 * empty, and release them; returns the bytes copied.  A frame larger than
 * the buffer is copied in pieces, and a piece once started is never dropped:
 * queue_drop() and queue_clear() leave the rest of such a frame in place.
 */
extern size_t queue_take(queue *q, uint8_t *buf, size_t size);

#endif							/* REALTIME_QUEUE_H */
