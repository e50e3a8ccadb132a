/*-------------------------------------------------------------------------
 *
 * rules_conversations.c
 *	  What holds for conversations and for who takes part in them.
 *
 * In a group the admins decide; who opened it is the first of them, and when
 * the last one leaves, the member who has been there longest takes over.  In
 * a one-to-one conversation nobody decides about the other, and nobody can
 * be added.  Everybody may leave.
 *
 * A profile of its own participant row moves only the marker of what it has
 * read, and only forward, up to the conversation's last message.
 *
 * Profiles and matches are checked to exist when a row is new.  There is no
 * foreign key (see the tables), and rows that come back from a dump may come
 * before what they refer to: a row is new when it bears the time of this
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "identity.h"
#include "openhr_msg.h"
#include "partitions.h"
#include "rules.h"
#include "spi_plans.h"

static Datum conversation_before_insert(RuleRow *row);
static Datum conversation_before_update(RuleRow *row);
static Datum conversation_before_delete(RuleRow *row);
static Datum participant_before_insert(RuleRow *row);
static Datum participant_before_update(RuleRow *row);
static Datum participant_before_delete(RuleRow *row);
static Datum participant_after_delete(RuleRow *row);
static void open_conversation(RuleRow *row);
static void change_conversation(RuleRow *row);
static void note_month(const RuleRow *row, HeapTuple after);
static int	month_of_row(const RuleRow *row, HeapTuple tuple);
static void require_match(const RuleRow *row);
static bool is_new(const RuleRow *row, const char *column);
static void add_participant(RuleRow *row);
static void require_profile(const pg_uuid_t *profile_id);
static void change_own_participant(RuleRow *row);
static void change_other_participant(RuleRow *row);
static int64 conversation_last_seq(const pg_uuid_t *conversation_id);
static bool is_self(const pg_uuid_t *profile_id);

RULE(msg_conversation_before_insert, conversation_before_insert)

static Datum
conversation_before_insert(RuleRow *row)
{
	msg_wakeup_at_commit();
	if (!msg_is_service())
		open_conversation(row);
	if (is_new(row, "created_at"))
		require_match(row);
	return rule_result(row, row->new);
}

static void
open_conversation(RuleRow *row)
{
	pg_uuid_t  *profile_id = palloc(sizeof(pg_uuid_t));
	pg_uuid_t  *creator = rule_get_uuid(row, row->new, "created_by");
	text	   *title = rule_get_text(row, row->new, "title");
	text	   *type = rule_get_text(row, row->new, "type");
	Datum		now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	*profile_id = msg_require_profile();
	if (creator != NULL && !is_self(creator))
		rule_refuse("cannot open a conversation as another profile");
	if (type != NULL)
		msg_check_conversation_type(type);
	if (type != NULL && msg_text_equals(type, "system"))
		rule_refuse("only a service may open a conversation of type \"system\"");
	if (title != NULL)
		msg_check_title(title);

	rule_set(row, "created_by", UUIDPGetDatum(profile_id));
	rule_set(row, "is_archived", BoolGetDatum(false));
	rule_set(row, "created_at", now);
	rule_set(row, "updated_at", now);
	rule_set(row, "last_seq", Int64GetDatum(0));
	rule_set(row, "last_version", Int64GetDatum(0));
}

static bool
is_new(const RuleRow *row, const char *column)
{
	Datum	   *time = rule_get(row, row->new, column);

	return time != NULL && DatumGetTimestampTz(*time) ==
		GetCurrentTransactionStartTimestamp();
}

static void
require_match(const RuleRow *row)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT 1 FROM matches WHERE id = $1",
		UUIDOID);
	Datum	   *match_id = rule_get(row, row->new, "match_id");

	if (match_id != NULL && msg_plan_write(&plan, match_id, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				errmsg("match does not exist"));
}

RULE(msg_conversation_before_update, conversation_before_update)

/* The counters are moved by the rules of messages, from inside. */
static Datum
conversation_before_update(RuleRow *row)
{
	Datum		result = PointerGetDatum(NULL);

	msg_wakeup_at_commit();
	if (rule_is_internal() || msg_is_service())
	{
		note_month(row, row->new);
		return PointerGetDatum(row->new);
	}

	change_conversation(row);
	if (row->nchanges > 0)
	{
		result = rule_result(row, row->old);
		note_month(row, (HeapTuple) DatumGetPointer(result));
	}
	return result;
}

/*
 * The first change of a conversation in a month: the month begins with the
 * message that this change is, or else with the next one.
 */
static void
note_month(const RuleRow *row, HeapTuple after)
{
	static MsgPlan plan = MSG_PLAN(
		"INSERT INTO openhr_msg.conversation_months AS m"
		" (conversation_id, first_seq, month) VALUES ($1, $2, $3)"
		" ON CONFLICT (conversation_id, first_seq)"
		" DO UPDATE SET month = EXCLUDED.month",
		UUIDOID, INT8OID, TIMESTAMPTZOID);
	int			before = month_of_row(row, row->old);
	int			month = month_of_row(row, after);

	if (month > before)
	{
		Datum		values[] = {
			*rule_get(row, row->old, "id"),
			Int64GetDatum(DatumGetInt64(*rule_get(row, row->old,
												  "last_seq")) + 1),
			TimestampTzGetDatum(msg_month_start(month))
		};

		msg_plan_write(&plan, values, NULL);
	}
}

static int
month_of_row(const RuleRow *row, HeapTuple tuple)
{
	Datum	   *time = rule_get(row, tuple, "updated_at");

	return time == NULL || TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(*time)) ?
		0 : msg_month_of(DatumGetTimestampTz(*time));
}

/* Title and archive; the rest stays as it was. */
static void
change_conversation(RuleRow *row)
{
	pg_uuid_t  *id = rule_get_uuid(row, row->old, "id");
	text	   *type = rule_get_text(row, row->old, "type");
	MsgCaller	caller = msg_caller();
	bool		manages = msg_require_participant(&caller, id);

	if (!rule_differs(row, "title") && !rule_differs(row, "is_archived"))
		return;
	if (!manages && !msg_text_equals(type, "one_to_one"))
		rule_refuse("only an admin of the conversation may do this");

	if (rule_differs(row, "title"))
	{
		text	   *title = rule_get_text(row, row->new, "title");

		if (title == NULL)
			rule_set_null(row, "title");
		else
		{
			msg_check_title(title);
			rule_set(row, "title", PointerGetDatum(title));
		}
	}
	rule_set(row, "is_archived",
			 BoolGetDatum(rule_get_bool(row, row->new, "is_archived")));
	rule_set(row, "updated_at", TimestampTzGetDatum(GetCurrentTimestamp()));
}

RULE(msg_conversation_before_delete, conversation_before_delete)

static Datum
conversation_before_delete(RuleRow *row)
{
	if (!msg_is_service() && !rule_is_internal())
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only a service may delete a conversation"),
				errhint("Use openhr_msg.archive_conversation(), or leave it."));
	msg_wakeup_at_commit();
	return PointerGetDatum(row->old);
}

RULE(msg_participant_before_insert, participant_before_insert)

static Datum
participant_before_insert(RuleRow *row)
{
	pg_uuid_t  *profile_id;

	msg_wakeup_at_commit();
	if (!msg_is_service())
		add_participant(row);
	profile_id = rule_get_uuid(row, row->new, "profile_id");
	if (profile_id != NULL && is_new(row, "joined_at"))
		require_profile(profile_id);
	return rule_result(row, row->new);
}

/*
 * By an admin of a group; or by who opened the conversation, as long as a
 * group has no admin and a one-to-one conversation has not its two.
 */
static void
add_participant(RuleRow *row)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT c.type = 'one_to_one', c.created_by = $2, c.last_seq,"
		" count(p.id), count(p.id) FILTER (WHERE p.role = 'admin'),"
		" count(p.id) FILTER (WHERE p.role = 'admin' AND p.profile_id = $2)"
		" FROM conversations c"
		" LEFT JOIN conversation_participants p ON p.conversation_id = c.id"
		" WHERE c.id = $1 GROUP BY c.id",
		UUIDOID, UUIDOID);
	pg_uuid_t	caller = msg_require_profile();
	pg_uuid_t  *profile_id = rule_get_uuid(row, row->new, "profile_id");
	Datum	   *conversation_id = rule_get(row, row->new, "conversation_id");
	Datum		now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	Datum		values[2];
	bool		isnull;
	bool		one_to_one;
	bool		opened;
	int64		last_seq;
	int64		present;
	int64		admins;

	if (profile_id == NULL || conversation_id == NULL)
		return;					/* refused by their NOT NULL */

	values[0] = *conversation_id;
	values[1] = UUIDPGetDatum(&caller);
	if (msg_plan_write(&plan, values, NULL) == 0)
		rule_refuse("not a participant of the conversation");
	one_to_one = DatumGetBool(msg_plan_column(1, &isnull));
	opened = DatumGetBool(msg_plan_column(2, &isnull)) && !isnull;
	last_seq = DatumGetInt64(msg_plan_column(3, &isnull));
	present = DatumGetInt64(msg_plan_column(4, &isnull));
	admins = DatumGetInt64(msg_plan_column(5, &isnull));

	if (one_to_one && present >= 2)
		ereport(ERROR,
				errcode(ERRCODE_MSG_CONFLICT),
				errmsg("a one-to-one conversation has two participants"));
	if (DatumGetInt64(msg_plan_column(6, &isnull)) == 0 &&
		!(opened && last_seq == 0 && (one_to_one || admins == 0)))
		rule_refuse("only an admin of the conversation may do this");

	if (one_to_one)
		rule_set(row, "role", CStringGetTextDatum("member"));
	else if (admins == 0 && is_self(profile_id))
		rule_set(row, "role", CStringGetTextDatum("admin"));
	rule_set(row, "joined_at", now);
	rule_set(row, "is_muted", BoolGetDatum(false));
	rule_set(row, "last_read_seq", Int64GetDatum(last_seq));
	rule_set_null(row, "last_read_at");
}

static void
require_profile(const pg_uuid_t *profile_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT 1 FROM profiles WHERE id = $1",
		UUIDOID);
	Datum		values[] = {UUIDPGetDatum(profile_id)};

	if (msg_plan_write(&plan, values, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				errmsg("profile does not exist"));
}

static bool
is_self(const pg_uuid_t *profile_id)
{
	pg_uuid_t	caller;

	return msg_current_profile(&caller) &&
		memcmp(profile_id, &caller, UUID_LEN) == 0;
}

RULE(msg_participant_before_update, participant_before_update)

/* An UPDATE that changes nothing writes nothing. */
static Datum
participant_before_update(RuleRow *row)
{
	Datum		result = PointerGetDatum(NULL);

	msg_wakeup_at_commit();
	if (rule_is_internal() || msg_is_service())
		return PointerGetDatum(row->new);

	if (is_self(rule_get_uuid(row, row->old, "profile_id")))
		change_own_participant(row);
	else
		change_other_participant(row);
	if (row->nchanges > 0)
		result = rule_result(row, row->old);
	return result;
}

static void
change_own_participant(RuleRow *row)
{
	pg_uuid_t  *conversation_id = rule_get_uuid(row, row->old,
												"conversation_id");
	int64		before = DatumGetInt64(*rule_get(row, row->old,
												 "last_read_seq"));
	Datum	   *given = rule_get(row, row->new, "last_read_seq");
	int64		after = given == NULL ? before : DatumGetInt64(*given);

	if (rule_differs(row, "role") || rule_differs(row, "is_muted"))
		rule_refuse("cannot change the own role or muting");

	if (after > before)
		after = Min(after, conversation_last_seq(conversation_id));
	if (after <= before)
		return;
	rule_set(row, "last_read_seq", Int64GetDatum(after));
	rule_set(row, "last_read_at", TimestampTzGetDatum(GetCurrentTimestamp()));
}

static int64
conversation_last_seq(const pg_uuid_t *conversation_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT last_seq FROM conversations WHERE id = $1",
		UUIDOID);
	Datum		values[] = {UUIDPGetDatum(conversation_id)};
	bool		isnull;

	if (msg_plan_write(&plan, values, NULL) == 0)
		return 0;
	return DatumGetInt64(msg_plan_column(1, &isnull));
}

/* Role and muting, by an admin of the group. */
static void
change_other_participant(RuleRow *row)
{
	MsgCaller	caller = msg_caller();
	text	   *role = rule_get_text(row, row->new, "role");

	if (!msg_require_participant(&caller, rule_get_uuid(row, row->old,
														"conversation_id")))
		rule_refuse("only an admin of the conversation may do this");
	if (!rule_differs(row, "role") && !rule_differs(row, "is_muted"))
		return;

	if (role != NULL)
		rule_set(row, "role", PointerGetDatum(role));
	rule_set(row, "is_muted",
			 BoolGetDatum(rule_get_bool(row, row->new, "is_muted")));
}

RULE(msg_participant_before_delete, participant_before_delete)

/* Everybody may leave; an admin of the group may remove others. */
static Datum
participant_before_delete(RuleRow *row)
{
	msg_wakeup_at_commit();
	if (!rule_is_internal() && !msg_is_service() &&
		!is_self(rule_get_uuid(row, row->old, "profile_id")))
	{
		MsgCaller	caller = msg_caller();

		if (!msg_require_participant(&caller, rule_get_uuid(row, row->old,
															"conversation_id")))
			rule_refuse("only an admin of the conversation may do this");
	}
	return PointerGetDatum(row->old);
}

RULE(msg_participant_after_delete, participant_after_delete)

/*
 * A group whose last admin went gets a new one.  The conversation's row is
 * locked after the participant's, like everywhere, so that of two admins who
 * leave at once the second sees that the first has gone.
 */
static Datum
participant_after_delete(RuleRow *row)
{
	static MsgPlan lock_plan = MSG_PLAN(
		"SELECT 1 FROM conversations WHERE id = $1 AND type = 'group'"
		" FOR NO KEY UPDATE",
		UUIDOID);
	static MsgPlan successor_plan = MSG_PLAN(
		"UPDATE conversation_participants SET role = 'admin' WHERE id ="
		" (SELECT id FROM conversation_participants WHERE conversation_id = $1"
		" ORDER BY joined_at, id LIMIT 1)"
		" AND NOT EXISTS (SELECT FROM conversation_participants"
		" WHERE conversation_id = $1 AND role = 'admin')",
		UUIDOID);
	Datum	   *conversation_id;

	if (!msg_text_equals(rule_get_text(row, row->old, "role"), "admin"))
		return PointerGetDatum(NULL);

	conversation_id = rule_get(row, row->old, "conversation_id");
	if (msg_plan_write(&lock_plan, conversation_id, NULL) > 0)
		rule_write_internal(&successor_plan, conversation_id, NULL);
	return PointerGetDatum(NULL);
}
