/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  Checks of what callers give us.
 *
 * They come before any SQL sees a value, because an error that the server
 * raises by itself (a violated CHECK, a value too long) shows the row in its
 * DETAIL, and that goes to the log.  The triggers make the same checks for
 * who writes to the tables directly.
 *
 * Lengths are in bytes: that is what memory, WAL and frames cost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "arguments.h"
#include "compat.h"
#include "openhr_msg.h"

static const char *const conversation_types[] = {
	"one_to_one", "group", "system", NULL
};
static const char *const participant_roles[] = {"member", "admin", NULL};
static const char *const severities[] = {"low", "medium", "high", NULL};
static const char *const content_types[] = {
	"text", "attachment", "system", "suggested", NULL
};

static void check_object_size(Size size, const char *what);
static bool is_word(const text *value, const char *const *words);
static bool is_blank(const text *value);
static bool is_space(pg_wchar c);

void
msg_require_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("argument \"%s\" must not be null", name));
}

pg_uuid_t *
msg_uuid_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	msg_require_argument(fcinfo, argument, name);
	return PG_GETARG_UUID_P(argument);
}

int
msg_page_argument(FunctionCallInfo fcinfo, int argument)
{
	int32		rows;

	if (PG_ARGISNULL(argument))
		return MSG_PAGE_DEFAULT;

	rows = PG_GETARG_INT32(argument);
	if (rows < 1 || rows > MSG_PAGE_MAX)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"max\" must be between 1 and %d",
					   MSG_PAGE_MAX));
	return rows;
}

int64
msg_position_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int64		position;

	msg_require_argument(fcinfo, argument, name);
	position = PG_GETARG_INT64(argument);
	if (position < 0)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("argument \"%s\" must not be negative", name));
	return position;
}

void
msg_check_content(const text *content, const text *content_type)
{
	if (VARSIZE_ANY_EXHDR(content) > (Size) msg_max_message_bytes)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("content is too long"),
				errdetail("It may have %d bytes, and has %zu.",
						  msg_max_message_bytes,
						  (Size) VARSIZE_ANY_EXHDR(content)));

	if (content_type != NULL &&
		!msg_text_equals(content_type, "attachment") && is_blank(content))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("content must not be blank"));
}

void
msg_check_content_type(const text *content_type, bool is_service)
{
	if (!is_word(content_type, content_types))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid content type"),
				errhint("Content types are \"text\", \"attachment\", \"system\" and \"suggested\"."));

	if (!is_service && !msg_text_equals(content_type, "text") &&
		!msg_text_equals(content_type, "attachment"))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only a service may send this content type"));
}

/*
 * An object, as large as a message at most.  The size is that of the text
 * form, which a client can count; the depth keeps recursive readers safe.
 * Numbers are measured first, because a short one like 1e131071 has a long
 * text.
 */
void
msg_check_object(Jsonb *object, const char *what)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	int			depth = 0;
	Size		size = 0;
	char	   *json;

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s must be a JSON object", what));

	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
			depth++;
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			depth--;

		if (depth > MSG_OBJECT_DEPTH)
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s is nested more than %d levels deep", what,
						   MSG_OBJECT_DEPTH));

		if ((token == WJB_VALUE || token == WJB_ELEM) &&
			value.type == jbvNumeric)
		{
			json = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value.val.numeric)));
			size += strlen(json);
			pfree(json);
			check_object_size(size, what);
		}
	}

	json = JsonbToCString(NULL, &object->root, VARSIZE(object));
	check_object_size(strlen(json), what);
	pfree(json);
}

static void
check_object_size(Size size, const char *what)
{
	if (size > (Size) msg_max_message_bytes)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("%s is too long", what),
				errdetail("As text it may have %d bytes, and has %zu or more.",
						  msg_max_message_bytes, size));
}

void
msg_check_key(const text *client_message_id)
{
	const char *key = VARDATA_ANY(client_message_id);
	int			len = VARSIZE_ANY_EXHDR(client_message_id);
	bool		valid = len >= 1 && len <= MSG_KEY_BYTES;

	for (int i = 0; valid && i < len; i++)
		valid = key[i] > ' ' && key[i] <= '~';

	if (!valid)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid client message id"),
				errdetail("It has between 1 and %d printable ASCII characters and no space.",
						  MSG_KEY_BYTES));
}

void
msg_check_title(const text *title)
{
	if (VARSIZE_ANY_EXHDR(title) > MSG_TITLE_BYTES)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("title is too long"),
				errdetail("It may have %d bytes, and has %zu.",
						  MSG_TITLE_BYTES,
						  (Size) VARSIZE_ANY_EXHDR(title)));

	if (is_blank(title))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("title must not be blank"),
				errhint("A conversation without a title has null."));
}

void
msg_check_conversation_type(const text *type)
{
	if (!is_word(type, conversation_types))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid conversation type"),
				errhint("Conversation types are \"one_to_one\", \"group\" and \"system\"."));
}

void
msg_check_role(const text *role)
{
	if (!is_word(role, participant_roles))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid role"),
				errhint("Roles are \"member\" and \"admin\"."));
}

void
msg_check_reason(const text *reason)
{
	if (VARSIZE_ANY_EXHDR(reason) > MSG_REASON_BYTES)
		ereport(ERROR,
				errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				errmsg("reason is too long"),
				errdetail("It may have %d bytes, and has %zu.",
						  MSG_REASON_BYTES,
						  (Size) VARSIZE_ANY_EXHDR(reason)));

	if (is_blank(reason))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("reason must not be blank"));
}

void
msg_check_severity(const text *severity)
{
	if (!is_word(severity, severities))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid severity"),
				errhint("Severities are \"low\", \"medium\" and \"high\"."));
}

PG_FUNCTION_INFO_V1(msg_is_conversation_type);

Datum
msg_is_conversation_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_word(PG_GETARG_TEXT_PP(0), conversation_types));
}

PG_FUNCTION_INFO_V1(msg_is_participant_role);

Datum
msg_is_participant_role(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_word(PG_GETARG_TEXT_PP(0), participant_roles));
}

PG_FUNCTION_INFO_V1(msg_is_content_type);

Datum
msg_is_content_type(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_word(PG_GETARG_TEXT_PP(0), content_types));
}

bool
msg_text_equals(const text *value, const char *word)
{
	Size		len = strlen(word);

	return VARSIZE_ANY_EXHDR(value) == len &&
		memcmp(VARDATA_ANY(value), word, len) == 0;
}

static bool
is_word(const text *value, const char *const *words)
{
	for (; *words != NULL; words++)
		if (msg_text_equals(value, *words))
			return true;
	return false;
}

static bool
is_blank(const text *value)
{
	const unsigned char *c = (const unsigned char *) VARDATA_ANY(value);
	const unsigned char *end = c + VARSIZE_ANY_EXHDR(value);

	for (; c < end; c += pg_utf_mblen(c))
		if (!is_space(utf8_to_unicode(c)))
			return false;
	return true;
}

/* Unicode's White_Space, and the characters that have no width. */
static bool
is_space(pg_wchar c)
{
	return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 ||
		c == 0x1680 || (c >= 0x2000 && c <= 0x200d) ||
		c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
		c == 0x2060 || c == 0x3000 || c == 0xfeff;
}
