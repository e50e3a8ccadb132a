/*-------------------------------------------------------------------------
 *
 * message_keys.c
 *	  Ids that clients give to their messages, so that a retry is harmless.
 *
 * An id is entered into openhr_msg.client_messages in the transaction that
 * writes the message; both are there, or neither.  Of two attempts at once
 * the second waits at the primary key for the first, and then finds what that
 * one stored.  The entry has a hash of the request, so that an id used again
 * for something else is a conflict and not a lost message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "arguments.h"
#include "compat.h"
#include "messages.h"
#include "spi_plans.h"

static Datum hash_request(const text *content, const text *content_type,
						  const pg_uuid_t *reply_to_message_id,
						  Jsonb *metadata);
static void hash_field(StringInfo request, const void *data, int len);

bool
msg_claim_key(const MsgKey *key, pg_uuid_t *message_id, const text *content,
			  const text *content_type,
			  const pg_uuid_t *reply_to_message_id, Jsonb *metadata)
{
	static MsgPlan claim_plan = MSG_PLAN(
		"INSERT INTO openhr_msg.client_messages (conversation_id,"
		" sender_profile_id, client_message_id, message_id, request_hash)"
		" VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
		UUIDOID, UUIDOID, TEXTOID, UUIDOID, BYTEAOID);
	static MsgPlan taken_plan = MSG_PLAN(
		"SELECT message_id, request_hash = $4"
		" FROM openhr_msg.client_messages WHERE conversation_id = $1"
		" AND sender_profile_id = $2 AND client_message_id = $3",
		UUIDOID, UUIDOID, TEXTOID, BYTEAOID);

	Datum		hash = hash_request(content, content_type,
									reply_to_message_id, metadata);
	Datum		claim[] = {
		key->conversation_id, key->sender, key->client_message_id,
		UUIDPGetDatum(message_id), hash
	};
	Datum		taken[] = {
		key->conversation_id, key->sender, key->client_message_id, hash
	};
	bool		isnull;

	if (msg_plan_write(&claim_plan, claim, NULL) > 0)
		return true;

	if (msg_plan_write(&taken_plan, taken, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				errmsg("could not find the message of a client message id"));
	if (!msg_plan_bool(2))
		ereport(ERROR,
				errcode(ERRCODE_MSG_CONFLICT),
				errmsg("client message id was used for another message"));

	*message_id = *DatumGetUUIDP(msg_plan_column(1, &isnull));
	return false;
}

/* What makes a request the same: everything but the key. */
static Datum
hash_request(const text *content, const text *content_type,
			 const pg_uuid_t *reply_to_message_id, Jsonb *metadata)
{
	StringInfoData request;
	text	   *bytes;

	initStringInfo(&request);
	hash_field(&request, VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content));
	hash_field(&request, VARDATA_ANY(content_type),
			   VARSIZE_ANY_EXHDR(content_type));
	hash_field(&request, reply_to_message_id,
			   reply_to_message_id == NULL ? -1 : UUID_LEN);
	if (metadata == NULL)
		hash_field(&request, NULL, -1);
	else
	{
		char	   *json = JsonbToCString(NULL, &metadata->root,
										  VARSIZE(metadata));

		hash_field(&request, json, strlen(json));
	}

	bytes = cstring_to_text_with_len(request.data, request.len);
	return DirectFunctionCall1(sha256_bytea, PointerGetDatum(bytes));
}

/* A length in front keeps neighbouring fields apart; -1 is null. */
static void
hash_field(StringInfo request, const void *data, int len)
{
	appendBinaryStringInfo(request, (char *) &len, sizeof(len));
	if (len > 0)
		appendBinaryStringInfo(request, data, len);
}
