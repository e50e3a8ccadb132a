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
 * Profiles and matches are checked to exist when a row is new, and stay until
 * the transaction ends.  There is no foreign key (see the tables), and rows
 * that come back from a dump may come before what they refer to: a row is new
 * when it bears the time of this transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "identity.h"
#include "openhr_msg.h"
#include "partitions.h"
#include "rules.h"
#include "spi_plans.h"
#include "uuid7.h"

/* Of a conversation, and of a profile in it. */
typedef struct Conversation
{
	bool		one_to_one;
	bool		opened;			/* by the profile */
	int64		last_seq;
} Conversation;

typedef struct Participants
{
	bool		is_admin;		/* the profile */
	bool		any_admin;
	bool		two;			/* or more */
} Participants;

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
static void check_type(const RuleRow *row);
static void require_match(const RuleRow *row);
static bool exists_in(const char *table, MsgPlan *plan, Datum id);
static Oid	relation_owner(Oid relation);
static bool is_new(const RuleRow *row, const char *column);
static void add_participant(RuleRow *row);
static void set_newcomer(RuleRow *row, int64 last_seq);
static Conversation lock_conversation(Datum conversation_id,
									  const pg_uuid_t *profile_id);
static Participants find_participants(Datum conversation_id,
									  const pg_uuid_t *profile_id);
static void require_profile(const pg_uuid_t *profile_id);
static void change_own_participant(RuleRow *row);
static void change_other_participant(RuleRow *row);
static void require_admin(const pg_uuid_t *conversation_id);
static int64 conversation_last_seq(const pg_uuid_t *conversation_id);
static void appoint_successor(Datum conversation_id);
static bool is_self(const pg_uuid_t *profile_id);

RULE(msg_conversation_before_insert, conversation_before_insert)

static Datum
conversation_before_insert(RuleRow *row)
{
	msg_wakeup_at_commit();
	check_type(row);
	if (!msg_is_service())
		open_conversation(row);
	if (is_new(row, "created_at"))
	{
		require_match(row);

		/* An INSERT of its first message could not make it any more. */
		msg_partition_ensure_current();
	}
	return rule_result(row, row->new);
}

static void
open_conversation(RuleRow *row)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	pg_uuid_t  *profile_id = palloc(sizeof(pg_uuid_t));
	pg_uuid_t  *creator = rule_get_uuid(row, row->new, "created_by");
	text	   *title = rule_get_text(row, row->new, "title");
	text	   *type = rule_get_text(row, row->new, "type");
	Datum		now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	*profile_id = msg_require_profile();
	if (creator != NULL && !is_self(creator))
		rule_refuse("cannot open a conversation as another profile");
	if (msg_text_equals(type, "system"))
		rule_refuse("only a service may open a conversation of type \"system\"");
	if (title != NULL)
		msg_check_title(title);

	msg_uuid_v7(id);
	rule_set(row, "id", UUIDPGetDatum(id));
	rule_set(row, "created_by", UUIDPGetDatum(profile_id));
	rule_set(row, "is_archived", BoolGetDatum(false));
	rule_set(row, "created_at", now);
	rule_set(row, "updated_at", now);
	rule_set(row, "last_seq", Int64GetDatum(0));
	rule_set(row, "last_version", Int64GetDatum(0));
}

/* The server's own refusal would show the row, and with it the title. */
static void
check_type(const RuleRow *row)
{
	rule_require(row, row->new, "type");
	msg_check_conversation_type(rule_get_text(row, row->new, "type"));
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
		"SELECT 1 FROM matches WHERE id = $1 FOR KEY SHARE",
		UUIDOID);
	Datum	   *match_id = rule_get(row, row->new, "match_id");

	if (match_id != NULL && !exists_in("matches", &plan, *match_id))
		ereport(ERROR,
				errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				errmsg("match does not exist"));
}

/*
 * Ask a table of the database's own, and do it as the table's owner, like the
 * check of a foreign key: who may have put a view there by now, or an operator
 * for the type of its column.  Functions that run by this get neither our
 * power nor the caller's, and no setting that they change stays.
 */
static bool
exists_in(const char *table, MsgPlan *plan, Datum id)
{
	Oid			relation = RangeVarGetRelid(makeRangeVar(NULL, pstrdup(table),
														 -1),
											AccessShareLock, false);
	Oid			user;
	int			sec_context;
	int			nest_level = NewGUCNestLevel();
	bool		exists;

	/* An error undoes both. */
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(relation_owner(relation),
						   sec_context | SECURITY_RESTRICTED_OPERATION |
						   SECURITY_NOFORCE_RLS);
	exists = msg_plan_write(plan, &id, NULL) > 0;
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(user, sec_context);
	return exists;
}

static Oid
relation_owner(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
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
		if (!rule_is_internal())
		{
			rule_require_same(row, "id");
			check_type(row);
		}
		note_month(row, row->new);
		return rule_result(row, row->new);
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

/*
 * Title and archive; the rest stays as it was.  The conversation is locked
 * already, so it is too late to lock the own participant row.  The time does
 * not run backwards: that of the next message builds upon it.
 */
static void
change_conversation(RuleRow *row)
{
	pg_uuid_t	profile_id = msg_require_profile();
	text	   *type = rule_get_text(row, row->old, "type");
	TimestampTz before;

	if (!rule_differs(row, "title") && !rule_differs(row, "is_archived"))
		return;
	if (!msg_text_equals(type, "one_to_one") &&
		!find_participants(*rule_get(row, row->old, "id"),
						   &profile_id).is_admin)
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
	rule_require(row, row->new, "is_archived");
	rule_set(row, "is_archived", *rule_get(row, row->new, "is_archived"));
	before = DatumGetTimestampTz(*rule_get(row, row->old, "updated_at"));
	rule_set(row, "updated_at",
			 TimestampTzGetDatum(Max(GetCurrentTimestamp(), before)));
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
 * By an admin of a group; or by who opened the conversation, as long as
 * nothing was said, and a group has no admin or a one-to-one conversation not
 * its two.
 */
static void
add_participant(RuleRow *row)
{
	pg_uuid_t	caller = msg_require_profile();
	Datum		conversation_id;
	Conversation conversation;
	Participants participants;

	rule_require(row, row->new, "conversation_id");
	rule_require(row, row->new, "profile_id");
	conversation_id = *rule_get(row, row->new, "conversation_id");
	conversation = lock_conversation(conversation_id, &caller);
	participants = find_participants(conversation_id, &caller);

	if (!participants.is_admin &&
		!(conversation.opened && conversation.last_seq == 0 &&
		  (conversation.one_to_one || !participants.any_admin)))
		rule_refuse("only an admin of the conversation may do this");
	if (conversation.one_to_one && participants.two)
		ereport(ERROR,
				errcode(ERRCODE_MSG_CONFLICT),
				errmsg("a one-to-one conversation has two participants"));

	if (conversation.one_to_one)
		rule_set(row, "role", CStringGetTextDatum("member"));
	else if (!participants.any_admin &&
			 is_self(rule_get_uuid(row, row->new, "profile_id")))
		rule_set(row, "role", CStringGetTextDatum("admin"));
	set_newcomer(row, conversation.last_seq);
}

/*
 * Of two additions at once the second waits, and sees the first.  The own
 * participant row, if there is one, is locked before.  When there is no such
 * conversation, nobody has opened it.
 */
static Conversation
lock_conversation(Datum conversation_id, const pg_uuid_t *profile_id)
{
	static MsgPlan own_plan = MSG_PLAN(
		"SELECT 1 FROM conversation_participants"
		" WHERE conversation_id = $1 AND profile_id = $2 FOR NO KEY UPDATE",
		UUIDOID, UUIDOID);
	static MsgPlan plan = MSG_PLAN(
		"SELECT type = 'one_to_one', created_by = $2, last_seq"
		" FROM conversations WHERE id = $1 FOR NO KEY UPDATE",
		UUIDOID, UUIDOID);
	Datum		values[] = {conversation_id, UUIDPGetDatum(profile_id)};
	bool		isnull;

	msg_plan_write(&own_plan, values, NULL);
	if (msg_plan_write(&plan, values, NULL) == 0)
		return (Conversation) {.opened = false};

	return (Conversation)
	{
		.one_to_one = msg_plan_bool(1),
		.opened = msg_plan_bool(2),
		.last_seq = DatumGetInt64(msg_plan_column(3, &isnull)),
	};
}

/* As they are now, to be asked under the lock of the conversation. */
static Participants
find_participants(Datum conversation_id, const pg_uuid_t *profile_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT me.role = 'admin', me.role = 'admin' OR EXISTS"
		" (SELECT FROM conversation_participants"
		" WHERE conversation_id = $1 AND role = 'admin'),"
		" EXISTS (SELECT FROM conversation_participants"
		" WHERE conversation_id = $1 OFFSET 1)"
		" FROM (SELECT) AS one LEFT JOIN conversation_participants me"
		" ON me.conversation_id = $1 AND me.profile_id = $2",
		UUIDOID, UUIDOID);
	Datum		values[] = {conversation_id, UUIDPGetDatum(profile_id)};

	msg_plan_read_latest(&plan, values, NULL);
	return (Participants)
	{
		.is_admin = msg_plan_bool(1),
		.any_admin = msg_plan_bool(2),
		.two = msg_plan_bool(3),
	};
}

/* A newcomer has read everything that was there before. */
static void
set_newcomer(RuleRow *row, int64 last_seq)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	msg_uuid_v7(id);
	rule_set(row, "id", UUIDPGetDatum(id));
	rule_set(row, "joined_at",
			 TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	rule_set(row, "is_muted", BoolGetDatum(false));
	rule_set(row, "last_read_seq", Int64GetDatum(last_seq));
	rule_set_null(row, "last_read_at");
}

static void
require_profile(const pg_uuid_t *profile_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT 1 FROM profiles WHERE id = $1 FOR KEY SHARE",
		UUIDOID);

	if (!exists_in("profiles", &plan, UUIDPGetDatum(profile_id)))
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
	{
		rule_require_same(row, "conversation_id");
		rule_require_same(row, "profile_id");
		return rule_result(row, row->new);
	}

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
	require_admin(rule_get_uuid(row, row->old, "conversation_id"));
	if (!rule_differs(row, "role") && !rule_differs(row, "is_muted"))
		return;

	rule_require(row, row->new, "role");
	rule_require(row, row->new, "is_muted");
	rule_set(row, "role", *rule_get(row, row->new, "role"));
	rule_set(row, "is_muted", *rule_get(row, row->new, "is_muted"));
}

/*
 * An admin, who stays one until the transaction ends: two who demote each
 * other at once must not both succeed.  The lock is that of a sender, so that
 * an admin can send in the same transaction.
 */
static void
require_admin(const pg_uuid_t *conversation_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT role = 'admin' FROM conversation_participants"
		" WHERE conversation_id = $1 AND profile_id = $2 FOR NO KEY UPDATE",
		UUIDOID, UUIDOID);
	pg_uuid_t	caller = msg_require_profile();
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(&caller)
	};

	if (msg_plan_write(&plan, values, NULL) == 0)
		rule_refuse("not a participant of the conversation");
	if (!msg_plan_bool(1))
		rule_refuse("only an admin of the conversation may do this");
}

RULE(msg_participant_before_delete, participant_before_delete)

/* Everybody may leave; an admin of the group may remove others. */
static Datum
participant_before_delete(RuleRow *row)
{
	msg_wakeup_at_commit();
	if (!rule_is_internal() && !msg_is_service() &&
		!is_self(rule_get_uuid(row, row->old, "profile_id")))
		require_admin(rule_get_uuid(row, row->old, "conversation_id"));
	return PointerGetDatum(row->old);
}

RULE(msg_participant_after_delete, participant_after_delete)

/*
 * A group whose last admin went gets a new one.  Under the lock of the
 * conversation, so that of two admins who leave at once the second sees that
 * the first has gone.  Who would be next is locked before the conversation, as
 * participants are everywhere: he may be about to send.
 */
static Datum
participant_after_delete(RuleRow *row)
{
	static MsgPlan next_plan = MSG_PLAN(
		"SELECT FROM conversation_participants"
		" WHERE conversation_id = $1 AND role <> 'admin'"
		" ORDER BY joined_at, id LIMIT 1 FOR NO KEY UPDATE",
		UUIDOID);
	static MsgPlan plan = MSG_PLAN(
		"SELECT 1 FROM conversations WHERE id = $1 AND type = 'group'"
		" FOR NO KEY UPDATE",
		UUIDOID);
	Datum	   *conversation_id;

	if (!msg_text_equals(rule_get_text(row, row->old, "role"), "admin"))
		return PointerGetDatum(NULL);

	conversation_id = rule_get(row, row->old, "conversation_id");
	msg_plan_write(&next_plan, conversation_id, NULL);
	if (msg_plan_write(&plan, conversation_id, NULL) > 0)
		appoint_successor(*conversation_id);
	return PointerGetDatum(NULL);
}

/* A candidate may be leaving: then it is the turn of the next one. */
static void
appoint_successor(Datum conversation_id)
{
	static MsgPlan candidate_plan = MSG_PLAN(
		"SELECT id FROM conversation_participants WHERE conversation_id = $1"
		" AND NOT EXISTS (SELECT FROM conversation_participants"
		" WHERE conversation_id = $1 AND role = 'admin')"
		" ORDER BY joined_at, id LIMIT 1",
		UUIDOID);
	static MsgPlan appoint_plan = MSG_PLAN(
		"UPDATE conversation_participants SET role = 'admin' WHERE id = $1",
		UUIDOID);

	while (msg_plan_read_latest(&candidate_plan, &conversation_id, NULL) > 0)
	{
		bool		isnull;
		Datum		candidate = msg_plan_column(1, &isnull);

		if (rule_write_internal(&appoint_plan, &candidate, NULL) > 0)
			return;
		if (IsolationUsesXactSnapshot())
			ereport(ERROR,
					errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not serialize access due to concurrent update"));
		CHECK_FOR_INTERRUPTS();
	}
}
