/*-------------------------------------------------------------------------
 *
 * positions.c
 *	  Places in the stream of changes, and which rows are behind them.
 *
 * A position says of which transactions somebody has all changes: those that
 * a snapshot sees, and a few further ones ("more").  It is compared with the
 * transaction that last wrote a row (xmin), so that the tables themselves tell
 * what is missed; no log is kept beside them, and nothing is to be removed.
 *
 * - Ids are 64 bits wide and never used again, so a position keeps its meaning
 *	 however long it is kept.  A row has the low half of an id, and is newer
 *	 than the next id minus 2^32; where that is not true any more the row is so
 *	 old that to take it for a newer one at worst repeats it.
 * - Freezing hides who wrote a row, but leaves the id in place, where we look
 *	 for it: what was VACUUMed while somebody was away is missed all the same.
 * - A row bears the id of the subtransaction that wrote it.  So those in
 *	 progress count as not seen, too, when a snapshot is taken; when there are
 *	 more than the server keeps in memory, only what is older than all of them
 *	 counts as seen, and something is repeated.  Of the further transactions
 *	 only the top-level ids are known: what their subtransactions wrote is
 *	 repeated.
 *
 * Wherever there is a doubt a row counts as missed.  To get something twice
 * does no harm, since all rows have keys and versions.
 *
 * Positions are stored in the database that they are of.  The record of a
 * position is behind those of all commits that it sees, and so it is as true
 * as the tables after a crash, on a standby, and in a backup.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "positions.h"

/* From PostgreSQL's epoch to that of Unix. */
#define EPOCH_SHIFT \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* A pg_snapshot, as the server's xid8funcs.c has it and stores it. */
typedef struct Seen
{
	int32		header;			/* of a varlena */
	uint32		nxip;
	uint64		xmin;
	uint64		xmax;
	uint64		xip[FLEXIBLE_ARRAY_MEMBER];
} Seen;

static uint64
widen(TransactionId xid, FullTransactionId next)
{
	uint64		value = U64FromFullTransactionId(next);
	uint64		epoch = value >> 32;

	if (!TransactionIdIsNormal(xid))
		return xid;				/* older than all */
	if (xid > (TransactionId) value)
	{
		if (epoch == 0)
			return FirstNormalTransactionId;
		epoch--;
	}
	return epoch << 32 | xid;
}

static int
compare_ids(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

/* Append ids below xmax. */
static uint32
put_ids(uint64 *to, uint32 n, const TransactionId *ids, int count,
		uint64 xmax, FullTransactionId next)
{
	for (int i = 0; i < count; i++)
	{
		uint64		id = widen(ids[i], next);

		if (id < xmax)
			to[n++] = id;
	}
	return n;
}

/*
 * The own transaction is not in its own snapshot.  Its ids that have come to
 * their end are known; one that is in progress below others is not, and all
 * above the first of them then counts as not seen.
 */
static uint32
put_own(event_position *position, uint64 *to, uint32 n, FullTransactionId next)
{
	TransactionId own = GetTopTransactionIdIfAny();
	TransactionId *children;
	int			nchildren = xactGetCommittedChildren(&children);
	uint64		id = widen(own, next);

	if (!TransactionIdIsValid(own))
		return n;
	if (GetCurrentTransactionNestLevel() > 1)
	{
		position->xmax = Max(Min(position->xmax, id), position->xmin);
		return n;
	}
	n = put_ids(to, n, &own, 1, position->xmax, next);
	return put_ids(to, n, children, nchildren, position->xmax, next);
}

bool
msg_mark_is_rough(void)
{
	return GetActiveSnapshot()->suboverflowed;
}

event_mark *
msg_take_mark(void)
{
	Snapshot	snapshot = GetActiveSnapshot();
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId *children;
	int			nown = 1 + xactGetCommittedChildren(&children);
	event_mark *mark = palloc0(sizeof(event_mark) + sizeof(uint64) *
							   (snapshot->xcnt + snapshot->subxcnt + nown));
	event_position *position = &mark->position;
	uint64	   *xip = (uint64 *) event_position_xip(position);
	uint32		n = 0;

	mark->fence = GetXLogInsertRecPtr();
	position->taken_at = msg_unix_time(GetCurrentTimestamp());
	position->xmin = widen(snapshot->xmin, next);
	position->xmax = msg_mark_is_rough() ?
		position->xmin : widen(snapshot->xmax, next);

	if (!msg_mark_is_rough())
	{
		n = put_ids(xip, n, snapshot->xip, snapshot->xcnt, position->xmax,
					next);
		n = put_ids(xip, n, snapshot->subxip, snapshot->subxcnt,
					position->xmax, next);
	}
	n = put_own(position, xip, n, next);

	qsort(xip, n, sizeof(uint64), compare_ids);
	while (n > 0 && xip[n - 1] >= position->xmax)
		n--;
	position->nxip = n;
	return mark;
}

static bool
ascending(const uint64 *ids, uint32 n)
{
	for (uint32 i = 1; i < n; i++)
	{
		if (ids[i - 1] >= ids[i])
			return false;
	}
	return true;
}

const event_position *
msg_check_position(const void *bytes, Size len)
{
	const event_position *position = bytes;

	if (len < sizeof(event_position) ||
		len != event_position_size(position) ||
		position->xmin > position->xmax ||
		!ascending(event_position_xip(position), position->nxip) ||
		!ascending(event_position_more(position), position->nmore))
		return NULL;
	return position;
}

bool
msg_position_sees(const event_position *position, uint64 xid)
{
	if (xid < position->xmin)
		return true;
	if (xid < position->xmax &&
		bsearch(&xid, event_position_xip(position), position->nxip,
				sizeof(uint64), compare_ids) == NULL)
		return true;
	return bsearch(&xid, event_position_more(position), position->nmore,
				   sizeof(uint64), compare_ids) != NULL;
}

uint64
msg_row_xid(HeapTuple tuple, FullTransactionId next)
{
	return widen(HeapTupleHeaderGetRawXmin(tuple->t_data), next);
}

Datum
msg_position_seen(const event_position *position)
{
	Size		size = offsetof(Seen, xip) + position->nxip * sizeof(uint64);
	Seen	   *seen = palloc0(size);

	SET_VARSIZE(seen, size);
	seen->nxip = position->nxip;
	seen->xmin = position->xmin;
	seen->xmax = position->xmax;
	memcpy(seen->xip, event_position_xip(position),
		   position->nxip * sizeof(uint64));
	return PointerGetDatum(seen);
}

Datum
msg_position_more(const event_position *position)
{
	const uint64 *more = event_position_more(position);
	Datum	   *ids = palloc((position->nmore + 1) * sizeof(Datum));

	for (uint32 i = 0; i < position->nmore; i++)
		ids[i] = FullTransactionIdGetDatum(FullTransactionIdFromU64(more[i]));
	return PointerGetDatum(construct_array(ids, position->nmore, XID8OID,
										   sizeof(uint64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

event_position *
msg_make_position(Datum seen_datum, Datum more_datum, TimestampTz taken_at)
{
	Seen	   *seen = (Seen *) PG_DETOAST_DATUM(seen_datum);
	Datum	   *more;
	int			nmore;
	event_position *position;
	uint64	   *ids;

	deconstruct_array(DatumGetArrayTypeP(more_datum), XID8OID, sizeof(uint64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &more, NULL, &nmore);
	position = palloc0(sizeof(event_position) +
					   sizeof(uint64) * ((Size) seen->nxip + nmore));
	position->taken_at = msg_unix_time(taken_at);
	position->xmin = seen->xmin;
	position->xmax = seen->xmax;
	position->nxip = seen->nxip;
	position->nmore = nmore;
	memcpy((uint64 *) event_position_xip(position), seen->xip,
		   seen->nxip * sizeof(uint64));

	ids = (uint64 *) event_position_more(position);
	for (int i = 0; i < nmore; i++)
		ids[i] = U64FromFullTransactionId(DatumGetFullTransactionId(more[i]));
	qsort(ids, nmore, sizeof(uint64), compare_ids);
	return position;
}

/* The ends of time stay what they are. */
int64
msg_unix_time(TimestampTz time)
{
	return TIMESTAMP_NOT_FINITE(time) ? time : time + EPOCH_SHIFT;
}

TimestampTz
msg_time_of_unix(int64 time)
{
	return TIMESTAMP_NOT_FINITE(time) ? time : time - EPOCH_SHIFT;
}
