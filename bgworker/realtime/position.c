/*-------------------------------------------------------------------------
 *
 * position.c
 *	  Places in the stream of changes.
 *
 * Who has all changes up to a place is told by the transactions whose changes
 * he has: commits have an order, but the rows of the tables do not tell it,
 * they tell who wrote them.  So a position is a snapshot, as the server takes
 * them, and the ids of a few transactions that committed afterwards.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "position.h"

bool
position_valid(const void *data, size_t len)
{
	const event_position *p = data;

	return len >= sizeof(*p) && event_position_size(p) == len &&
		p->xmin <= p->xmax;
}

/* Transaction ids are a ring; see TransactionIdPrecedes(). */
uint64_t
position_full_xid(const event_position *p, uint32_t xid)
{
	return p->xmax + (uint64_t) (int64_t) (int32_t) (xid - (uint32_t) p->xmax);
}

static bool
is_among(uint64_t xid, const uint64_t *xids, uint32_t n)
{
	uint32_t	low = 0;

	while (low < n)
	{
		uint32_t	middle = low + (n - low) / 2;

		if (xids[middle] == xid)
			return true;
		if (xids[middle] < xid)
			low = middle + 1;
		else
			n = middle;
	}
	return false;
}

bool
position_sees(const event_position *p, uint32_t xid)
{
	uint64_t	full = position_full_xid(p, xid);

	if (full < p->xmin)
		return true;
	if (full < p->xmax && !is_among(full, event_position_xip(p), p->nxip))
		return true;
	return is_among(full, event_position_more(p), p->nmore);
}

mark *
mark_new(uint64_t covers, uint64_t fence, const event_position *base,
		 const uint64_t *more, uint32_t nmore)
{
	size_t		size = event_position_size(base);
	mark	   *m = malloc(sizeof(mark) + size + nmore * sizeof(uint64_t));

	if (m == NULL)
		return NULL;
	m->refs = 1;
	m->covers = covers;
	m->fence = fence;
	m->position = memcpy(m + 1, base, size);
	if (nmore > 0)
		memcpy((char *) m->position + size, more, nmore * sizeof(uint64_t));
	m->position->nmore += nmore;
	return m;
}

/*
 * Snapshots have an order: each sees all that an earlier one sees.  Of two
 * with the same upper end the later one has fewer that still ran.
 */
bool
mark_is_before(const mark *a, const mark *b)
{
	const event_position *p = a->position;
	const event_position *q = b->position;

	return p->xmax != q->xmax ? p->xmax < q->xmax : p->nxip > q->nxip;
}

mark *
mark_ref(mark *m)
{
	if (m != NULL)
		m->refs++;
	return m;
}

void
mark_unref(mark *m)
{
	if (m != NULL && --m->refs == 0)
		free(m);
}
