/*-------------------------------------------------------------------------
 *
 * rfc7692_test.c
 *	  RFC 7692, compression: what is agreed on, and what is made of what a
 *	  client has compressed.
 *
 * TCP knows no frames: each case is decoded as a whole, in single bytes, and
 * cut in two at each of its bytes.  All cases share one inflater, as all
 * connections of a process do, so that none may depend on the one before.
 *
 *-------------------------------------------------------------------------
 */
#include "scarce_memory.h"

#include <zlib.h>

#include "check.h"
#include "net/extensions.h"
#include "net/websocket.h"

#define LIMIT		4000		/* bytes of a message */
#define MAX_FRAMES	4

/*
 * What is agreed on (section 7.1)
 */

typedef struct offer_case
{
	const char *name;
	const char *offers;
	const char *answer;			/* the rest of it, "" for none, NULL: bad */
} offer_case;

#define TAKEN	"; server_no_context_takeover; client_no_context_takeover"
#define SERVER(n)	TAKEN "; server_max_window_bits=" n
#define DEFLATE	"permessage-deflate"
#define DECLINED	""
#define BAD		NULL

static const offer_case offers[] = {
	{"nothing but the name", DEFLATE, TAKEN},
	{"as browsers offer it", DEFLATE "; client_max_window_bits", TAKEN},
	{"both contexts", DEFLATE "; client_no_context_takeover;"
	" server_no_context_takeover", TAKEN},
	{"a window of the client's", DEFLATE "; client_max_window_bits=8", TAKEN},
	{"... in quotes", DEFLATE "; client_max_window_bits=\"10\"", TAKEN},
	{"... with a backslash", DEFLATE "; client_max_window_bits=\"1\\0\"",
	TAKEN},
	{"our window", DEFLATE "; server_max_window_bits=10", SERVER("10")},
	{"the smallest", DEFLATE "; server_max_window_bits=8", SERVER("8")},
	{"the largest", DEFLATE "; server_max_window_bits=15", SERVER("15")},
	{"no white space", DEFLATE ";server_max_window_bits=9", SERVER("9")},
	{"much of it", " \t" DEFLATE "\t ;\t server_max_window_bits \t=  9 \t",
	SERVER("9")},
	{"the first of two", DEFLATE "; server_max_window_bits=11, " DEFLATE,
	SERVER("11")},
	{"a fallback", DEFLATE "; server_max_window_bits=16, " DEFLATE, TAKEN},
	{"behind another", "x-other; a=b; c, " DEFLATE, TAKEN},
	{"before another", DEFLATE ", x-other; a=\"b\"", TAKEN},
	{"empty members", ", ," DEFLATE ",, ", TAKEN},

	{"another", "x-webkit-deflate-frame", DECLINED},
	{"a longer name", DEFLATE "d", DECLINED},
	{"a shorter name", "permessage", DECLINED},
	{"nothing", "", DECLINED},
	{"an unknown parameter", DEFLATE "; fast", DECLINED},
	{"... with a value", DEFLATE "; level=9", DECLINED},
	{"the same twice", DEFLATE "; client_max_window_bits;"
	" client_max_window_bits=9", DECLINED},
	{"a window of 7 bits", DEFLATE "; server_max_window_bits=7", DECLINED},
	{"a window of 16 bits", DEFLATE "; server_max_window_bits=16", DECLINED},
	{"... of the client's", DEFLATE "; client_max_window_bits=16", DECLINED},
	{"a zero before it", DEFLATE "; server_max_window_bits=010", DECLINED},
	{"letters behind it", DEFLATE "; server_max_window_bits=10a", DECLINED},
	{"a sign before it", DEFLATE "; server_max_window_bits=+10", DECLINED},
	{"a very long one", DEFLATE "; server_max_window_bits="
	"10000000000000000000000000000000000000", DECLINED},
	{"our window without a value", DEFLATE "; server_max_window_bits",
	DECLINED},
	{"a value where none may be", DEFLATE "; server_no_context_takeover=1",
	DECLINED},
	{"... not even a good one", DEFLATE "; client_no_context_takeover=15",
	DECLINED},

	{"no name", "; server_max_window_bits=10", BAD},
	{"no parameter", DEFLATE ";", BAD},
	{"... between two", DEFLATE "; ; fast", BAD},
	{"no value", DEFLATE "; server_max_window_bits=", BAD},
	{"an empty one", DEFLATE "; server_max_window_bits=\"\"", BAD},
	{"quotes that do not end", DEFLATE "; server_max_window_bits=\"10", BAD},
	{"... but with a backslash", DEFLATE "; server_max_window_bits=\"10\\",
	BAD},
	{"a backslash without quotes", DEFLATE "; server_max_window_bits=1\\0",
	BAD},
	{"a space in quotes", DEFLATE "; x=\"a b\"", BAD},
	{"two names", DEFLATE " " DEFLATE, BAD},
	{"no token", "permessage/deflate", BAD},
	{"bad behind a good one", DEFLATE ", @", BAD},
	{"... which was taken already", DEFLATE ", " DEFLATE "; a=\"", BAD}
};

static void
negotiate(const offer_case *c, const char *first, const char *second)
{
	http_request request = {
		.nheaders = 3,.headers = {
			{"Host", DEFLATE},
			{"Sec-WebSocket-Extensions", first},
			{"sec-websocket-extensions", second}
		}
	};
	char		answer[EXTENSIONS_MAX_REPLY] = "";
	char		wanted[EXTENSIONS_MAX_REPLY] = "";
	deflate_terms terms;

	if (!extensions_negotiate(&request, &terms))
	{
		check(c->answer == NULL, "(7.1) %s: malformed", c->name);
		return;
	}
	if (terms.window > 0)
		check(extensions_reply(answer, sizeof(answer), &terms) ==
			  strlen(answer), "(7.1) %s: the answer fits", c->name);
	if (c->answer != NULL && *c->answer)
		snprintf(wanted, sizeof(wanted), "Sec-WebSocket-Extensions: "
				 DEFLATE "%s\r\n", c->answer);
	check_str(answer, c->answer != NULL ? wanted : "malformed",
			  "(7.1) %s", c->name);
}

/*
 * What is made of messages (sections 6 and 7.2)
 */

typedef struct piece
{
	int			first;			/* a frame's first byte, or 0: the end */
	const char *data;
	size_t		len;
} piece;

typedef struct message_case
{
	const char *section;
	const char *name;
	int			code;			/* it closes with, or OPEN */
	piece		sent[MAX_FRAMES];
	const char *message;
} message_case;

#define OPEN	0

/* The first byte of a frame: opcode, final or not, compressed or not. */
#define F(first, text)	{first, text, sizeof(text) - 1}
#define ZTEXT(text)		F(0xc1, text)
#define ZBINARY(text)	F(0xc2, text)
#define ZSTART(text)	F(0x41, text)
#define MIDDLE(text)	F(0x100, text)	/* the byte is 0, which means the end */
#define END(text)		F(0x80, text)
#define PING			F(0x89, "p")

#define HELLO	"\xf2\x48\xcd\xc9\xc9\x07\x00"


static const message_case messages[] = {
	{"7.2.3.1", "one block", OPEN, {ZTEXT(HELLO)}, "Hello"},
	{"7.2.3.1", "... in two frames", OPEN,
	{ZSTART("\xf2\x48\xcd"), END("\xc9\xc9\x07\x00")}, "Hello"},
	{"7.2.3.1", "... with a ping between them", OPEN,
	{ZSTART("\xf2\x48\xcd"), PING, END("\xc9\xc9\x07\x00")}, "Hello"},
	{"7.2.3.1", "... in three frames, one of them empty", OPEN,
	{ZSTART(""), MIDDLE("\xf2\x48\xcd\xc9"), END("\xc9\x07\x00")}, "Hello"},
	{"7.2.3.3", "a block that is not compressed", OPEN,
	{ZTEXT("\x00\x05\x00\xfa\xff" "Hello\x00")}, "Hello"},
	{"7.2.3.4", "a block that is said to be the last", OPEN,
	{ZTEXT("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")}, "Hello"},
	{"7.2.3.5", "two blocks", OPEN,
		{ZTEXT("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")},
	"Hello"},
	{"7.2.2", "two that are said to be the last", OPEN,
		{ZTEXT("\xf3\x48\xcd\xc9\xc9\x07\x00" "\xf3\x48\xcd\xc9\xc9\x07\x00"
	"\x00")}, "HelloHello"},
	{"7.2.3.6", "nothing", OPEN, {ZTEXT("\x00")}, ""},
	{"7.2.3.6", "... in a block", OPEN, {ZTEXT("\x02\x00")}, ""},
	{"7.2.2", "a binary message", OPEN, {ZBINARY(HELLO)}, "Hello"},
	{"6", "a message that is not compressed", OPEN,
	{F(0x81, "Hello")}, "Hello"},
	{"6", "... in two frames", OPEN,
	{F(0x01, "Hel"), END("lo")}, "Hello"},
	{"8.1", "text is checked when it is inflated", OPEN,
	{ZTEXT("\x00\x02\x00\xfd\xff\xc3\xa4\x00")}, "\xc3\xa4"},

	{"6.1", "the bit in a later frame", 1002,
	{ZSTART("\xf2\x48\xcd"), F(0xc0, "\xc9\xc9\x07\x00")}, NULL},
	{"6.1", "... of a message that is not compressed", 1002,
	{F(0x01, "Hel"), F(0xc0, "lo")}, NULL},
	{"6.1", "the bit in a ping", 1002, {F(0xc9, "")}, NULL},
	{"6.1", "the bit in a pong", 1002, {F(0xca, "")}, NULL},
	{"6.1", "the bit in a close", 1002, {F(0xc8, "")}, NULL},
	{"6.1", "another bit", 1002, {F(0xa1, HELLO)}, NULL},
	{"6.1", "all of them", 1002, {F(0xf1, HELLO)}, NULL},
	{"6.1", "a compressed message within a message", 1002,
	{F(0x01, "Hel"), ZTEXT(HELLO)}, NULL},

	{"7.2.2", "no bytes at all", 1007, {ZTEXT("")}, NULL},
	{"7.2.2", "a block of no kind", 1007, {ZTEXT("\x07\x00")}, NULL},
	{"7.2.2", "a length that is wrong", 1007,
	{ZTEXT("\x00\x05\x00\xfa\xfe" "Hello\x00")}, NULL},
	{"7.2.2", "what refers back to nothing", 1007,
	{ZTEXT("\xf2\x00\x11\x00\x00")}, NULL},
	{"7.2.2", "text as it is", 1007, {ZTEXT("Hello")}, NULL},
	{"7.2.2", "a block that does not end", 1007,
	{ZTEXT("\xf2\x48\xcd\xc9\xc9")}, NULL},
	{"7.2.1", "the end is not left out", 1007,
	{ZTEXT(HELLO "\x00\x00\xff\xff")}, NULL},
	{"8.1", "text that is none", 1007,
	{ZTEXT("\x00\x02\x00\xfd\xff\xc3\x28\x00")}, NULL},
	{"8.1", "text that ends within a character", 1007,
	{ZTEXT("\x00\x01\x00\xfe\xff\xc3\x00")}, NULL}
};

static inflater *shared;

/* A client's frame; returns its size. */
static size_t
build(uint8_t *out, const piece *p)
{
	static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	size_t		at = 0;

	out[at++] = (uint8_t) p->first;
	if (p->len < 126)
		out[at++] = 0x80 | (uint8_t) p->len;
	else
	{
		out[at++] = 0x80 | 126;
		out[at++] = (uint8_t) (p->len >> 8);
		out[at++] = (uint8_t) p->len;
	}
	memcpy(out + at, mask, 4);
	at += 4;
	for (size_t i = 0; i < p->len; i++)
		out[at++] = (uint8_t) p->data[i] ^ mask[i & 3];
	return at;
}

/* What came of it: a code to close with, or OPEN and a message or none. */
typedef struct outcome
{
	int			code;
	bool		has_message;
	bool		busy;
	size_t		len;
	char		message[LIMIT + 1];
	size_t		kept;			/* the most, of what is not complete */
} outcome;

/* Decode bytes in pieces that end at first, and then each step bytes. */
static void
decode(const uint8_t *bytes, size_t size, size_t first, size_t step,
	   outcome *o)
{
	ws_event	event = WS_MORE;
	ws_decoder	d;

	memset(o, 0, sizeof(*o));
	ws_decoder_init(&d, LIMIT, shared);
	for (size_t at = 0, end = first; at < size && event != WS_ERROR;
		 at = end, end += step)
	{
		size_t		len = (end < size ? end : size) - at;
		uint8_t    *copy = malloc(len);
		uint8_t    *p = copy;
		ws_item		item;

		memcpy(copy, bytes + at, len);
		while ((event = ws_decode(&d, &p, &len, &item)) != WS_MORE)
		{
			if (d.message_size > o->kept)
				o->kept = d.message_size;
			if (event == WS_MESSAGE)
			{
				o->has_message = true;
				o->len = item.len;
				memcpy(o->message, item.data, item.len);
			}
			else if (event == WS_ERROR)
			{
				o->code = item.code;
				break;
			}
		}
		if (d.message_size > o->kept)
			o->kept = d.message_size;
		free(copy);
	}
	o->busy = ws_decoder_is_busy(&d);
	ws_decoder_free(&d);
}

static bool
came_to(const outcome *o, const message_case *c)
{
	if (c->code != OPEN)
		return o->code == c->code && !o->has_message;
	return o->code == 0 && !o->busy && o->has_message &&
		o->len == strlen(c->message) &&
		memcmp(o->message, c->message, o->len) == 0;
}

static void
understand(const message_case *c)
{
	uint8_t		bytes[500] = {0};
	size_t		size = 0;
	size_t		cut;
	outcome		o;
	bool		good;

	for (const piece *p = c->sent; p < c->sent + MAX_FRAMES && p->first; p++)
		size += build(bytes + size, p);
	decode(bytes, size, 1, 1, &o);
	good = came_to(&o, c);
	for (cut = 1; good && cut <= size; cut++)
	{
		decode(bytes, size, cut, size, &o);
		good = came_to(&o, c);
	}
	if (!check(good, "(%s) %s", c->section, c->name))
		printf("# cut at %zu of %zu: code %d, \"%s\"\n", cut - 1, size,
			   o.code, o.message);
}

/*
 * Sizes
 */

/* A compressed message in frames of so many bytes; to be freed. */
static uint8_t *
compress_message(const uint8_t *data, size_t len, int level, size_t per_frame,
				 size_t *size)
{
	z_stream	z = {0};
	size_t		most = len + len / 8 + 64;
	uint8_t    *packed = malloc(most);
	uint8_t    *out;
	size_t		packed_len;

	deflateInit2(&z, level, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
	z.next_in = (uint8_t *) data;
	z.avail_in = (unsigned) len;
	z.next_out = packed;
	z.avail_out = (unsigned) most;
	deflate(&z, Z_SYNC_FLUSH);
	packed_len = most - z.avail_out - 4;
	deflateEnd(&z);

	out = malloc((packed_len / per_frame + 1) * (per_frame + 8));
	*size = 0;
	for (size_t at = 0; at < packed_len; at += per_frame)
	{
		bool		last = packed_len - at <= per_frame;
		piece		p = {
			(at == 0 ? 0x42 : 0) | (last ? 0x80 : 0),
			(char *) packed + at, last ? packed_len - at : per_frame
		};

		*size += build(out + *size, &p);
	}
	free(packed);
	return out;
}

/* A message of so many bytes; the same all over, or never the same. */
static void
sized(const char *name, size_t len, bool dull, size_t per_frame, int code)
{
	uint8_t    *data = malloc(len);
	uint8_t    *bytes;
	size_t		size;
	unsigned	seed = 1;
	outcome		o;

	for (size_t i = 0; i < len; i++)
		data[i] = dull ? 'x' :
			(uint8_t) ((seed = seed * 1103515245 + 12345) >> 16);
	bytes = compress_message(data, len, dull ? 9 : 0, per_frame, &size);
	decode(bytes, size, size, size, &o);
	check_int(o.code, code, "%s: %zu bytes sent as %zu", name, len, size);
	if (code == 0)
		check(o.len == len && memcmp(o.message, data, len) == 0,
			  "... and come out as they were");
	check(o.kept <= LIMIT + LIMIT / 8 + 64, "... %zu were kept", o.kept);
	free(bytes);
	free(data);
}

static void
sizes(void)
{
	sized("the largest message", LIMIT, true, 65535, 0);
	sized("... that does not shrink", LIMIT, false, 65535, 0);
	sized("... in small frames", LIMIT, false, 100, 0);
	sized("one byte more", LIMIT + 1, true, 65535, 1009);
	sized("... that does not shrink", LIMIT + 1, false, 65535, 1009);
	sized("... in small frames", LIMIT + 1, false, 100, 1009);
	sized("a bomb", 3 * 1000 * 1000, true, 65535, 1009);
	sized("... in small frames", 3 * 1000 * 1000, true, 100, 1009);
	sized("much that does not shrink", 10 * LIMIT, false, 100, 1009);
}

/* Many empty blocks, each said to be the last. */
static void
many_ends(void)
{
	static char data[LIMIT];
	static uint8_t bytes[LIMIT + 10];
	piece		p = {0xc2, data, LIMIT - 1};
	size_t		size;
	outcome		o;

	for (size_t i = 0; i < LIMIT; i += 2)
		data[i] = 3;
	data[LIMIT - 2] = 0;
	size = build(bytes, &p);
	decode(bytes, size, size, size, &o);
	check(o.code == 0 && o.has_message && o.len == 0,
		  "(7.2.2) nothing, said in many last blocks");
}

/*
 * Memory that runs out, at each place where it can: the message comes out, or
 * the connection is closed with 1011, and the next one is understood.
 */
static void
scarce(void)
{
	static uint8_t data[LIMIT];
	uint8_t    *bytes;
	size_t		size;
	outcome		o;
	int			failures = 0;
	bool		good = true;

	for (size_t i = 0; i < LIMIT; i++)
		data[i] = (uint8_t) (i * i >> 5);
	bytes = compress_message(data, LIMIT, 9, 100, &size);
	for (int n = 0; n < 40 && good; n++)
	{
		armed = true;
		requests_left = n;
		inflater_free(shared);
		shared = inflater_new();
		if (shared != NULL)
			decode(bytes, size, size, size, &o);
		armed = false;
		if (shared == NULL)
		{
			failures++;
			shared = inflater_new();
		}
		else if (o.code != 0)
		{
			failures++;
			good = o.code == 1011 && !o.has_message;
		}
		decode(bytes, size, size, size, &o);
		good &= o.code == 0 && o.len == LIMIT &&
			memcmp(o.message, data, LIMIT) == 0;
	}
	check(good, "without memory it is closed, and the next is understood");
	check(failures > 5, "memory was missing in %d places", failures);
	free(bytes);
}

int
main(void)
{
	shared = inflater_new();
	for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++)
	{
		negotiate(&offers[i], offers[i].offers, "");
		negotiate(&offers[i], "x-other", offers[i].offers);
	}
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		understand(&messages[i]);
	sizes();
	many_ends();
	scarce();
	inflater_free(shared);
	return check_done();
}
