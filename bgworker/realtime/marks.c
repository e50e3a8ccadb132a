/*-------------------------------------------------------------------------
 *
 * marks.c
 *	  How far this gateway has come in the stream of changes.
 *
 * Its position is a mark and the transactions that were routed since.  A mark
 * is a snapshot that an executor took; it holds from when all that it sees was
 * routed, which is so when the streamer has decoded up to its fence.  What was
 * routed before it was asked for is part of it: a transaction is sent only
 * when others can see it.  So now and then a new mark takes the place of the
 * old one and of most that came behind it.
 *
 * From such positions begins who has missed something: a client that comes
 * back (stay.c), or everybody here, when the stream itself was broken
 * (catchup.c).
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

/*
 * Transactions behind a mark; with more, the position is not known.  It must
 * fit into a question, too.
 */
#define ROUTED_FIRST	256
#define ROUTED_MAX		16384

void
marks_forget(hub *h)
{
	mark_unref(h->mark);
	mark_unref(h->next_mark);
	h->mark = h->next_mark = NULL;
	h->mark_ticket = 0;
	h->nrouted = 0;
	h->routed_lost = false;
}

void
marks_free(hub *h)
{
	marks_forget(h);
	free(h->routed);
}

/* Room for one more; false: there are too many, or no memory. */
static bool
routed_make_room(hub *h)
{
	size_t		size = h->routed_size ? h->routed_size * 2 : ROUTED_FIRST;
	uint32_t   *routed;

	if (h->nrouted < h->routed_size)
		return true;
	if (size > ROUTED_MAX)
		return false;
	routed = realloc(h->routed, size * sizeof(uint32_t));
	if (routed == NULL)
		return false;
	h->routed = routed;
	h->routed_size = size;
	return true;
}

/*
 * A transaction was routed.  What is noted are the last ones, of which the very
 * last has number ntransactions: all behind the mark, or without one all since
 * the stream was broken or somebody is here.
 */
void
marks_note(hub *h, uint32_t xid)
{
	h->ntransactions++;
	if (h->stats.connections == 0)
		marks_forget(h);
	else if (routed_make_room(h))
		h->routed[h->nrouted++] = xid;
	else
	{
		marks_forget(h);
		h->routed_lost = true;
	}
}

/* Once a second: a new mark, when something has happened since the last. */
void
marks_ask(hub *h)
{
	if (!h->live || h->mark_ticket != 0 || h->next_mark != NULL ||
		(h->mark != NULL && h->mark->covers == h->ntransactions))
		return;
	if (!h->ops.take_mark(h->arg, h->next_ticket + 1))
		return;
	h->mark_ticket = ++h->next_ticket;
	h->mark_covers = h->ntransactions;
}

bool
hub_marked(hub *h, uint64_t ticket, const void *data, size_t len)
{
	const event_mark *answer = data;

	if (ticket != h->mark_ticket)
		return true;			/* of before */
	h->mark_ticket = 0;
	if (data == NULL)
		return true;			/* the next tick asks again */
	if (len < sizeof(event_mark) || answer->position.nmore != 0 ||
		!position_valid(&answer->position,
						len - offsetof(event_mark, position)))
		return false;
	h->next_mark = mark_new(h->mark_covers, answer->fence, &answer->position,
							NULL, 0);
	return true;
}

/* Everything is routed that was committed before this place in the WAL. */
void
hub_passed(hub *h, uint64_t lsn)
{
	mark	   *m = h->next_mark;
	size_t		covered;

	if (m == NULL || lsn < m->fence)
		return;

	covered = h->nrouted - (size_t) (h->ntransactions - m->covers);
	h->routed_lost = false;
	h->nrouted -= covered;
	if (h->nrouted > 0)
		memmove(h->routed, h->routed + covered,
				h->nrouted * sizeof(uint32_t));
	mark_unref(h->mark);
	h->mark = m;
	h->next_mark = NULL;
}

static int
compare_xids(const void *a, const void *b)
{
	uint64_t	x = *(const uint64_t *) a;
	uint64_t	y = *(const uint64_t *) b;

	return (x > y) - (x < y);
}

/* A mark with further transactions, in any order; NULL: no memory. */
mark *
marks_extend(const mark *base, const uint32_t *xids, size_t n)
{
	uint64_t   *more = malloc((n + 1) * sizeof(uint64_t));
	uint32_t	nmore = 0;
	mark	   *m;

	if (more == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		more[i] = position_full_xid(base->position, xids[i]);
	qsort(more, n, sizeof(uint64_t), compare_xids);
	for (size_t i = 0; i < n; i++)
	{
		if (nmore == 0 || more[nmore - 1] != more[i])
			more[nmore++] = more[i];
	}
	m = mark_new(base->covers, base->fence, base->position, more, nmore);
	free(more);
	return m;
}

/*
 * Where we are; NULL: it is not known.  Before there is a mark, that is so for
 * channels that have caught up since the stream was broken.
 */
mark *
marks_here(hub *h, const channel *ch)
{
	const mark *base = h->mark != NULL ? h->mark : ch->origin;

	if (base == NULL || h->routed_lost)
		return NULL;
	return marks_extend(base, h->routed, h->nrouted);
}
