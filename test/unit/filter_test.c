/*-------------------------------------------------------------------------
 *
 * filter_test.c
 *	  The filter grammar: every operator on every type, and what is refused.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "realtime/filter.h"

#include "check.h"

#define COLUMNS \
	"[{\"name\":\"u\",\"type\":\"uuid\"},{\"name\":\"t\",\"type\":\"text\"}," \
	"{\"name\":\"i2\",\"type\":\"int2\"},{\"name\":\"i4\",\"type\":\"int4\"}," \
	"{\"name\":\"i8\",\"type\":\"int8\"},{\"name\":\"b\",\"type\":\"bool\"}," \
	"{\"name\":\"ts\",\"type\":\"timestamptz\"}," \
	"{\"name\":\"n\",\"type\":\"numeric\"},{\"name\":\"f\",\"type\":\"float8\"}," \
	"{\"name\":\"j\",\"type\":\"jsonb\"},{\"name\":\"e\",\"type\":\"mood\"}," \
	"{\"name\":\"z\",\"type\":\"text\"},{\"name\":\"nb\",\"type\":\"bool\"}," \
	"{\"name\":\"gone\",\"type\":\"text\"},{\"name\":\"v\",\"type\":\"varchar\"}]"

/* The record that the filters are tried on; "gone" is not in it. */
#define RECORD \
	"{\"u\":\"6f1b3c1e-8a55-4d0e-9c3a-0123456789ab\"," \
	"\"t\":\"a \\\"quoted\\\" w\\u00f6rd, (x)\",\"i2\":-5,\"i4\":42," \
	"\"i8\":9007199254740993,\"b\":true," \
	"\"ts\":\"2025-11-03T09:32:55.123456+00:00\",\"n\":1.10," \
	"\"f\":-1.5e3,\"j\":{\"a\":[1,{\"b\":null}]},\"e\":\"happy\"," \
	"\"z\":null,\"nb\":null,\"v\":\"plain_Text%\"}"

static table *columns;
static change the_change;
static event_header *event;

static void
set_up(void)
{
	size_t		len = strlen(RECORD);

	columns = table_new(EVENT_MESSAGES, "public", COLUMNS, strlen(COLUMNS));
	event = calloc(1, sizeof(event_header) + len);
	event->action = EVENT_INSERT;
	event->record_len = (uint32_t) len;
	memcpy(event + 1, RECORD, len);
	change_init(&the_change);
	change_set(&the_change, event, columns);
}

static void
passes(const char *text, bool wanted)
{
	uint32_t	effort = 100000;
	buf			problem;
	filter	   *f;

	buf_init(&problem);
	f = filter_parse(text, strlen(text), &problem);
	if (f == NULL || !filter_bind(f, columns, &problem))
		check(false, "%s: %s", text, buf_string(&problem));
	else
		check_int(filter_matches(f, &the_change, &effort), wanted, "%s", text);
	filter_free(f);
	buf_free(&problem);
}

static const char *const passing[] = {
	/* uuid, in any of the server's forms */
	"u=eq.6f1b3c1e-8a55-4d0e-9c3a-0123456789ab",
	"u=eq.6F1B3C1E-8A55-4D0E-9C3A-0123456789AB",
	"u=eq.{6f1b3c1e8a554d0e9c3a0123456789ab}",
	"u=neq.6f1b3c1e-8a55-4d0e-9c3a-0123456789ac",
	"u=lt.6f1b3c1e-8a55-4d0e-9c3a-0123456789ac",
	"u=gte.00000000-0000-0000-0000-000000000000",
	"u=in.(00000000-0000-0000-0000-000000000000,"
	"6f1b3c1e-8a55-4d0e-9c3a-0123456789ab)",

	/* text, quotes, commas and parentheses */
	"t=eq.\"a \\\"quoted\\\" w\xc3\xb6rd, (x)\"",
	"t=in.(\"x,y\",\"a \\\"quoted\\\" w\xc3\xb6rd, (x)\")",
	"t=gt.a", "t=lt.b", "t=gte.a \"", "t=neq.", "v=eq.plain_Text%",
	"t=like.%quoted%", "t=like.a _quoted_ w_rd%", "t=ilike.%W\xc3\x96RD%",
	"v=like.plain\\_Text\\%", "v=ilike.PLAIN%", "v=like.%", "v=like.%%T_xt%",
	"v=not.like.%x", "v=not.ilike.x%", "v=like.p%n%T%t%",
	"t=match.^a.*w[[:alpha:]]+rd", "v=match.(plain|fancy)_", "v=imatch.^PLAIN",
	"v=not.match.^x", "v=match.t%$", "v=match.\\w{5}_",
	"v=isdistinct.x", "z=isdistinct.x", "v=not.isdistinct.plain_Text%",

	/* numbers */
	"i2=eq.-5", "i2=lt.0", "i2=gt.-6", "i2=in.(1,2,-5)", "i4=eq.42",
	"i4=eq.+42", "i4=gte.42", "i4=lte.42", "i4=not.eq.41", "i4=neq.41",
	"i8=eq.9007199254740993", "i8=gt.9007199254740992",
	"i8=lt.9007199254740994", "i8=not.in.(1,9007199254740992)",
	"n=eq.1.1", "n=eq.1.100", "n=eq.+01.1", "n=eq.11e-1", "n=gt.1.09999",
	"n=lt.1.1000000000000000000000000000001", "n=gt.-5", "n=lt.NaN",
	"n=gt.-Infinity", "n=gt.0", "n=gt.0.05", "n=neq.0",
	"f=eq.-1500", "f=lt.-1.4e3", "f=lt.NaN", "f=gt.-inf",

	/* bool and is */
	"b=eq.true", "b=eq.t", "b=neq.false", "b=is.true", "b=not.is.false",
	"b=gt.false", "nb=is.unknown", "nb=is.null", "nb=not.is.true",
	"z=is.null", "t=not.is.null", "b=isdistinct.false", "nb=isdistinct.true",

	/* points in time */
	"ts=eq.2025-11-03T09:32:55.123456Z",
	"ts=eq.2025-11-03 10:32:55.123456+01",
	"ts=eq.2025-11-03T09:32:55.123456",
	"ts=gt.2025-11-03", "ts=lt.2025-11-03T09:32:55.124Z",
	"ts=gte.2025-11-03 04:02:55.123456-05:30", "ts=lt.infinity",
	"ts=gt.-infinity", "ts=gt.1969-12-31T23:59:59Z", "ts=gt.2024-02-29",

	/* json by its content, other types by their text */
	"j=eq.\"{\\\"a\\\": [1, {\\\"b\\\": null}]}\"", "j=neq.{\"a\": [1]}", "j=not.is.null",
	"j=in.({},\"{\\\"a\\\":[1,{\\\"b\\\":null}]}\")",
	"e=eq.happy", "e=in.(sad,happy)", "e=neq.sad",

	/* several, and space around them */
	"i4=eq.42,b=is.true , t=like.a%", "  i4=gt.1  ", "i4=in.(41,42),i2=lt.0"
};

static const char *const failing[] = {
	"u=eq.6f1b3c1e-8a55-4d0e-9c3a-0123456789ac",
	"t=eq.a", "t=like.a", "t=like.quoted", "v=like.PLAIN%", "v=like.%text%",
	"v=like.plain_Text\\_", "v=match.^Text", "v=imatch.^text", "i4=eq.43",
	"i4=lt.42", "i4=gt.42", "i4=in.(1,2)", "i4=in.()", "i8=eq.9007199254740992",
	"n=eq.1.11", "n=lt.1.1", "f=gt.0", "b=is.false", "b=is.null",
	"ts=eq.2025-11-03T09:32:55.123Z", "ts=gt.2025-11-03T09:32:55.123456Z",
	"j=eq.{}", "e=eq.sad", "i4=eq.42,b=is.false",

	/* NULL is neither equal nor not, and stays so when negated */
	"z=eq.null", "z=neq.x", "z=not.eq.x", "z=not.neq.x", "z=in.(x)",
	"z=not.in.(x)", "z=like.%", "z=not.like.%", "z=match.x", "z=not.match.x",
	"z=not.is.null", "nb=is.true", "nb=is.false", "nb=not.is.unknown",
	"nb=eq.true", "z=not.isdistinct.x",

	/* a column that is not there lets nothing pass */
	"gone=is.null", "gone=not.is.null", "gone=neq.x", "gone=isdistinct.x"
};

/* What is wrong, as told at parsing or at binding. */
static const struct
{
	const char *text;
	const char *problem;
}			wrong[] = {
	{"i4", "[\"i4\"]"},
	{"i4=42", "[\"42\"]"},
	{"i4=foo.42", "[\"foo\", \"42\"]"},
	{"i4=EQ.42", "[\"EQ\", \"42\"]"},
	{"i4=not.42", "[\"42\"]"},
	{"i4=eq.1,", "filter must not contain empty segments "
	"(check for extra commas)"},
	{",i4=eq.1", "filter must not contain empty segments "
	"(check for extra commas)"},
	{"i4=in.1", "`in` filter value must be wrapped by parentheses"},
	{"i4=in.(1", "`in` filter value must be wrapped by parentheses"},
	{"x=eq.1", "P0001 (raise_exception) invalid column for filter x"},
	{"=eq.1", "P0001 (raise_exception) invalid column for filter "},
	{"i4=eq.x", "22P02 (invalid_text_representation) invalid input syntax for "
	"type integer: \"x\""},
	{"i4=eq.", "22P02 (invalid_text_representation) invalid input syntax for "
	"type integer: \"\""},
	{"i4=eq.2147483648", "22003 (numeric_value_out_of_range) value "
	"\"2147483648\" is out of range for type integer"},
	{"i2=eq.-32769", "22003 (numeric_value_out_of_range) value \"-32769\" is "
	"out of range for type smallint"},
	{"i8=eq.9223372036854775808", "22003 (numeric_value_out_of_range) value "
	"\"9223372036854775808\" is out of range for type bigint"},
	{"u=eq.1", "22P02 (invalid_text_representation) invalid input syntax for "
	"type uuid: \"1\""},
	{"b=eq.maybe", "22P02 (invalid_text_representation) invalid input syntax "
	"for type boolean: \"maybe\""},
	{"n=eq.1.2.3", "22P02 (invalid_text_representation) invalid input syntax "
	"for type numeric: \"1.2.3\""},
	{"f=eq.x", "22P02 (invalid_text_representation) invalid input syntax for "
	"type double precision: \"x\""},
	{"j=eq.{", "22P02 (invalid_text_representation) invalid input syntax for "
	"type jsonb: \"{\""},
	{"ts=eq.2025-02-29", "22007 (invalid_datetime_format) invalid input syntax "
	"for type timestamp with time zone: \"2025-02-29\""},
	{"ts=eq.yesterday", "22007 (invalid_datetime_format) invalid input syntax "
	"for type timestamp with time zone: \"yesterday\""},
	{"i4=is.true", "P0001 (raise_exception) is true filter requires a boolean "
	"column, got integer"},
	{"b=is.TRUE", "P0001 (raise_exception) invalid value for is filter: must "
	"be null, true, false, or unknown"},
	{"i4=like.1%", "P0001 (raise_exception) operator like requires a "
	"text-compatible column type, got integer"},
	{"u=imatch.x", "P0001 (raise_exception) operator imatch requires a "
	"text-compatible column type, got uuid"},
	{"t=like.x\\", "22025 (invalid_escape_sequence) LIKE pattern must not end "
	"with escape character"},
	{"t=match.(", "P0001 (raise_exception) invalid regular expression for "
	"match filter: missing closing parenthesis"},
	{"t=match.(((((((((((((((((((((((((((((((((((((x)))))))))))))))))))))))))"
		"))))))))))))", "P0001 (raise_exception) invalid regular expression "
	"for match filter: parentheses are too deeply nested"},
	{"t=match.\"((a{1,99}){1,99}){1,99}\"", "P0001 (raise_exception) invalid "
	"regular expression for match filter: regular expression is too large"},
	{"t=match.a\\Cb", "P0001 (raise_exception) invalid regular expression for "
	"match filter: using \\C is disabled by the application"},
	{"e=lt.happy", "42883 (undefined_function) operator lt is not available "
	"for type mood"},
	{"j=gt.{}", "42883 (undefined_function) operator gt is not available for "
	"type jsonb"}
};

static void
refuses(const char *text, const char *wanted)
{
	buf			problem;
	filter	   *f;
	bool		good;

	buf_init(&problem);
	f = filter_parse(text, strlen(text), &problem);
	good = f != NULL && filter_bind(f, columns, &problem);
	check(!good, "refused: %s", text);
	check_str(buf_string(&problem), wanted, "with the right words");
	filter_free(f);
	buf_free(&problem);
}

static void
limits(void)
{
	char		text[8192] = "i4=in.(1";
	buf			problem;
	filter	   *f;

	for (int i = 1; i < FILTER_MAX_VALUES; i++)
		strcat(text, ",1");
	strcat(text, ")");
	passes(text, false);
	strcpy(text + strlen(text) - 1, ",42)");
	refuses(text, "P0001 (raise_exception) too many values for `in` filter. "
			"Maximum 100");

	strcpy(text, "i4=eq.42");
	for (int i = 1; i < FILTER_MAX_CONDITIONS; i++)
		strcat(text, ",i4=eq.42");
	passes(text, true);
	strcat(text, ",i4=eq.42");
	refuses(text, "too many conditions. Maximum 32");

	memset(text, 'x', 300);
	memcpy(text, "t=match.", 8);
	text[300] = '\0';
	refuses(text, "P0001 (raise_exception) invalid regular expression for "
			"match filter: regular expression is too long");
	memcpy(text, "t=like.", 7);
	refuses(text, "22025 (invalid_escape_sequence) LIKE pattern is too long");

	buf_init(&problem);
	f = filter_parse("  ", 2, &problem);
	check(f == NULL && problem.len == 0, "a blank filter is no filter");
	buf_free(&problem);
}

/* Patterns made to run for ever are given up, for text as long as it gets. */
static void
patience(void)
{
	static const char *const patterns[] = {
		"t=match.(a*)*[xy]", "t=match.(a|a)*[xy]", "t=match.(a+a+)+[xy]",
		"t=match.a*a*a*a*a*[xy]", "t=like.%a%a%a%a%a%a%a%a%b",
		"t=not.match.(a*)*[xy]", "t=match.(?R)?a*[xy]", "t=match.a*[xy]",
		"t=not.like.%a%a%a%a%a%a%a%a%b"
	};
	size_t		len = 16384;
	char	   *record = malloc(len + 32);
	event_header *e = calloc(1, sizeof(event_header) + len + 32);
	change		c;

	memset(record, 'a', len);
	memcpy(record, "{\"t\":\"", 6);
	memcpy(record + len - 2, "b!\"}", 5);
	e->action = EVENT_INSERT;
	e->record_len = (uint32_t) strlen(record);
	memcpy(e + 1, record, e->record_len);
	change_init(&c);
	change_set(&c, e, columns);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
	{
		uint32_t	effort = 100000;
		buf			problem;
		filter	   *f;

		buf_init(&problem);
		f = filter_parse(patterns[i], strlen(patterns[i]), &problem);
		check(f != NULL && filter_bind(f, columns, &problem), "%s",
			  patterns[i]);
		check(!filter_matches(f, &c, &effort), "does not pass");
		filter_free(f);
		buf_free(&problem);
	}
	change_free(&c);
	free(e);
	free(record);
}

static void
pinning(void)
{
	static const char text[] =
		"t=eq.x,u=eq.6F1B3C1E-8A55-4D0E-9C3A-0123456789AB,i4=gt.1";
	static const uint8_t wanted[16] = {
		0x6f, 0x1b, 0x3c, 0x1e, 0x8a, 0x55, 0x4d, 0x0e,
		0x9c, 0x3a, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab
	};
	uint8_t		uuid[16];
	bool		empty = true;
	buf			text_left;
	filter	   *f;

	buf_init(&text_left);
	f = filter_parse(text, strlen(text), &text_left);
	filter_bind(f, columns, &text_left);
	check(filter_take_uuid(f, "u", uuid, &empty), "a uuid is taken out");
	check(memcmp(uuid, wanted, 16) == 0, "the right one");
	check(!empty, "others are left");
	filter_describe(f, &text_left);
	check_str(buf_string(&text_left),
			  "{\"t\", \"eq\", \"x\"}, {\"i4\", \"gt\", \"1\"}", "these");
	check(!filter_take_uuid(f, "u", uuid, &empty), "it is taken once");
	filter_free(f);
	buf_free(&text_left);
}

int
main(void)
{
	set_up();
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		passes(passing[i], true);
	for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++)
		passes(failing[i], false);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refuses(wrong[i].text, wrong[i].problem);
	limits();
	patience();
	pinning();
	change_free(&the_change);
	table_free(columns);
	free(event);
	return check_done();
}
