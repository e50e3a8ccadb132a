/*-------------------------------------------------------------------------
 *
 * rate_limit.c
 *	  How many messages a profile may send: openhr_msg.rate_limit in any
 *	  openhr_msg.rate_limit_window.
 *
 * "Any" is meant: the times of the accepted messages are kept (a sliding
 * log), so that no placement of the window holds more than the limit.  A
 * counter that starts anew each minute would let twice as many pass at its
 * edge.
 *
 * The times of a profile are an array in its row of openhr_msg.send_log,
 * changed in the transaction that writes the message: both commit, or
 * neither.  The row's lock puts a profile's senders into a queue, as exact
 * counting must; the clock is read with the lock held, so the times ascend.
 * An UPDATE does it all: when it had to wait it computes anew from the
 * row's newest version.
 *
 * The table is unlogged.  A row is rewritten with every message, which costs
 * no WAL this way, and decoding never sees it.  A crash, or promoting a
 * standby, empties the table, so it forgives each profile the messages of
 * its last window, once.  A row is as large as the limit at most.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "compat.h"
#include "rate_limit.h"
#include "openhr_msg.h"
#include "spi_plans.h"

static MsgPlan push_plan = MSG_PLAN(
	"UPDATE openhr_msg.send_log"
	" SET sent_at = openhr_msg.push_sent_at(sent_at, clock_timestamp())"
	" WHERE profile_id = $1",
	UUIDOID);

static MsgPlan first_plan = MSG_PLAN(
	"INSERT INTO openhr_msg.send_log (profile_id, sent_at)"
	" VALUES ($1, ARRAY[clock_timestamp()])"
	" ON CONFLICT (profile_id) DO NOTHING",
	UUIDOID);

static int	count_expired(const TimestampTz *times, int ntimes,
						  TimestampTz now);
static int	count_possible(const TimestampTz *times, int ntimes,
						   TimestampTz now);
static ArrayType *make_log(const TimestampTz *times, int ntimes,
						   TimestampTz last);
static void refuse(TimestampTz retry_at, TimestampTz now);

void
msg_limit_send(const pg_uuid_t *profile_id)
{
	Datum		values[] = {UUIDPGetDatum(profile_id)};

	if (msg_rate_limit == 0)
		return;

	/*
	 * Of two first messages at once one inserts the row, and the other finds
	 * it after having waited.
	 */
	while (msg_plan_write(&push_plan, values, NULL) == 0 &&
		   msg_plan_write(&first_plan, values, NULL) == 0)
		CHECK_FOR_INTERRUPTS();
}

PG_FUNCTION_INFO_V1(msg_push_sent_at);

/*
 * push_sent_at(sent_at timestamptz[], at timestamptz): the times that still
 * count at this time, and the time itself.  It looks up no name and needs no
 * search_path, which every message would pay for.
 */
Datum
msg_push_sent_at(PG_FUNCTION_ARGS)
{
	ArrayType  *log = PG_GETARG_ARRAYTYPE_P(0);
	TimestampTz now = PG_GETARG_TIMESTAMPTZ(1);
	TimestampTz *times = (TimestampTz *) ARR_DATA_PTR(log);
	int			ntimes = ArrayGetNItems(ARR_NDIM(log), ARR_DIMS(log));
	int			expired;

	if (ARR_HASNULL(log) || ARR_ELEMTYPE(log) != TIMESTAMPTZOID)
		elog(ERROR, "unexpected array in send_log");

	/* A time to come is from before the clock was set back. */
	ntimes = count_possible(times, ntimes, now);
	expired = count_expired(times, ntimes, now);
	if (msg_rate_limit > 0 && ntimes - expired >= msg_rate_limit)
		refuse(times[ntimes - msg_rate_limit] +
			   msg_rate_limit_window * USECS_PER_SEC, now);

	PG_RETURN_ARRAYTYPE_P(make_log(times + expired, ntimes - expired, now));
}

/* Times ascend, so those that left the window are in front. */
static int
count_expired(const TimestampTz *times, int ntimes, TimestampTz now)
{
	TimestampTz start = now - msg_rate_limit_window * USECS_PER_SEC;
	int			n = 0;

	while (n < ntimes && times[n] <= start)
		n++;
	return n;
}

static int
count_possible(const TimestampTz *times, int ntimes, TimestampTz now)
{
	while (ntimes > 0 && times[ntimes - 1] > now)
		ntimes--;
	return ntimes;
}

/* The times and one more. */
static ArrayType *
make_log(const TimestampTz *times, int ntimes, TimestampTz last)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) +
		(ntimes + 1) * sizeof(TimestampTz);
	ArrayType  *log = palloc0(size);
	TimestampTz *data;

	SET_VARSIZE(log, size);
	log->ndim = 1;
	log->elemtype = TIMESTAMPTZOID;
	ARR_DIMS(log)[0] = ntimes + 1;
	ARR_LBOUND(log)[0] = 1;

	data = (TimestampTz *) ARR_DATA_PTR(log);
	memcpy(data, times, ntimes * sizeof(TimestampTz));
	data[ntimes] = last;
	return log;
}

/* The gateway finds the number of seconds in the detail. */
static void
refuse(TimestampTz retry_at, TimestampTz now)
{
	int64		seconds = (retry_at - now + USECS_PER_SEC - 1) / USECS_PER_SEC;

	ereport(ERROR,
			errcode(ERRCODE_MSG_TOO_MANY),
			errmsg("too many messages"),
			errdetail("Retry after " INT64_FORMAT " seconds.", seconds));
}
