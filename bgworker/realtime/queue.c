/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  A connection's queue: a ring of references to shared frames.
 *
 * Most of the time a queue is empty or holds a frame or two, and there are
 * thousands of queues: so much has its place in the queue itself, where it is
 * found without another look at memory, and a larger ring is given back when
 * the burst that needed it has been written.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_KEEP_SIZE		32
#define QUEUE_MAX_SIZE		(1U << 30)

/* The clock is looked at for so many frames together. */
#define QUEUE_CLOCK_FRAMES	16

latency		queue_written;
uint64_t	queue_lost;
int64_t		queue_clock;

static inline queue_entry *
queue_entry_at(const queue *q, uint32_t i)
{
	return &q->entries[(q->head + i) & (q->size - 1)];
}

void
queue_init(queue *q)
{
	memset(q, 0, sizeof(*q));
	q->entries = q->own;
	q->size = QUEUE_OWN_SIZE;
}

static void
queue_free_ring(queue *q)
{
	if (q->entries == q->own)
		return;
	queue_memory -= q->size * sizeof(queue_entry);
	free(q->entries);
}

static void
queue_count_lost(const queue *q, uint32_t from)
{
	for (uint32_t i = from; i < q->count; i++)
		queue_lost += queue_entry_at(q, i)->frame->committed_at != 0;
}

void
queue_free(queue *q)
{
	queue_count_lost(q, 0);
	for (uint32_t i = 0; i < q->count; i++)
		frame_unref(queue_entry_at(q, i)->frame);
	queue_free_ring(q);
	queue_init(q);
}

static bool
queue_grow(queue *q)
{
	uint32_t	size = q->size * 2;
	queue_entry *entries;

	if (size > QUEUE_MAX_SIZE)
		return false;
	entries = malloc(size * sizeof(queue_entry));
	if (entries == NULL)
		return false;
	for (uint32_t i = 0; i < q->count; i++)
		entries[i] = *queue_entry_at(q, i);
	queue_memory += size * sizeof(queue_entry);
	queue_free_ring(q);
	q->entries = entries;
	q->size = size;
	q->head = 0;
	return true;
}

bool
queue_push(queue *q, frame *f, const void *owner)
{
	queue_entry *entry;

	if (q->count == q->size && !queue_grow(q))
		return false;
	entry = queue_entry_at(q, q->count++);
	entry->frame = frame_ref(f);
	entry->owner = owner;
	q->bytes += f->len;
	return true;
}

size_t
queue_bytes(const queue *q)
{
	return q->bytes;
}

static void
queue_shrink_if_empty(queue *q)
{
	if (q->count == 0 && q->size > QUEUE_KEEP_SIZE)
		queue_free(q);
}

static bool
is_chosen(const queue_entry *entry, const queue_choice *which)
{
	const frame *f = entry->frame;

	return (which->owner == NULL || which->owner == entry->owner) &&
		(which->room == NULL ||
		 memcmp(which->room, f->room, QUEUE_ROOM_SIZE) == 0) &&
		(which->seq == 0 || which->seq == f->seq) &&
		(!which->ephemeral || f->ephemeral);
}

/*
 * Keep what stays, in order.  A head that is partly written always stays, but
 * is nobody's then.
 */
uint32_t
queue_drop(queue *q, const queue_choice *which)
{
	uint32_t	count = q->count;
	uint32_t	kept = 0;

	for (uint32_t i = 0; i < count; i++)
	{
		queue_entry entry = *queue_entry_at(q, i);
		bool		chosen = is_chosen(&entry, which);

		if (chosen && i == 0 && q->taken > 0)
		{
			entry.owner = NULL;
			chosen = false;
		}
		if (!chosen)
			*queue_entry_at(q, kept++) = entry;
		else
		{
			q->bytes -= entry.frame->len;
			frame_unref(entry.frame);
		}
	}
	q->count = kept;
	queue_shrink_if_empty(q);
	return count - kept;
}

void
queue_clear(queue *q)
{
	/* What stays, since it is written in part, is counted when it goes. */
	queue_count_lost(q, q->taken > 0 ? 1 : 0);
	queue_drop(q, &(queue_choice) {.seq = 0});
}

/*
 * Each look at the clock costs a percent of what writing a frame does, and
 * within a few of these not a tenth of a millisecond passes.
 */
static void
queue_measure(const frame *f)
{
	static unsigned measured = 0;

	if (queue_clock == 0 || measured++ % QUEUE_CLOCK_FRAMES == 0)
		queue_clock = latency_clock();
	latency_add(&queue_written, queue_clock - f->committed_at);
}

size_t
queue_take(queue *q, uint8_t *buf, size_t size)
{
	size_t		copied = 0;

	while (q->count > 0)
	{
		frame	   *f = queue_entry_at(q, 0)->frame;
		size_t		rest = f->len - q->taken;
		size_t		room = size - copied;

		/* Several whole frames, or a piece of one. */
		if (rest > room && copied > 0)
			break;
		if (rest > room)
			rest = room;
		memcpy(buf + copied, f->bytes + q->taken, rest);
		copied += rest;
		q->taken += (uint32_t) rest;
		q->bytes -= rest;
		if (q->taken < f->len)
			break;
		if (f->committed_at != 0)
			queue_measure(f);
		frame_unref(f);
		q->head = (q->head + 1) & (q->size - 1);
		q->count--;
		q->taken = 0;
	}
	queue_shrink_if_empty(q);
	return copied;
}
