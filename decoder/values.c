/*-------------------------------------------------------------------------
 *
 * values.c
 *	  A Datum -> JSON.
 *
 * The encoding is to_jsonb()'s, with three differences: timestamptz is always
 * in UTC, bytea is bare hex, and a cast to json that a user made for a type is
 * not called.  (A cast can be any function, and one that reads a table fails
 * under a historic snapshot; the slot would be stuck at that row.)
 *
 * What a column needs is looked up once, in a DecodeType; the types that our
 * tables are made of are written without their output functions.  Those that
 * are not (ranges, intervals, money) follow the session's settings.
 *
 * Every value has a limit: the place in the buffer that its text must not
 * pass.  A compressed value can be a thousand times its stored size, a jsonb
 * number ten thousand times, so a value is given up as early as possible:
 * by the size in its header before it is decompressed, then between elements.
 * What is allocated is thus bounded by the limit, not by the row.
 *
 * The extension lives in databases in UTF-8 only, so there is nothing to
 * convert.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "compat.h"
#include "decode.h"

/*
 * No type's binary form is more than this many times as long as the shortest
 * JSON that can come out of it (arrays of small composites are the worst).
 */
#define BINARY_PER_TEXT		16

#define REPLACEMENT			"\xef\xbf\xbd"	/* U+FFFD */

/* Longest text of a value of fixed size, with quotes. */
#define FIXED_TEXT			(MAXDATELEN + 3)

static DecodeKind
kind_of(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
			return DECODE_BOOL;
		case INT2OID:
			return DECODE_INT2;
		case INT4OID:
			return DECODE_INT4;
		case INT8OID:
			return DECODE_INT8;
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return DECODE_NUMBER;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return DECODE_TEXT;
		case UUIDOID:
			return DECODE_UUID;
		case BYTEAOID:
			return DECODE_BYTEA;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return DECODE_DATETIME;
		case JSONOID:
			return DECODE_JSON;
		case JSONBOID:
			return DECODE_JSONB;
	}
	if (OidIsValid(get_element_type(typid)))
		return DECODE_ARRAY;
	if (type_is_rowtype(typid))
		return DECODE_COMPOSITE;
	return DECODE_OUTPUT;
}

/* Look up how values of a type are written; what is kept goes to cxt. */
void
decode_type_init(DecodeType *type, Oid typid, MemoryContext cxt)
{
	Oid			output;
	bool		is_varlena;

	type->typid = getBaseType(typid);
	type->kind = kind_of(type->typid);
	get_typlenbyvalalign(type->typid, &type->typlen, &type->typbyval,
						 &type->typalign);

	if (type->kind == DECODE_ARRAY)
	{
		type->element = MemoryContextAllocZero(cxt, sizeof(DecodeType));
		decode_type_init(type->element, get_element_type(type->typid), cxt);
	}
	else if (type->kind == DECODE_NUMBER || type->kind == DECODE_OUTPUT)
	{
		getTypeOutputInfo(type->typid, &output, &is_varlena);
		fmgr_info_cxt(output, &type->output, cxt);
	}
}

#define BYTES(c)	(UINT64CONST(0x0101010101010101) * (uint8) (c))

/* Does one of eight bytes need an escape?  The high bits say which. */
static inline uint64
to_escape(uint64 word)
{
	uint64		quote = word ^ BYTES('"');
	uint64		backslash = word ^ BYTES('\\');

	return (((word - BYTES(0x20)) & ~word) |
			((quote - BYTES(1)) & ~quote) |
			((backslash - BYTES(1)) & ~backslash)) & BYTES(0x80);
}

/* The first byte from s on that cannot stand in a JSON string as it is. */
static const char *
skip_plain(const char *s, const char *end)
{
	while (end - s >= (int) sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, s, sizeof(word));
		if (to_escape(word))
			break;
		s += sizeof(word);
	}
	while (s < end && (unsigned char) *s >= 0x20 && *s != '"' && *s != '\\')
		s++;
	return s;
}

static void
append_escape(StringInfo out, unsigned char c)
{
	static const char letters[] = {
		['\b'] = 'b',['\t'] = 't',['\n'] = 'n',['\f'] = 'f',['\r'] = 'r',
		['"'] = '"',['\\'] = '\\'
	};

	reserve(out, 7);
	put_char(out, '\\');
	if (c < sizeof(letters) && letters[c])
		put_char(out, letters[c]);
	else
		out->len += sprintf(out->data + out->len, "u%04x", c);
}

/* A JSON string. */
void
decode_append_string(StringInfo out, const char *s, int len)
{
	const char *end = s + len;

	reserve(out, len + 2);
	put_char(out, '"');
	for (;;)
	{
		const char *plain_end = skip_plain(s, end);

		put(out, s, plain_end - s);
		s = plain_end;
		if (s == end)
			break;
		append_escape(out, *s++);
		reserve(out, end - s + 1);
	}
	put_char(out, '"');
	out->data[out->len] = '\0';
}

/* "name": */
void
decode_append_key(StringInfo out, const char *name)
{
	decode_append_string(out, name, strlen(name));
	appendStringInfoChar(out, ':');
}

static void
append_cstring(StringInfo out, const char *s)
{
	decode_append_string(out, s, strlen(s));
}

static bool
append_text(StringInfo out, Datum value, int limit)
{
	text	   *string = DatumGetTextPP(value);

	decode_append_string(out, VARDATA_ANY(string),
						 VARSIZE_ANY_EXHDR(string));
	return out->len <= limit;
}

static inline char *
put_hex(char *to, const unsigned char *from, int len)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < len; i++)
	{
		*to++ = digits[from[i] >> 4];
		*to++ = digits[from[i] & 0x0f];
	}
	return to;
}

static void
append_uuid(StringInfo out, Datum value)
{
	static const int groups[] = {4, 2, 2, 2, 6};
	const unsigned char *from = DatumGetUUIDP(value)->data;
	char	   *to = out->data + out->len;

	for (int i = 0; i < (int) lengthof(groups); i++)
	{
		*to++ = i == 0 ? '"' : '-';
		to = put_hex(to, from, groups[i]);
		from += groups[i];
	}
	*to++ = '"';
	out->len = to - out->data;
}

static bool
append_bytea(StringInfo out, Datum value, int limit)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	int			len = VARSIZE_ANY_EXHDR(bytes);

	if (len > (limit - out->len) / 2)
		return false;
	reserve(out, 2 * len + 2);
	put_char(out, '"');
	put_hex(out->data + out->len, (unsigned char *) VARDATA_ANY(bytes), len);
	out->len += 2 * len;
	put_char(out, '"');
	return out->len <= limit;
}

/* ISO 8601; with an offset, of zero, where the type has one to show. */
static void
append_datetime(StringInfo out, const DecodeType *type, Datum value)
{
	static const int utc = 0;
	char		text[MAXDATELEN + 1];

	JsonEncodeDateTime(text, value, type->typid,
					   type->typid == TIMESTAMPTZOID ? &utc : NULL);
	put_char(out, '"');
	put(out, text, strlen(text));
	put_char(out, '"');
}

/* Text that was valid when it came in, but perhaps not on one line. */
static bool
append_json(StringInfo out, Datum value, int limit)
{
	text	   *json = DatumGetTextPP(value);
	int			start = out->len;

	appendBinaryStringInfoNT(out, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	for (int i = start; i < out->len; i++)
	{
		if ((unsigned char) out->data[i] < 0x20)
			out->data[i] = ' ';
	}
	return out->len <= limit;
}

/* NaN and the infinities are no numbers in JSON: they become strings. */
static void
append_number(StringInfo out, const char *number)
{
	if (isdigit((unsigned char) number[number[0] == '-']))
		appendBinaryStringInfoNT(out, number, strlen(number));
	else
		append_cstring(out, number);
}

static char *
numeric_text(Numeric number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(number)));
}

static void
append_jsonb_scalar(StringInfo out, const JsonbValue *scalar)
{
	switch (scalar->type)
	{
		case jbvNull:
			appendBinaryStringInfoNT(out, "null", 4);
			break;
		case jbvString:
			decode_append_string(out, scalar->val.string.val,
								 scalar->val.string.len);
			break;
		case jbvNumeric:
			append_number(out, numeric_text(scalar->val.numeric));
			break;
		case jbvBool:
			if (scalar->val.boolean)
				appendBinaryStringInfoNT(out, "true", 4);
			else
				appendBinaryStringInfoNT(out, "false", 5);
			break;
		default:
			elog(ERROR, "unexpected jsonb scalar type %d", scalar->type);
	}
}

/*
 * Not JsonbToCString(): a few kilobytes of numbers like 1e131071 are hundreds
 * of megabytes of text, and that would come from a client.
 */
static bool
append_jsonb(StringInfo out, Datum value, int limit)
{
	JsonbIterator *it = JsonbIteratorInit(&DatumGetJsonbP(value)->root);
	JsonbIteratorToken token;
	JsonbValue	v;
	bool		scalar = false;
	bool		comma = false;

	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		bool		closes = token == WJB_END_ARRAY || token == WJB_END_OBJECT;

		if (token == WJB_BEGIN_ARRAY && v.val.array.rawScalar)
			scalar = true;
		if (scalar && token != WJB_ELEM)
			continue;
		if (comma && !closes)
			appendStringInfoCharMacro(out, ',');
		comma = true;

		switch (token)
		{
			case WJB_BEGIN_ARRAY:
			case WJB_BEGIN_OBJECT:
				appendStringInfoCharMacro(out, token == WJB_BEGIN_ARRAY ?
										  '[' : '{');
				comma = false;
				break;
			case WJB_END_ARRAY:
			case WJB_END_OBJECT:
				appendStringInfoCharMacro(out, token == WJB_END_ARRAY ?
										  ']' : '}');
				break;
			case WJB_KEY:
				append_jsonb_scalar(out, &v);
				appendStringInfoCharMacro(out, ':');
				comma = false;
				break;
			default:
				append_jsonb_scalar(out, &v);
		}
		if (out->len > limit)
			return false;
	}
	return true;
}

/* A part of an array or of a composite. */
static bool
append_element(StringInfo out, DecodeType *type, Datum value, bool isnull,
			   int limit)
{
	if (!isnull)
		return decode_append_value(out, type, value, limit);
	appendBinaryStringInfoNT(out, "null", 4);
	return out->len <= limit;
}

/* One dimension of an array; *next is the element to come. */
static bool
append_dimension(StringInfo out, DecodeType *type, ArrayType *array, int dim,
				 const Datum *elements, const bool *nulls, int *next,
				 int limit)
{
	appendStringInfoCharMacro(out, '[');
	for (int i = 0; i < ARR_DIMS(array)[dim]; i++)
	{
		bool		fits;

		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		if (dim + 1 < ARR_NDIM(array))
			fits = append_dimension(out, type, array, dim + 1, elements,
									nulls, next, limit);
		else
		{
			fits = append_element(out, type->element, elements[*next],
								  nulls[*next], limit);
			(*next)++;
		}
		if (!fits)
			return false;
	}
	appendStringInfoCharMacro(out, ']');
	return out->len <= limit;
}

static bool
append_array(StringInfo out, DecodeType *type, Datum value, int limit)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	DecodeType *element = type->element;
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			next = 0;

	if (ARR_NDIM(array) == 0)
	{
		appendBinaryStringInfoNT(out, "[]", 2);
		return out->len <= limit;
	}
	deconstruct_array(array, ARR_ELEMTYPE(array), element->typlen,
					  element->typbyval, element->typalign,
					  &elements, &nulls, &count);
	return append_dimension(out, type, array, 0, elements, nulls, &next,
							limit);
}

/*
 * A composite's type is looked up each time: its definition may have changed
 * since the column's, and our own tables have no such column.
 */
static bool
append_composite(StringInfo out, Datum value, int limit)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc	desc =
		lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header),
									HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {.t_data = header,
	.t_len = HeapTupleHeaderGetDatumLength(header)};
	Datum	   *fields = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));
	char		separator = '{';

	heap_deform_tuple(&tuple, desc, fields, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		DecodeType	type;

		if (att->attisdropped)
			continue;
		appendStringInfoCharMacro(out, separator);
		separator = ',';
		decode_append_key(out, NameStr(att->attname));

		decode_type_init(&type, att->atttypid, CurrentMemoryContext);
		if (!append_element(out, &type, fields[i], nulls[i], limit))
			return false;
	}
	if (separator == '{')
		appendStringInfoCharMacro(out, '{');
	appendStringInfoCharMacro(out, '}');
	return out->len <= limit;
}

/* Replace every byte that is no UTF-8 in the text from start on. */
static void
repair_utf8(StringInfo out, int start)
{
	int			len = out->len - start;
	char	   *text = pnstrdup(out->data + start, len);

	out->len = start;
	for (;;)
	{
		int			valid = pg_encoding_verifymbstr(PG_UTF8, text, len);

		appendBinaryStringInfo(out, text, valid);
		if (valid == len)
			break;
		appendBinaryStringInfo(out, REPLACEMENT, strlen(REPLACEMENT));
		text += valid + 1;
		len -= valid + 1;
	}
}

/*
 * Text of an output function.  It can be none: "char" of servers before 16
 * returns any byte.
 */
static bool
append_output(StringInfo out, DecodeType *type, Datum value, int limit)
{
	char	   *text = OutputFunctionCall(&type->output, value);
	int			start = out->len;

	if (strlen(text) > (Size) (limit - start))
		return false;
	if (type->kind == DECODE_NUMBER)
		append_number(out, text);
	else
		append_cstring(out, text);
	if (!pg_verifymbstr(text, strlen(text), true))
		repair_utf8(out, start);
	return out->len <= limit;
}

/* Is it certain, without a look at the value, that its text is too long? */
static bool
surely_too_long(const DecodeType *type, Datum value, int room)
{
	Size		size;

	if (type->typlen != -1)
		return false;
	size = toast_raw_datum_size(value) - VARHDRSZ;
	if (type->kind == DECODE_TEXT || type->kind == DECODE_JSON)
		return size > (Size) room;
	return size / BINARY_PER_TEXT > (Size) room;
}

/*
 * Append the JSON of a value that is not NULL.  Returns false when its text
 * passes the limit; what it has left in the buffer then is of no use.
 */
bool
decode_append_value(StringInfo out, DecodeType *type, Datum value, int limit)
{
	if (out->len >= limit || surely_too_long(type, value, limit - out->len))
		return false;

	reserve(out, FIXED_TEXT);
	switch (type->kind)
	{
		case DECODE_BOOL:
			if (DatumGetBool(value))
				put(out, "true", 4);
			else
				put(out, "false", 5);
			break;
		case DECODE_INT2:
			out->len += pg_ltoa(DatumGetInt16(value), out->data + out->len);
			break;
		case DECODE_INT4:
			out->len += pg_ltoa(DatumGetInt32(value), out->data + out->len);
			break;
		case DECODE_INT8:
			out->len += pg_lltoa(DatumGetInt64(value), out->data + out->len);
			break;
		case DECODE_UUID:
			append_uuid(out, value);
			break;
		case DECODE_DATETIME:
			append_datetime(out, type, value);
			break;
		case DECODE_TEXT:
			return append_text(out, value, limit);
		case DECODE_BYTEA:
			return append_bytea(out, value, limit);
		case DECODE_JSON:
			return append_json(out, value, limit);
		case DECODE_JSONB:
			return append_jsonb(out, value, limit);
		case DECODE_ARRAY:
			check_stack_depth();
			return append_array(out, type, value, limit);
		case DECODE_COMPOSITE:
			check_stack_depth();
			return append_composite(out, value, limit);
		case DECODE_NUMBER:
		case DECODE_OUTPUT:
			return append_output(out, type, value, limit);
	}
	return out->len <= limit;
}
