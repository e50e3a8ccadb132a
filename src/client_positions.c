/*-------------------------------------------------------------------------
 *
 * client_positions.c
 *	  How far clients have come, kept for their return.
 *
 * A client that gives itself a name (client_id) has a row for each topic that
 * it has joined: the position up to which it has acknowledged all changes.
 * What is missed is computed from it when the client comes back; positions.c
 * says why that holds after a crash, too.
 *
 * A row is made, and flushed to disk, before the client is told that it has
 * joined.  From then on it moves in batches that nobody waits for: one that a
 * crash takes back is behind, and something comes twice.
 *
 * Each return begins a session with a number of its own.  What was still under
 * way for an earlier session, at another gateway perhaps, is ignored: the
 * client may have lost those very events, with the page that showed them.
 *
 * A profile has MAX_POSITIONS rows at most, of which the ones used last stay.
 * The executors remove those that were not used for 30 days.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "client_positions.h"
#include "compat.h"
#include "positions.h"
#include "spi_plans.h"

#define MAX_POSITIONS	"200"	/* of a profile */

#define KEY_COLUMNS	"profile_id = $1 AND client_id = $2 AND topic = $3"
#define KEY_TYPES	UUIDOID, TEXTOID, TEXTOID

/* Never one that was in use before, also when the row was removed since. */
#define NEW_SESSION	"(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

static void
key_values(const MsgPositionKey *key, Datum *values)
{
	values[0] = UUIDPGetDatum(&key->profile_id);
	values[1] = PointerGetDatum(cstring_to_text_with_len(key->client_id,
														 key->client_id_len));
	values[2] = PointerGetDatum(cstring_to_text_with_len(key->topic,
														 key->topic_len));
}

static void
set_local(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

event_position *
msg_resume_position(const MsgPositionKey *key, int64 *session)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE openhr_msg.client_positions SET seen_at = clock_timestamp(),"
		" session = greatest(session + 1, " NEW_SESSION ")"
		" WHERE " KEY_COLUMNS " RETURNING seen, more, taken_at, session",
		KEY_TYPES);
	Datum		values[3];
	Datum		column[4];
	bool		isnull;

	set_local("synchronous_commit", "off");
	key_values(key, values);
	if (msg_plan_write(&plan, values, NULL) == 0)
		return NULL;
	for (int i = 0; i < (int) lengthof(column); i++)
		column[i] = msg_plan_column(i + 1, &isnull);
	*session = DatumGetInt64(column[3]);
	return msg_make_position(column[0], column[1],
							 DatumGetTimestampTz(column[2]));
}

static void
remove_oldest(Datum profile_id)
{
	static MsgPlan plan = MSG_PLAN(
		"DELETE FROM openhr_msg.client_positions WHERE ctid = ANY (ARRAY("
		"SELECT ctid FROM openhr_msg.client_positions WHERE profile_id = $1"
		" ORDER BY seen_at DESC OFFSET " MAX_POSITIONS
		" FOR UPDATE SKIP LOCKED))",
		UUIDOID);

	msg_plan_write(&plan, &profile_id, NULL);
}

bool
msg_first_position(const MsgPositionKey *key, const event_position *position,
				   int64 *session)
{
	static MsgPlan plan = MSG_PLAN(
		"INSERT INTO openhr_msg.client_positions"
		" (profile_id, client_id, topic, seen, more, taken_at, session,"
		"  seen_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, " NEW_SESSION ", clock_timestamp())"
		" ON CONFLICT DO NOTHING RETURNING session",
		KEY_TYPES, PG_SNAPSHOTOID, XID8ARRAYOID, TIMESTAMPTZOID);
	Datum		values[6];
	bool		isnull;

	/* The client relies on it, so the disk has to have it, if no standby. */
	set_local("synchronous_commit", "local");
	key_values(key, values);
	values[3] = msg_position_seen(position);
	values[4] = msg_position_more(position);
	values[5] = TimestampTzGetDatum(msg_time_of_unix(position->taken_at));
	if (msg_plan_write(&plan, values, NULL) == 0)
		return false;
	*session = DatumGetInt64(msg_plan_column(1, &isnull));
	remove_oldest(values[0]);
	return true;
}

static int
compare_words(const char *a, uint32 a_len, const char *b, uint32 b_len)
{
	int			order = memcmp(a, b, Min(a_len, b_len));

	if (order != 0)
		return order;
	return a_len < b_len ? -1 : a_len > b_len;
}

static int
compare_keys(const void *a, const void *b)
{
	const MsgPositionKey *left = &((const MsgPositionUpdate *) a)->key;
	const MsgPositionKey *right = &((const MsgPositionUpdate *) b)->key;
	int			order = memcmp(&left->profile_id, &right->profile_id, UUID_LEN);

	if (order == 0)
		order = compare_words(left->client_id, left->client_id_len,
							  right->client_id, right->client_id_len);
	if (order == 0)
		order = compare_words(left->topic, left->topic_len,
							  right->topic, right->topic_len);
	return order;
}

/*
 * In the order of the keys, so that two who save at once do not wait for each
 * other in a circle.  A row that was removed stays removed: its client starts
 * anew.
 */
void
msg_save_positions(MsgPositionUpdate *updates, int n)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE openhr_msg.client_positions SET seen = $5, more = $6,"
		" taken_at = $7, seen_at = clock_timestamp()"
		" WHERE " KEY_COLUMNS " AND session = $4",
		KEY_TYPES, INT8OID, PG_SNAPSHOTOID, XID8ARRAYOID, TIMESTAMPTZOID);

	set_local("synchronous_commit", "off");
	set_local("lock_timeout", "200ms");
	qsort(updates, n, sizeof(MsgPositionUpdate), compare_keys);
	for (int i = 0; i < n; i++)
	{
		const event_position *position = updates[i].position;
		Datum		values[7];

		key_values(&updates[i].key, values);
		values[3] = Int64GetDatum(updates[i].session);
		values[4] = msg_position_seen(position);
		values[5] = msg_position_more(position);
		values[6] = TimestampTzGetDatum(msg_time_of_unix(position->taken_at));
		msg_plan_write(&plan, values, NULL);
	}
}
