/*-------------------------------------------------------------------------
 *
 * conversations.c
 *	  SQL-callable functions about conversations and who is in them.
 *
 * Who may do what
 * ---------------
 * In a group its admins add and remove participants and archive it; the one
 * who made it is an admin.  In a one-to-one conversation nobody is, both may
 * archive it, and nobody can be added.  Everybody may leave.  Services may do
 * all of it, and only they make conversations of type "system".
 *
 * Summaries
 * ---------
 * list_conversations() and get_conversation() return the same row, a
 * conversation as its reader sees it: with the reader's own markers, the last
 * message and the participants.  Nothing in it is counted: unread is the
 * difference of two numbers that are there anyway.  The last message is
 * looked up by its seq in the month where it should be, and in all of them
 * only if it is not there; see pages.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "log.h"
#include "spi_plans.h"

static ArrayType *participants_argument(FunctionCallInfo fcinfo,
										const MsgCaller *caller);
static int	compare_uuids(const void *a, const void *b);
static void check_members(const text *type, int participants,
						  const MsgCaller *caller);
static void require_manager(bool is_manager);
static bool is_one_to_one(const pg_uuid_t *conversation_id);
static bool put_participant(Datum *values, const char *nulls);

/*
 * create_conversation(participants uuid[], title text, type text,
 *					   match_id uuid): conversations
 */
PG_FUNCTION_INFO_V1(msg_create_conversation);

Datum
msg_create_conversation(PG_FUNCTION_ARGS)
{
	static MsgPlan conversation_plan = MSG_PLAN(
		"INSERT INTO conversations AS c (created_by, title, type, match_id)"
		" VALUES ($1, $2, $3, $4) RETURNING c.id",
		UUIDOID, TEXTOID, TEXTOID, UUIDOID);
	static MsgPlan participants_plan = MSG_PLAN(
		"INSERT INTO conversation_participants"
		" (conversation_id, profile_id, role)"
		" SELECT $1, p, CASE WHEN p = $2 AND $4 <> 'one_to_one'"
		" THEN 'admin' ELSE 'member' END"
		" FROM pg_catalog.unnest($3) AS p",
		UUIDOID, UUIDOID, UUIDARRAYOID, TEXTOID);
	static MsgPlan result_plan = MSG_PLAN(
		"SELECT c FROM conversations c WHERE id = $1",
		UUIDOID);

	MsgCaller	caller;
	ArrayType  *participants;
	Datum		creator = UUIDPGetDatum(&caller.profile_id);
	char		service;
	Datum		id;
	bool		isnull;

	msg_hide_statement();
	caller = msg_caller();
	service = caller.is_service ? 'n' : ' ';
	participants = participants_argument(fcinfo, &caller);
	if (!PG_ARGISNULL(1))
		msg_check_title(PG_GETARG_TEXT_PP(1));
	msg_require_argument(fcinfo, 2, "type");
	check_members(PG_GETARG_TEXT_PP(2),
				  ArrayGetNItems(ARR_NDIM(participants),
								 ARR_DIMS(participants)),
				  &caller);

	SPI_connect();
	{
		Datum		values[] = {
			creator, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2),
			PG_GETARG_DATUM(3)
		};
		char		nulls[] = {
			service, PG_ARGISNULL(1) ? 'n' : ' ', ' ',
			PG_ARGISNULL(3) ? 'n' : ' '
		};

		msg_plan_write(&conversation_plan, values, nulls);
		id = msg_plan_column(1, &isnull);
	}
	{
		Datum		values[] = {
			id, creator, PointerGetDatum(participants), PG_GETARG_DATUM(2)
		};
		char		nulls[] = {' ', service, ' ', ' '};

		msg_plan_write(&participants_plan, values, nulls);
	}
	msg_plan_write(&result_plan, &id, NULL);
	return msg_plan_finish();
}

/* The participants, each once, with the caller among them. */
static ArrayType *
participants_argument(FunctionCallInfo fcinfo, const MsgCaller *caller)
{
	ArrayType  *array;
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	Datum	   *ids;
	int			nids = 0;

	msg_require_argument(fcinfo, 0, "participants");
	array = PG_GETARG_ARRAYTYPE_P(0);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				errmsg("argument \"participants\" must have one dimension"));
	if (array_contains_nulls(array))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"participants\" must not contain nulls"));

	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR,
					  &elements, &nulls, &n);
	if (n > MSG_PARTICIPANTS)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"participants\" must not have more than %d elements",
					   MSG_PARTICIPANTS));

	ids = palloc(sizeof(Datum) * (n + 1));
	memcpy(ids, elements, sizeof(Datum) * n);
	if (!caller->is_service)
		ids[n++] = UUIDPGetDatum(&caller->profile_id);

	qsort(ids, n, sizeof(Datum), compare_uuids);
	for (int i = 0; i < n; i++)
		if (nids == 0 || compare_uuids(&ids[nids - 1], &ids[i]) != 0)
			ids[nids++] = ids[i];

	return construct_array(ids, nids, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
}

static int
compare_uuids(const void *a, const void *b)
{
	return memcmp(DatumGetUUIDP(*(const Datum *) a),
				  DatumGetUUIDP(*(const Datum *) b), UUID_LEN);
}

static void
check_members(const text *type, int participants, const MsgCaller *caller)
{
	bool		one_to_one = msg_text_equals(type, "one_to_one");
	bool		system = msg_text_equals(type, "system");

	msg_check_conversation_type(type);
	if (system && !caller->is_service)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only a service may create a conversation of type \"system\""));

	if (one_to_one ? participants != 2 : participants == 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				one_to_one ?
				errmsg("a one-to-one conversation has two participants") :
				errmsg("a conversation has at least one participant"));
}

/*
 * Summaries of the conversations in a query "page".  The reader's profile is
 * $1, null for a service, which then has no markers of its own.  Of many
 * participants the first are shown.
 */
#define SUMMARIES_OF_PAGE \
	" SELECT c.id, c.created_by, c.title, c.type, c.match_id, c.is_archived," \
	" c.created_at, c.updated_at, c.last_seq, c.last_version," \
	" me.role, me.is_muted, me.last_read_seq, me.last_read_at," \
	" c.last_seq - me.last_read_seq," \
	" coalesce((SELECT m FROM messages m" \
	" WHERE m.conversation_id = c.id AND m.seq = c.last_seq" \
	" AND m.id >= month.first_id AND m.id < month.next_id)," \
	" (SELECT m FROM messages m" \
	" WHERE m.conversation_id = c.id AND m.seq = c.last_seq" \
	" AND c.last_seq > 0))," \
	" ARRAY(SELECT p FROM conversation_participants p" \
	" WHERE p.conversation_id = c.id" \
	" ORDER BY p.joined_at, p.id LIMIT 100)" \
	" FROM page JOIN conversations c USING (id)" \
	" LEFT JOIN conversation_participants me" \
	" ON me.conversation_id = c.id AND me.profile_id = $1" \
	" CROSS JOIN LATERAL (SELECT openhr_msg.uuid_v7_floor(coalesce(" \
	" (SELECT m.month FROM openhr_msg.conversation_months m" \
	" WHERE m.conversation_id = c.id AND m.first_seq <= c.last_seq" \
	" ORDER BY m.first_seq DESC LIMIT 1), c.created_at)) AS first_id," \
	" openhr_msg.uuid_v7_floor((date_trunc('month'," \
	" c.updated_at AT TIME ZONE 'UTC') + interval '1 month')" \
	" AT TIME ZONE 'UTC') AS next_id" \
	" OFFSET 0) AS month"

#define PAGE_OF_CONVERSATIONS \
	" WHERE c.updated_at < $2 AND ($3 OR NOT c.is_archived)" \
	" ORDER BY c.updated_at DESC FETCH FIRST $4 ROWS WITH TIES)" \
	SUMMARIES_OF_PAGE \
	" ORDER BY c.updated_at DESC, c.id"

/*
 * list_conversations(max integer, before timestamptz,
 *					  include_archived boolean): setof conversation_summary
 *
 * The order is that of the last activity.  Conversations that share the
 * time of a page's last one belong to that page, or the next one, which
 * starts strictly before, would miss them.
 */
PG_FUNCTION_INFO_V1(msg_list_conversations);

Datum
msg_list_conversations(PG_FUNCTION_ARGS)
{
	static MsgPlan participant_plan = MSG_PLAN(
		"WITH page AS (SELECT c.id FROM conversation_participants p"
		" JOIN conversations c ON c.id = p.conversation_id"
		" AND p.profile_id = $1"
		PAGE_OF_CONVERSATIONS,
		UUIDOID, TIMESTAMPTZOID, BOOLOID, INT8OID);
	static MsgPlan service_plan = MSG_PLAN(
		"WITH page AS (SELECT c.id FROM conversations c"
		PAGE_OF_CONVERSATIONS,
		UUIDOID, TIMESTAMPTZOID, BOOLOID, INT8OID);

	MsgCaller	caller = msg_caller();
	Datum		values[] = {
		UUIDPGetDatum(&caller.profile_id),
		PG_ARGISNULL(1) ? TimestampTzGetDatum(DT_NOEND) : PG_GETARG_DATUM(1),
		BoolGetDatum(!PG_ARGISNULL(2) && PG_GETARG_BOOL(2)),
		Int64GetDatum(msg_page_argument(fcinfo, 0))
	};
	char		nulls[] = {caller.is_service ? 'n' : ' ', ' ', ' ', ' '};

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	msg_plan_return(caller.is_service ? &service_plan : &participant_plan,
					values, nulls, fcinfo);
	SPI_finish();
	return (Datum) 0;
}

/* get_conversation(conversation_id uuid): conversation_summary */
PG_FUNCTION_INFO_V1(msg_get_conversation);

Datum
msg_get_conversation(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT s::openhr_msg.conversation_summary FROM ("
		"WITH page AS (SELECT c.id FROM conversations c WHERE c.id = $2)"
		SUMMARIES_OF_PAGE ") AS s",
		UUIDOID, UUIDOID);

	pg_uuid_t  *conversation_id = msg_uuid_argument(fcinfo, 0,
													"conversation_id");
	MsgCaller	caller = msg_caller();
	Datum		values[] = {
		UUIDPGetDatum(&caller.profile_id), UUIDPGetDatum(conversation_id)
	};
	char		nulls[] = {caller.is_service ? 'n' : ' ', ' '};

	SPI_connect();
	msg_require_sight(&caller, conversation_id);
	msg_plan_read(&plan, values, nulls);
	return msg_plan_finish();
}

/*
 * archive_conversation(conversation_id uuid, archived boolean): conversations
 */
PG_FUNCTION_INFO_V1(msg_archive_conversation);

Datum
msg_archive_conversation(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE conversations AS c SET is_archived = $2"
		" WHERE id = $1 AND is_archived <> $2 RETURNING c",
		UUIDOID, BOOLOID);
	static MsgPlan unchanged_plan = MSG_PLAN(
		"SELECT c FROM conversations c WHERE id = $1",
		UUIDOID);

	pg_uuid_t  *conversation_id = msg_uuid_argument(fcinfo, 0,
													"conversation_id");
	MsgCaller	caller = msg_caller();
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), PG_GETARG_DATUM(1)
	};

	msg_require_argument(fcinfo, 1, "archived");

	SPI_connect();
	if (!msg_require_participant(&caller, conversation_id, true))
		require_manager(is_one_to_one(conversation_id));
	if (msg_plan_write(&plan, values, NULL) == 0)
		msg_plan_write(&unchanged_plan, values, NULL);
	return msg_plan_finish();
}

/*
 * add_participant(conversation_id uuid, profile_id uuid, role text):
 *				   conversation_participants
 *
 * A newcomer has read everything that was there before.  Without a role a
 * newcomer is a member, and who is there already stays what he is; so a
 * retry changes nothing.
 */
PG_FUNCTION_INFO_V1(msg_add_participant);

Datum
msg_add_participant(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *conversation_id = msg_uuid_argument(fcinfo, 0,
													"conversation_id");
	pg_uuid_t  *profile_id = msg_uuid_argument(fcinfo, 1, "profile_id");
	MsgCaller	caller = msg_caller();
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(profile_id),
		PG_GETARG_DATUM(2)
	};
	char		nulls[] = {' ', ' ', PG_ARGISNULL(2) ? 'n' : ' '};
	bool		is_manager;

	if (!PG_ARGISNULL(2))
		msg_check_role(PG_GETARG_TEXT_PP(2));

	SPI_connect();
	is_manager = msg_require_participant(&caller, conversation_id, false);
	if (is_one_to_one(conversation_id))
		ereport(ERROR,
				errcode(ERRCODE_MSG_CONFLICT),
				errmsg("a one-to-one conversation has two participants"));
	require_manager(is_manager);
	if (!put_participant(values, nulls) && !put_participant(values, nulls))
		ereport(ERROR,
				errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("the participant was added or removed meanwhile"),
				errhint("Try again."));
	return msg_plan_finish();
}

/*
 * Change the role of who is there, or else add him.  In this order: an INSERT
 * that found the row would lock it too late, under the lock of the
 * conversation.  False when somebody else came in between.
 */
static bool
put_participant(Datum *values, const char *nulls)
{
	static MsgPlan change_plan = MSG_PLAN(
		"UPDATE conversation_participants AS p SET role = $3"
		" WHERE conversation_id = $1 AND profile_id = $2"
		" AND role <> $3 RETURNING p",
		UUIDOID, UUIDOID, TEXTOID);
	static MsgPlan add_plan = MSG_PLAN(
		"INSERT INTO conversation_participants AS p"
		" (conversation_id, profile_id, role, last_read_seq)"
		" SELECT c.id, $2, coalesce($3, 'member'), c.last_seq"
		" FROM conversations c WHERE c.id = $1"
		" ON CONFLICT (conversation_id, profile_id) DO NOTHING RETURNING p",
		UUIDOID, UUIDOID, TEXTOID);
	static MsgPlan unchanged_plan = MSG_PLAN(
		"SELECT p FROM conversation_participants p"
		" WHERE conversation_id = $1 AND profile_id = $2"
		" AND role = coalesce($3, role)",
		UUIDOID, UUIDOID, TEXTOID);

	return msg_plan_write(&change_plan, values, nulls) > 0 ||
		msg_plan_write(&add_plan, values, nulls) > 0 ||
		msg_plan_write(&unchanged_plan, values, nulls) > 0;
}

/*
 * remove_participant(conversation_id uuid, profile_id uuid): boolean
 *
 * True when there was somebody to remove.  Who leaves takes no lock on the
 * own row before: two that did so at once could not delete it.
 */
PG_FUNCTION_INFO_V1(msg_remove_participant);

Datum
msg_remove_participant(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"DELETE FROM conversation_participants"
		" WHERE conversation_id = $1 AND profile_id = $2",
		UUIDOID, UUIDOID);

	pg_uuid_t  *conversation_id = msg_uuid_argument(fcinfo, 0,
													"conversation_id");
	pg_uuid_t  *profile_id = msg_uuid_argument(fcinfo, 1, "profile_id");
	MsgCaller	caller = msg_caller();
	bool		leaves = !caller.is_service &&
		memcmp(profile_id, &caller.profile_id, UUID_LEN) == 0;
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(profile_id)
	};
	bool		removed;

	SPI_connect();
	if (!leaves)
		require_manager(msg_require_participant(&caller, conversation_id,
												false));
	removed = msg_plan_write(&plan, values, NULL) > 0;
	if (leaves && !removed)
		msg_refuse_sight(&caller);
	SPI_finish();
	PG_RETURN_BOOL(removed);
}

static void
require_manager(bool is_manager)
{
	if (!is_manager)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only an admin of the conversation may do this"));
}

static bool
is_one_to_one(const pg_uuid_t *conversation_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT 1 FROM conversations WHERE id = $1 AND type = 'one_to_one'",
		UUIDOID);
	Datum		values[] = {UUIDPGetDatum(conversation_id)};

	return msg_plan_write(&plan, values, NULL) > 0;
}
