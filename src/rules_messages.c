/*-------------------------------------------------------------------------
 *
 * rules_messages.c
 *	  What holds for every row of messages, however it is written.
 *
 * Sending
 * -------
 * A message gets its place, seq, under the lock of its conversation's row,
 * which is held until the transaction ends; so in a conversation the order
 * of seq is the order of commit, without gaps.  The lock is taken last, to be
 * held shortly.  The sender's own participant row is locked before, which a
 * removal and a muting have to wait for: no message commits after either.
 *
 * created_at is read under the same lock and never runs backwards.  The id
 * is the server's, whatever the statement says; its month decided about the
 * partition before the trigger was called.  When that is not the month of
 * created_at, the send fails as one that may be tried again: a reader that
 * goes from month to month relies on it.
 *
 * Changing
 * --------
 * A sender may change content and metadata, or turn the message into a
 * tombstone, which keeps its place but not its content, and stays one.  Every
 * change gives the message the conversation's next version.  Whatever else a
 * statement sets is the server's and stays as it was.  Who is muted may take
 * words back, but not change them.
 *
 * No rule leaves it to the table to refuse a row: the server's own refusal
 * shows the row to the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "identity.h"
#include "messages.h"
#include "openhr_msg.h"
#include "partitions.h"
#include "rate_limit.h"
#include "rules.h"
#include "spi_plans.h"
#include "uuid7.h"

typedef struct Place
{
	int64		seq;
	int64		version;
	TimestampTz time;
	bool		is_archived;
} Place;

static Datum message_before_insert(RuleRow *row);
static Datum message_before_update(RuleRow *row);
static Datum message_before_delete(RuleRow *row);
static void keep_given_place(RuleRow *row);
static void advance_counters(Datum conversation_id, Datum seq, Datum version,
							 Datum time);
static void check_message(const RuleRow *row, bool is_service);
static bool is_announced(const RuleRow *row);
static const pg_uuid_t *set_id(RuleRow *row);
static Place next_version(Datum conversation_id);
static pg_uuid_t set_sender(RuleRow *row);
static void require_reply_target(const RuleRow *row);
static void record_key(const RuleRow *row, const pg_uuid_t *sender,
					   const pg_uuid_t *id);
static bool take_stored_place(RuleRow *row);
static Place next_place(const pg_uuid_t *conversation_id);
static Place next_place_of(const pg_uuid_t *conversation_id,
						   const pg_uuid_t *profile_id);
static Place get_place(void);
static void require_month(const RuleRow *row, TimestampTz time);
static void advance_own_marker(const pg_uuid_t *conversation_id,
							   const pg_uuid_t *profile_id,
							   const Place *place);
static void reset_servers_columns(RuleRow *row);
static void change_as_service(RuleRow *row);
static void change_as_profile(RuleRow *row);
static void keep_given_version(RuleRow *row);
static void require_voice(const pg_uuid_t *conversation_id,
						  const pg_uuid_t *profile_id);
static void make_tombstone(RuleRow *row);
static void edit_message(RuleRow *row);
static void set_version(RuleRow *row);

/* The message that send_message() inserts next. */
static pg_uuid_t announced_id;
static bool announced = false;

RULE(msg_message_before_insert, message_before_insert)

static Datum
message_before_insert(RuleRow *row)
{
	bool		is_service = msg_is_service();
	bool		is_ours;
	pg_uuid_t  *conversation_id;
	pg_uuid_t	sender;
	Place		place;

	msg_wakeup_at_commit();

	is_ours = is_announced(row);
	check_message(row, is_service);
	if (is_service && rule_get(row, row->new, "seq") != NULL)
	{
		keep_given_place(row);
		return rule_result(row, row->new);
	}
	if (is_service && !is_ours && take_stored_place(row))
		return rule_result(row, row->new);

	conversation_id = rule_get_uuid(row, row->new, "conversation_id");
	if (is_service)
		place = next_place(conversation_id);
	else
	{
		sender = set_sender(row);
		if (!is_ours)
			record_key(row, &sender, set_id(row));
		msg_limit_send(&sender);
		place = next_place_of(conversation_id, &sender);
	}
	require_reply_target(row);
	if (!is_service)
	{
		require_month(row, place.time);
		advance_own_marker(conversation_id, &sender, &place);
		reset_servers_columns(row);
	}
	rule_set(row, "seq", Int64GetDatum(place.seq));
	rule_set(row, "version", Int64GetDatum(place.version));
	rule_set(row, "created_at", TimestampTzGetDatum(place.time));

	return rule_result(row, row->new);
}

/* A row that comes back from a dump, or from elsewhere. */
static void
keep_given_place(RuleRow *row)
{
	Datum		conversation_id = *rule_get(row, row->new, "conversation_id");
	Datum	   *version = rule_get(row, row->new, "version");
	Datum	   *time = rule_get(row, row->new, "created_at");
	Place		place = {.time = GetCurrentTimestamp()};

	if (version == NULL)
	{
		place = next_version(conversation_id);
		rule_set(row, "version", Int64GetDatum(place.version));
	}
	if (time == NULL)
		rule_set(row, "created_at", TimestampTzGetDatum(place.time));

	advance_counters(conversation_id, *rule_get(row, row->new, "seq"),
					 version == NULL ? Int64GetDatum(place.version) : *version,
					 time == NULL ? TimestampTzGetDatum(place.time) : *time);
}

/* The conversation may come back later than its messages. */
static void
advance_counters(Datum conversation_id, Datum seq, Datum version, Datum time)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE conversations SET last_seq = greatest(last_seq, $2),"
		" last_version = greatest(last_version, $3),"
		" updated_at = greatest(updated_at, $4)"
		" WHERE id = $1"
		" AND (last_seq < $2 OR last_version < $3 OR updated_at < $4)",
		UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID);
	Datum		values[] = {conversation_id, seq, version, time};

	rule_write_internal(&plan, values, NULL);
}

/* What a service brings along with its place is as long as it likes. */
static void
check_message(const RuleRow *row, bool is_service)
{
	bool		is_copy = is_service && rule_get(row, row->new, "seq") != NULL;
	text	   *content;
	text	   *type;
	Datum	   *metadata = rule_get(row, row->new, "metadata");
	text	   *key = rule_get_text(row, row->new, "client_message_id");

	rule_require(row, row->new, "conversation_id");
	rule_require(row, row->new, "content");
	rule_require(row, row->new, "content_type");
	content = rule_get_text(row, row->new, "content");
	type = rule_get_text(row, row->new, "content_type");

	msg_check_content_type(type, is_service);
	if (is_copy)
		return;
	msg_check_content(content, type);
	if (metadata != NULL)
		msg_check_object(DatumGetJsonbP(*metadata), "metadata");
	if (key != NULL)
		msg_check_key(key);
}

void
msg_announce_message(const pg_uuid_t *message_id)
{
	announced_id = *message_id;
	announced = true;
}

/* Holds once, so that a statement that gives the same id gains nothing. */
static bool
is_announced(const RuleRow *row)
{
	pg_uuid_t  *id = rule_get_uuid(row, row->new, "id");
	bool		expected = announced;

	announced = false;
	return expected && id != NULL &&
		memcmp(id, &announced_id, UUID_LEN) == 0;
}

/* A new one of the same month, which is that of the partition. */
static const pg_uuid_t *
set_id(RuleRow *row)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	rule_require(row, row->new, "id");
	msg_uuid_v7(id);
	require_month(row, msg_uuid_v7_time(id));
	rule_set(row, "id", UUIDPGetDatum(id));
	return id;
}

static pg_uuid_t
set_sender(RuleRow *row)
{
	pg_uuid_t	profile_id = msg_require_profile();
	pg_uuid_t  *given = rule_get_uuid(row, row->new, "sender_profile_id");

	if (given == NULL)
	{
		pg_uuid_t  *sender = palloc(sizeof(pg_uuid_t));

		*sender = profile_id;
		rule_set(row, "sender_profile_id", UUIDPGetDatum(sender));
	}
	else if (memcmp(given, &profile_id, UUID_LEN) != 0)
		rule_refuse("cannot send a message as another profile");
	return profile_id;
}

static void
require_reply_target(const RuleRow *row)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT 1 FROM messages WHERE id = $1 AND conversation_id = $2",
		UUIDOID, UUIDOID);
	Datum	   *target = rule_get(row, row->new, "reply_to_message_id");

	if (target != NULL)
	{
		Datum		values[] = {
			*target, *rule_get(row, row->new, "conversation_id")
		};

		if (msg_plan_write(&plan, values, NULL) == 0)
			ereport(ERROR,
					errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					errmsg("the message that is replied to is not in the conversation"));
	}
}

/*
 * Enter the client's id for the message, as send_message() does.  A direct
 * INSERT cannot be answered with the stored message, so using an id again is
 * a conflict.
 */
static void
record_key(const RuleRow *row, const pg_uuid_t *sender, const pg_uuid_t *id)
{
	Datum	   *client_message_id = rule_get(row, row->new,
											 "client_message_id");
	pg_uuid_t	message_id = *id;
	Datum	   *metadata = rule_get(row, row->new, "metadata");
	MsgKey		key;

	if (client_message_id == NULL)
		return;

	key.conversation_id = *rule_get(row, row->new, "conversation_id");
	key.sender = UUIDPGetDatum(sender);
	key.client_message_id = *client_message_id;
	if (!msg_claim_key(&key, &message_id,
					   rule_get_text(row, row->new, "content"),
					   rule_get_text(row, row->new, "content_type"),
					   rule_get_uuid(row, row->new, "reply_to_message_id"),
					   metadata == NULL ? NULL : DatumGetJsonbP(*metadata)))
		ereport(ERROR,
				errcode(ERRCODE_MSG_CONFLICT),
				errmsg("client message id was used already"));
}

/*
 * A row whose id is stored already is going to be refused, or passed over by
 * ON CONFLICT DO NOTHING, which undoes nothing: it must not take a place of
 * its own.  Asked under the lock of the conversation, so that of two at once
 * the second finds the first.
 */
static bool
take_stored_place(RuleRow *row)
{
	static MsgPlan lock_plan = MSG_PLAN(
		"SELECT FROM conversations WHERE id = $1 FOR NO KEY UPDATE",
		UUIDOID);
	static MsgPlan stored_plan = MSG_PLAN(
		"SELECT seq, version, created_at FROM messages WHERE id = $1",
		UUIDOID);
	Datum	   *id = rule_get(row, row->new, "id");
	bool		isnull;

	msg_plan_write(&lock_plan, rule_get(row, row->new, "conversation_id"),
				   NULL);
	if (id == NULL || msg_plan_write(&stored_plan, id, NULL) == 0)
		return false;
	rule_set(row, "seq", msg_plan_column(1, &isnull));
	rule_set(row, "version", msg_plan_column(2, &isnull));
	rule_set(row, "created_at", msg_plan_column(3, &isnull));
	return true;
}

#define TAKE_PLACE \
	"UPDATE conversations c SET last_seq = c.last_seq + 1," \
	" last_version = c.last_version + 1," \
	" updated_at = greatest(clock_timestamp(), c.updated_at)"
#define PLACE \
	" RETURNING c.last_seq, c.last_version, c.updated_at, c.is_archived"

/* For a service. */
static Place
next_place(const pg_uuid_t *conversation_id)
{
	static MsgPlan plan = MSG_PLAN(
		TAKE_PLACE " WHERE c.id = $1" PLACE,
		UUIDOID);
	Datum		values[] = {UUIDPGetDatum(conversation_id)};

	if (rule_write_internal(&plan, values, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_MSG_NOT_FOUND),
				errmsg("conversation does not exist"));
	return get_place();
}

/*
 * For a participant who is not muted, and who stays one until the transaction
 * ends.  The lock is the one that moving the own marker needs.  One statement,
 * as this is what every message waits for.
 */
static Place
next_place_of(const pg_uuid_t *conversation_id, const pg_uuid_t *profile_id)
{
	static MsgPlan plan = MSG_PLAN(
		TAKE_PLACE " FROM (SELECT is_muted FROM conversation_participants"
		" WHERE conversation_id = $1 AND profile_id = $2"
		" FOR NO KEY UPDATE) p"
		" WHERE c.id = $1 AND NOT p.is_muted" PLACE,
		UUIDOID, UUIDOID);
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(profile_id)
	};
	MsgCaller	caller = {.profile_id = *profile_id};
	Place		place;

	if (rule_write_internal(&plan, values, NULL) == 0)
	{
		msg_require_participant(&caller, conversation_id, false);
		rule_refuse("muted in the conversation");
	}

	place = get_place();
	if (place.is_archived)
		ereport(ERROR,
				errcode(ERRCODE_MSG_CONFLICT),
				errmsg("conversation is archived"));
	return place;
}

static Place
get_place(void)
{
	bool		isnull;

	return (Place)
	{
		.seq = DatumGetInt64(msg_plan_column(1, &isnull)),
		.version = DatumGetInt64(msg_plan_column(2, &isnull)),
		.time = DatumGetTimestampTz(msg_plan_column(3, &isnull)),
		.is_archived = msg_plan_bool(4),
	};
}

static void
require_month(const RuleRow *row, TimestampTz time)
{
	pg_uuid_t  *id = rule_get_uuid(row, row->new, "id");

	if (msg_month_of(msg_uuid_v7_time(id)) != msg_month_of(time))
		ereport(ERROR,
				errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("the month of the message's id is not the current one"),
				errhint("Send the message again."));
}

/* Who answers has read what was there. */
static void
advance_own_marker(const pg_uuid_t *conversation_id,
				   const pg_uuid_t *profile_id, const Place *place)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE conversation_participants"
		" SET last_read_seq = $3, last_read_at = $4"
		" WHERE conversation_id = $1 AND profile_id = $2",
		UUIDOID, UUIDOID, INT8OID, TIMESTAMPTZOID);
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(profile_id),
		Int64GetDatum(place->seq), TimestampTzGetDatum(place->time)
	};

	rule_write_internal(&plan, values, NULL);
}

static void
reset_servers_columns(RuleRow *row)
{
	rule_set(row, "is_edited", BoolGetDatum(false));
	rule_set(row, "is_deleted", BoolGetDatum(false));
	rule_set_null(row, "updated_at");
	rule_set_null(row, "delivered_at");
	rule_set_null(row, "read_at");
}

RULE(msg_message_before_update, message_before_update)

/* An UPDATE that changes nothing writes nothing. */
static Datum
message_before_update(RuleRow *row)
{
	bool		is_service = msg_is_service() || rule_is_internal();
	Datum		result = PointerGetDatum(NULL);

	if (is_service)
		change_as_service(row);
	else
		change_as_profile(row);
	if (row->nchanges > 0)
	{
		result = rule_result(row, is_service ? row->new : row->old);
		msg_wakeup_at_commit();
	}
	return result;
}

/*
 * Anything but the conversation may change; a version that is given is kept.
 * A deleted message loses its content here, too.
 */
static void
change_as_service(RuleRow *row)
{
	bool		changed = false;

	for (int i = 0; !changed && i < row->desc->natts; i++)
		changed = !TupleDescAttr(row->desc, i)->attisdropped &&
			rule_differs(row, NameStr(TupleDescAttr(row->desc, i)->attname));
	if (!changed)
		return;

	rule_require_same(row, "conversation_id");
	rule_require(row, row->new, "content_type");
	msg_check_content_type(rule_get_text(row, row->new, "content_type"), true);

	if (rule_get_bool(row, row->new, "is_deleted") &&
		!rule_get_bool(row, row->old, "is_deleted"))
		make_tombstone(row);

	if (rule_differs(row, "version"))
		keep_given_version(row);
	else
		set_version(row);
}

static void
keep_given_version(RuleRow *row)
{
	Datum	   *version;

	rule_require(row, row->new, "seq");
	rule_require(row, row->new, "version");
	rule_require(row, row->new, "created_at");
	version = rule_get(row, row->new, "version");

	rule_set(row, "version", *version);
	advance_counters(*rule_get(row, row->old, "conversation_id"),
					 *rule_get(row, row->new, "seq"), *version,
					 *rule_get(row, row->new, "created_at"));
}

static void
change_as_profile(RuleRow *row)
{
	pg_uuid_t  *conversation_id = rule_get_uuid(row, row->old,
												"conversation_id");
	pg_uuid_t  *sender = rule_get_uuid(row, row->old, "sender_profile_id");
	MsgCaller	caller = msg_caller();
	bool		manages = msg_require_participant(&caller, conversation_id,
												  true);
	bool		is_own = sender != NULL &&
		memcmp(sender, &caller.profile_id, UUID_LEN) == 0;
	bool		deletes = rule_differs(row, "is_deleted");

	rule_require(row, row->new, "is_deleted");
	if (!deletes && !rule_differs(row, "content") &&
		!rule_differs(row, "metadata"))
		return;
	if (!is_own && !(deletes && manages))
		rule_refuse("only its sender may change a message");
	if (rule_get_bool(row, row->old, "is_deleted"))
		ereport(ERROR,
				errcode(ERRCODE_MSG_CONFLICT),
				errmsg("message has been deleted"));

	if (deletes)
		make_tombstone(row);
	else
	{
		require_voice(conversation_id, &caller.profile_id);
		edit_message(row);
	}
	set_version(row);
}

/* Not muted; the participant row is locked already. */
static void
require_voice(const pg_uuid_t *conversation_id, const pg_uuid_t *profile_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT is_muted FROM conversation_participants"
		" WHERE conversation_id = $1 AND profile_id = $2",
		UUIDOID, UUIDOID);
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(profile_id)
	};

	if (msg_plan_write(&plan, values, NULL) > 0 && msg_plan_bool(1))
		rule_refuse("muted in the conversation");
}

static void
make_tombstone(RuleRow *row)
{
	rule_set(row, "is_deleted", BoolGetDatum(true));
	rule_set(row, "content", PointerGetDatum(cstring_to_text("")));
	rule_set_null(row, "metadata");
}

static void
edit_message(RuleRow *row)
{
	text	   *content;
	Datum	   *metadata = rule_get(row, row->new, "metadata");

	rule_require(row, row->new, "content");
	content = rule_get_text(row, row->new, "content");
	msg_check_content(content, rule_get_text(row, row->old, "content_type"));
	rule_set(row, "content", PointerGetDatum(content));

	if (metadata == NULL)
		rule_set_null(row, "metadata");
	else
	{
		msg_check_object(DatumGetJsonbP(*metadata), "metadata");
		rule_set(row, "metadata", *metadata);
	}
	rule_set(row, "is_edited", BoolGetDatum(true));
}

static void
set_version(RuleRow *row)
{
	Place		place = next_version(*rule_get(row, row->old,
											   "conversation_id"));

	rule_set(row, "version", Int64GetDatum(place.version));
	rule_set(row, "updated_at", TimestampTzGetDatum(place.time));
}

/* The conversation's next version, under its lock, and the time of it. */
static Place
next_version(Datum conversation_id)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE conversations SET last_version = last_version + 1,"
		" updated_at = greatest(clock_timestamp(), updated_at)"
		" WHERE id = $1 RETURNING last_version, updated_at",
		UUIDOID);
	bool		isnull;

	if (rule_write_internal(&plan, &conversation_id, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_MSG_NOT_FOUND),
				errmsg("conversation does not exist"));
	return (Place)
	{
		.version = DatumGetInt64(msg_plan_column(1, &isnull)),
		.time = DatumGetTimestampTz(msg_plan_column(2, &isnull)),
	};
}

RULE(msg_message_before_delete, message_before_delete)

/* Messages are deleted by tombstones; rows go with their conversation. */
static Datum
message_before_delete(RuleRow *row)
{
	if (!msg_is_service() && !rule_is_internal())
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only a service may delete the row of a message"),
				errhint("Use openhr_msg.delete_message(), or set \"is_deleted\"."));
	msg_wakeup_at_commit();
	return PointerGetDatum(row->old);
}
