/*-------------------------------------------------------------------------
 *
 * uuid7.c
 *	  Ids that sort by the time at which they were made (RFC 9562, version 7).
 *
 * The messages are partitioned by their ids, so an id has to carry its time,
 * and the months' borders are ids as well.
 *
 * An id opens with 48 bits of milliseconds since 1970; the 12 bits after the
 * version continue them with the fraction of the millisecond (RFC 9562, 6.2,
 * method 3).  Both together are one count of "ticks", 4096 to a millisecond,
 * and a backend never uses a tick twice: ids made within one transaction sort
 * as they were made, even when the clock stands still or is set back.  The
 * other 62 bits are random, so ids of different backends do not collide and
 * nobody guesses one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/timestamp.h"

#include "uuid7.h"

#define TICK_BITS			12	/* of a millisecond */
#define MS_BITS				48
#define MAX_MS				((INT64CONST(1) << MS_BITS) - 1)
#define VERSION				UINT64CONST(7)
#define VARIANT				UINT64CONST(0x8000000000000000)
#define VARIANT_MASK		UINT64CONST(0x3fffffffffffffff)

/* From 1970 to 2000, where TimestampTz begins to count. */
#define EPOCH_SHIFT_MS \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * \
	 (INT64CONST(1000) * SECS_PER_DAY))

static int64 time_to_ticks(TimestampTz time);
static void put_ticks(pg_uuid_t *uuid, int64 ticks);
static void put_random(pg_uuid_t *uuid);

void
msg_uuid_v7(pg_uuid_t *uuid)
{
	static int64 last_ticks = 0;
	int64		ticks = time_to_ticks(GetCurrentTimestamp());

	last_ticks = Max(ticks, last_ticks + 1);
	put_ticks(uuid, last_ticks);
	put_random(uuid);
}

void
msg_uuid_v7_floor(TimestampTz time, pg_uuid_t *uuid)
{
	uint64		low = pg_hton64(VARIANT);

	put_ticks(uuid, time_to_ticks(time) >> TICK_BITS << TICK_BITS);
	memcpy(uuid->data + 8, &low, sizeof(low));
}

TimestampTz
msg_uuid_v7_time(const pg_uuid_t *uuid)
{
	uint64		high;
	int64		ms;

	memcpy(&high, uuid->data, sizeof(high));
	ms = (int64) (pg_ntoh64(high) >> (64 - MS_BITS));
	return (ms - EPOCH_SHIFT_MS) * 1000;
}

static int64
time_to_ticks(TimestampTz time)
{
	int64		ms = time / 1000;
	int64		us = time % 1000;

	if (us < 0)
	{
		us += 1000;
		ms--;
	}
	ms += EPOCH_SHIFT_MS;

	if (TIMESTAMP_NOT_FINITE(time) || ms < 0 || ms > MAX_MS)
		ereport(ERROR,
				errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				errmsg("timestamp out of range for an id"),
				errdetail("An id holds times from 1970 to 10889."));

	return (ms << TICK_BITS) | (us << TICK_BITS) / 1000;
}

/* The first half: milliseconds, version, fraction. */
static void
put_ticks(pg_uuid_t *uuid, int64 ticks)
{
	uint64		ms = (uint64) ticks >> TICK_BITS;
	uint64		fraction = (uint64) ticks & ((1 << TICK_BITS) - 1);
	uint64		high;

	high = pg_hton64(ms << (64 - MS_BITS) | VERSION << TICK_BITS | fraction);
	memcpy(uuid->data, &high, sizeof(high));
}

/* The second half: variant and 62 random bits. */
static void
put_random(pg_uuid_t *uuid)
{
	uint64		low;

	if (!pg_strong_random(&low, sizeof(low)))
		ereport(ERROR,
				errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("could not generate random values"));

	low = pg_hton64((low & VARIANT_MASK) | VARIANT);
	memcpy(uuid->data + 8, &low, sizeof(low));
}

PG_FUNCTION_INFO_V1(msg_uuid_v7_sql);

Datum
msg_uuid_v7_sql(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	msg_uuid_v7(uuid);
	PG_RETURN_UUID_P(uuid);
}

PG_FUNCTION_INFO_V1(msg_uuid_v7_floor_sql);

Datum
msg_uuid_v7_floor_sql(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	msg_uuid_v7_floor(PG_GETARG_TIMESTAMPTZ(0), uuid);
	PG_RETURN_UUID_P(uuid);
}
