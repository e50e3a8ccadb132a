/*-------------------------------------------------------------------------
 *
 * rfc6455_frames_test.c
 *	  RFC 6455, sections 5 to 8, as a table of what a client sends and what
 *	  the server makes of it.
 *
 * The numbers group the cases as the Autobahn suite does, which every
 * WebSocket library is measured by: 1 sizes, 2 pings and pongs, 3 reserved
 * bits, 4 opcodes, 5 fragments, 6 UTF-8, 7 closing, 8 lengths and masks, 9
 * limits.  The peer echoes messages, so what was understood can be seen.
 *
 * TCP knows no frames: every case is played in one write, and in single
 * bytes; and a short one is cut in two at each of its bytes.  The server has
 * read what was written before a question on another connection is answered;
 * so pieces arrive as pieces, and nothing has to wait.
 *
 *-------------------------------------------------------------------------
 */
#include "net_world.h"

#define LIMIT		70000		/* bytes of a message */
#define MAX_FRAMES	8
#define SHORT		40			/* bytes that are cut everywhere */

/* Codes beside those of the RFC. */
#define OPEN		0			/* it stays open, and echoes */

typedef struct bytes
{
	int			first;			/* a frame's first byte, or RAW, or 0: end */
	const char *data;			/* NULL: 'm' as often */
	size_t		len;
} bytes;

#define RAW			(-1)		/* data are a frame, or several, as they are */

typedef struct test_case
{
	const char *number;
	const char *section;
	const char *name;
	int			code;			/* it closes with, or OPEN */
	bytes		sent[MAX_FRAMES];
	bytes		answers[MAX_FRAMES];	/* besides the closing */
} test_case;

#define F(first, text)	{first, text, sizeof(text) - 1}
#define TEXT(text)		F(0x81, text)
#define BINARY(text)	F(0x82, text)
#define START(text)		F(0x01, text)
#define MIDDLE(text)	F(0x100, text)	/* the byte is 0, which means the end */
#define END(text)		F(0x80, text)
#define CLOSE(text)		F(0x88, text)
#define PING(text)		F(0x89, text)
#define PONG(text)		F(0x8a, text)
#define BYTES(text)		F(RAW, text)
#define MANY(first, n)	{first, NULL, n}

#define M40			"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm"
#define KAPPA		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"

static const test_case cases[] = {
	{"1.1.1", "5.6", "an empty text", OPEN, {TEXT("")}, {TEXT("")}},
	{"1.1.2", "5.2", "a text of 125 bytes", OPEN,
	{MANY(0x81, 125)}, {MANY(0x81, 125)}},
	{"1.1.3", "5.2", "a text of 126 bytes", OPEN,
	{MANY(0x81, 126)}, {MANY(0x81, 126)}},
	{"1.1.4", "5.2", "a text of 127 bytes", OPEN,
	{MANY(0x81, 127)}, {MANY(0x81, 127)}},
	{"1.1.5", "5.2", "a text of 128 bytes", OPEN,
	{MANY(0x81, 128)}, {MANY(0x81, 128)}},
	{"1.1.6", "5.2", "a text of 65535 bytes", OPEN,
	{MANY(0x81, 65535)}, {MANY(0x81, 65535)}},
	{"1.1.7", "5.2", "a text of 65536 bytes", OPEN,
	{MANY(0x81, 65536)}, {MANY(0x81, 65536)}},
	{"1.2.1", "5.6", "an empty binary message", OPEN,
	{BINARY("")}, {BINARY("")}},
	{"1.2.2", "5.6", "a binary message of any bytes", OPEN,
	{BINARY("\0\xff\xfe\x80")}, {BINARY("\0\xff\xfe\x80")}},
	{"1.2.3", "5.2", "a binary message of 126 bytes", OPEN,
	{MANY(0x82, 126)}, {MANY(0x82, 126)}},
	{"1.2.4", "5.2", "a binary message of 65536 bytes", OPEN,
	{MANY(0x82, 65536)}, {MANY(0x82, 65536)}},
	{"1.3", "5.6", "two messages", OPEN,
	{TEXT("one"), TEXT("two")}, {TEXT("one"), TEXT("two")}},

	{"2.1", "5.5.2", "a ping without payload", OPEN, {PING("")}, {PONG("")}},
	{"2.2", "5.5.2", "a ping with payload", OPEN,
	{PING("Hello")}, {PONG("Hello")}},
	{"2.3", "5.5.2", "a ping with binary payload", OPEN,
	{PING("\0\xff\xfe\xfd\xfc")}, {PONG("\0\xff\xfe\xfd\xfc")}},
	{"2.4", "5.5", "a ping of 125 bytes", OPEN,
	{MANY(0x89, 125)}, {MANY(0x8a, 125)}},
	{"2.5", "5.5", "a ping of 126 bytes", 1002, {MANY(0x89, 126)}},
	{"2.6", "5.5.3", "a pong that nobody asked for", OPEN,
	{PONG("unasked"), PONG("")}},
	{"2.7", "5.5.3", "... and a ping after it", OPEN,
	{PONG("unasked"), PING("asked")}, {PONG("asked")}},
	{"2.8", "5.5", "a pong of 125 bytes", OPEN, {MANY(0x8a, 125)}},
	{"2.9", "5.5", "a pong of 126 bytes", 1002, {MANY(0x8a, 126)}},
	{"2.10", "5.5.2", "several pings", OPEN,
		{PING("1"), PING("2"), PING("3"), PING("4")},
	{PONG("1"), PONG("2"), PONG("3"), PONG("4")}},
	{"2.11", "5.5", "a ping with a length in two bytes", 1002,
	{BYTES("\x89\xfe\0\x05\0\0\0\0hello")}},

	{"3.1", "5.2", "reserved bit 3", 1002, {F(0x91, "hello")}},
	{"3.2", "5.2", "reserved bit 2", 1002, {F(0xa1, "hello")}},
	{"3.3", "5.2", "reserved bit 1, which compression takes", 1002,
	{F(0xc1, "hello")}},
	{"3.4", "5.2", "all reserved bits, of a binary message", 1002,
	{F(0xf2, "hello")}},
	{"3.5", "5.2", "a reserved bit of a ping", 1002, {F(0xc9, "hello")}},
	{"3.6", "5.2", "a reserved bit of a close", 1002, {F(0xd8, "")}},
	{"3.7", "5.2", "a reserved bit of a continuation", 1002,
	{START("a"), F(0xa0, "b")}},
	{"3.8", "5.2", "what came before is answered", 1002,
	{TEXT("before"), F(0x91, "after")}, {TEXT("before")}},

	{"4.1.3", "5.2", "opcode 3", 1002, {F(0x83, "")}},
	{"4.1.4", "5.2", "opcode 4", 1002, {F(0x84, "hello")}},
	{"4.1.5", "5.2", "opcode 5", 1002, {F(0x85, "")}},
	{"4.1.6", "5.2", "opcode 6", 1002, {F(0x86, "")}},
	{"4.1.7", "5.2", "opcode 7", 1002, {F(0x87, "")}},
	{"4.1.8", "5.2", "opcode 5, not final", 1002, {F(0x05, "")}},
	{"4.2.11", "5.2", "opcode 11", 1002, {F(0x8b, "")}},
	{"4.2.12", "5.2", "opcode 12", 1002, {F(0x8c, "hello")}},
	{"4.2.13", "5.2", "opcode 13", 1002, {F(0x8d, "")}},
	{"4.2.14", "5.2", "opcode 14", 1002, {F(0x8e, "")}},
	{"4.2.15", "5.2", "opcode 15", 1002, {F(0x8f, "")}},
	{"4.2.16", "5.2", "a reserved opcode within a message", 1002,
	{START("a"), F(0x83, ""), END("b")}},

	{"5.1", "5.5", "a ping in fragments", 1002,
	{F(0x09, "a"), END("b")}},
	{"5.2", "5.5", "a pong in fragments", 1002, {F(0x0a, "a"), END("b")}},
	{"5.3", "5.5", "a close in fragments", 1002, {F(0x08, "")}},
	{"5.4", "5.4", "a text in two fragments", OPEN,
	{START("Hel"), END("lo")}, {TEXT("Hello")}},
	{"5.5", "5.4", "a binary message in three", OPEN,
	{F(0x02, "\0"), MIDDLE("\xff"), END("\xfe")}, {BINARY("\0\xff\xfe")}},
	{"5.6", "5.4", "a ping between two fragments", OPEN,
	{START("Hel"), PING("p"), END("lo")}, {PONG("p"), TEXT("Hello")}},
	{"5.7", "5.4", "pings and pongs between many", OPEN,
		{START("a"), PING("1"), MIDDLE("b"), PONG("x"), MIDDLE("c"),
		PING("2"), END("d")},
	{PONG("1"), PONG("2"), TEXT("abcd")}},
	{"5.8", "5.4", "empty fragments", OPEN,
	{START(""), MIDDLE(""), MIDDLE("x"), END("")}, {TEXT("x")}},
	{"5.9", "5.4", "nothing but empty fragments", OPEN,
	{START(""), MIDDLE(""), END("")}, {TEXT("")}},
	{"5.10", "5.4", "a continuation of nothing", 1002, {END("hello")}},
	{"5.11", "5.4", "... that is not final", 1002, {MIDDLE("hello")}},
	{"5.12", "5.4", "a continuation after a message has ended", 1002,
		{START("a"), END("b"), MIDDLE("c")},
	{TEXT("ab")}},
	{"5.13", "5.4", "a text within a message", 1002,
	{START("a"), TEXT("b")}},
	{"5.14", "5.4", "a start within a message", 1002,
	{START("a"), START("b")}},
	{"5.15", "5.4", "a binary message within a text", 1002,
	{START("a"), BINARY("b")}},
	{"5.16", "5.5.1", "a close within a message", 1000,
	{START("a"), CLOSE("\x03\xe8")}},
	{"5.17", "5.4", "a message after one in fragments", OPEN,
		{START("a"), END("b"), TEXT("c")},
	{TEXT("ab"), TEXT("c")}},

	{"6.1", "5.6", "the word kosme", OPEN, {TEXT(KAPPA)}, {TEXT(KAPPA)}},
	{"6.2", "5.6", "... cut within a character", OPEN,
		{START("\xce\xba\xe1"), MIDDLE("\xbd"), END("\xb9\xcf\x83")},
	{TEXT("\xce\xba\xe1\xbd\xb9\xcf\x83")}},
	{"6.3", "5.6", "... with a ping within a character", OPEN,
		{START("\xe2\x82"), PING("p"), END("\xac")},
	{PONG("p"), TEXT("\xe2\x82\xac")}},
	{"6.4", "5.6", "a zero byte", OPEN, {TEXT("\0")}, {TEXT("\0")}},
	{"6.5", "5.6", "the lowest of each length", OPEN,
		{TEXT("\x01\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80")},
	{TEXT("\x01\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80")}},
	{"6.6", "5.6", "the highest of each length", OPEN,
		{TEXT("\x7f\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf")},
	{TEXT("\x7f\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf")}},
	{"6.7", "5.6", "round the surrogates", OPEN,
		{TEXT("\xed\x9f\xbf\xee\x80\x80")},
	{TEXT("\xed\x9f\xbf\xee\x80\x80")}},
	{"6.8", "5.6", "no characters", OPEN,
		{TEXT("\xef\xbf\xbe\xef\xb7\x90")},
	{TEXT("\xef\xbf\xbe\xef\xb7\x90")}},
	{"6.9", "8.1", "a continuation byte alone", 1007, {TEXT("\x80")}},
	{"6.10", "8.1", "two bytes, the second missing", 1007, {TEXT("\xc2")}},
	{"6.11", "8.1", "three bytes, the third missing", 1007,
	{TEXT("\xe2\x82")}},
	{"6.12", "8.1", "four bytes, the fourth missing", 1007,
	{TEXT("\xf0\x9f\x98")}},
	{"6.13", "8.1", "a letter within a character", 1007,
	{TEXT("\xc3\x28")}},
	{"6.14", "8.1", "two bytes for a slash", 1007, {TEXT("\xc0\xaf")}},
	{"6.15", "8.1", "three bytes for a slash", 1007,
	{TEXT("\xe0\x80\xaf")}},
	{"6.16", "8.1", "four bytes for a slash", 1007,
	{TEXT("\xf0\x80\x80\xaf")}},
	{"6.17", "8.1", "two bytes for zero", 1007, {TEXT("\xc0\x80")}},
	{"6.18", "8.1", "the first surrogate", 1007, {TEXT("\xed\xa0\x80")}},
	{"6.19", "8.1", "the last surrogate", 1007, {TEXT("\xed\xbf\xbf")}},
	{"6.20", "8.1", "a pair of surrogates", 1007,
	{TEXT("\xed\xa0\xbd\xed\xb8\x80")}},
	{"6.21", "8.1", "behind the last character", 1007,
	{TEXT("\xf4\x90\x80\x80")}},
	{"6.22", "8.1", "five bytes", 1007, {TEXT("\xf8\x88\x80\x80\x80")}},
	{"6.23", "8.1", "six bytes", 1007, {TEXT("\xfc\x84\x80\x80\x80\x80")}},
	{"6.24", "8.1", "bytes fe and ff", 1007, {TEXT("a\xfe\xff")}},
	{"6.25", "8.1", "bad in the second fragment", 1007,
	{START("good"), END("\xff")}},
	{"6.26", "8.1", "a character that its second fragment breaks", 1007,
	{START("\xe2\x82"), END("a")}},
	{"6.27", "8.1", "a character that the message's end breaks", 1007,
	{START("\xe2"), MIDDLE("\x82"), END("")}},
	{"6.28", "8.1", "bad before its frame has ended", 1007,
	{BYTES("\x81\x8a\0\0\0\0\xff")}},
	{"6.29", "8.1", "bad before its message has ended", 1007,
	{START("a\xc3\x28")}},

	{"7.1", "5.5.1", "a close without a code", 1005, {CLOSE("")}},
	{"7.2", "5.5.1", "a close with a reason", 1000,
	{CLOSE("\x03\xe8" "bye")}},
	{"7.3", "5.5", "a reason of 123 bytes", 1000,
	{CLOSE("\x03\xe8" M40 M40 M40 "mmm")}},
	{"7.4", "5.5", "a close of 126 bytes", 1002, {MANY(0x88, 126)}},
	{"7.5", "5.5.1", "a close of one byte", 1002, {CLOSE("\x03")}},
	{"7.6", "8.1", "a reason that is not UTF-8", 1007,
	{CLOSE("\x03\xe8\xce\xba\xff")}},
	{"7.7", "8.1", "a reason that ends within a character", 1007,
	{CLOSE("\x03\xe8\xce")}},
	{"7.8", "5.5.1", "a second close", 1000,
	{CLOSE("\x03\xe8"), CLOSE("\x03\xe9")}},
	{"7.9", "5.5.1", "a message after a close", 1000,
	{CLOSE("\x03\xe8"), TEXT("ignored")}},
	{"7.10", "5.5.1", "a ping after a close", 1000,
	{CLOSE("\x03\xe8"), PING("ignored")}},
	{"7.11", "5.5.1", "garbage after a close", 1000,
	{CLOSE("\x03\xe8"), BYTES("\xff\xff\xff")}},
	{"7.12", "5.5.1", "a message before a close", 1000,
	{TEXT("heard"), CLOSE("\x03\xe8")}, {TEXT("heard")}},
	{"7.13.1000", "7.4.1", "code 1000", 1000, {CLOSE("\x03\xe8")}},
	{"7.13.1001", "7.4.1", "code 1001", 1001, {CLOSE("\x03\xe9")}},
	{"7.13.1002", "7.4.1", "code 1002", 1002, {CLOSE("\x03\xea")}},
	{"7.13.1003", "7.4.1", "code 1003", 1003, {CLOSE("\x03\xeb")}},
	{"7.13.1007", "7.4.1", "code 1007", 1007, {CLOSE("\x03\xef")}},
	{"7.13.1008", "7.4.1", "code 1008", 1008, {CLOSE("\x03\xf0")}},
	{"7.13.1011", "7.4.1", "code 1011", 1011, {CLOSE("\x03\xf3")}},
	{"7.13.1012", "7.4.1", "code 1012, from the registry", 1012,
	{CLOSE("\x03\xf4")}},
	{"7.13.1014", "7.4.1", "code 1014, from the registry", 1014,
	{CLOSE("\x03\xf6")}},
	{"7.13.3000", "7.4.2", "code 3000", 3000, {CLOSE("\x0b\xb8")}},
	{"7.13.4999", "7.4.2", "code 4999", 4999, {CLOSE("\x13\x87")}},
	{"7.14.0", "7.4.2", "code 0", 1002, {CLOSE("\0\0")}},
	{"7.14.999", "7.4.2", "code 999", 1002, {CLOSE("\x03\xe7")}},
	{"7.14.1004", "7.4.1", "code 1004", 1002, {CLOSE("\x03\xec")}},
	{"7.14.1005", "7.4.1", "code 1005", 1002, {CLOSE("\x03\xed")}},
	{"7.14.1006", "7.4.1", "code 1006", 1002, {CLOSE("\x03\xee")}},
	{"7.14.1015", "7.4.1", "code 1015", 1002, {CLOSE("\x03\xf7")}},
	{"7.14.1016", "7.4.2", "code 1016", 1002, {CLOSE("\x03\xf8")}},
	{"7.14.2999", "7.4.2", "code 2999", 1002, {CLOSE("\x0b\xb7")}},
	{"7.14.5000", "7.4.2", "code 5000", 1002, {CLOSE("\x13\x88")}},
	{"7.14.65535", "7.4.2", "code 65535", 1002, {CLOSE("\xff\xff")}},

	{"8.1", "5.1", "a text that is not masked", 1002,
	{BYTES("\x81\x05hello")}},
	{"8.2", "5.1", "a ping that is not masked", 1002, {BYTES("\x89\x00")}},
	{"8.3", "5.1", "a close that is not masked", 1002,
	{BYTES("\x88\x02\x03\xe8")}},
	{"8.4", "5.1", "a continuation that is not masked", 1002,
	{START("a"), BYTES("\x80\x01" "b")}},
	{"8.5", "5.3", "a mask of zeros", OPEN,
	{BYTES("\x81\x85\0\0\0\0hello")}, {TEXT("hello")}},
	{"8.6", "5.3", "a mask of ones", OPEN,
	{BYTES("\x81\x82\xff\xff\xff\xff\x97\x96")}, {TEXT("hi")}},
	{"8.7", "5.2", "5 bytes, said in two", 1002,
	{BYTES("\x81\xfe\0\x05\0\0\0\0hello")}},
	{"8.8", "5.2", "125 bytes, said in two", 1002,
	{BYTES("\x81\xfe\0\x7d\0\0\0\0")}},
	{"8.9", "5.2", "5 bytes, said in eight", 1002,
	{BYTES("\x81\xff\0\0\0\0\0\0\0\x05\0\0\0\0hello")}},
	{"8.10", "5.2", "65535 bytes, said in eight", 1002,
	{BYTES("\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0")}},
	{"8.11", "5.2", "2^63 bytes: the highest bit is set", 1002,
	{BYTES("\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0")}},
	{"8.12", "5.2", "2^64-1 bytes", 1002,
	{BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")}},

	{"9.1", "10.4", "the largest message", OPEN,
	{MANY(0x81, LIMIT)}, {MANY(0x81, LIMIT)}},
	{"9.2", "10.4", "one byte more", 1009, {MANY(0x81, LIMIT + 1)}},
	{"9.3", "10.4", "2^63-1 bytes", 1009,
	{BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")}},
	{"9.4", "10.4", "the largest, in fragments", OPEN,
	{MANY(0x01, LIMIT - 1), MANY(0x80, 1)}, {MANY(0x81, LIMIT)}},
	{"9.5", "10.4", "too large by its second fragment", 1009,
	{MANY(0x01, LIMIT), MANY(0x80, 1)}},
	{"9.6", "10.4", "... which sums up in no integer", 1009,
		{START("a"),
	BYTES("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")}},
};

/* The connection whose answers tell that others were read. */
static int	witness;

static const char *
payload(const bytes *b)
{
	static char filler[LIMIT + 1];

	memset(filler, 'm', sizeof(filler));
	return b->data ? b->data : filler;
}

/* All that a case sends; to be freed. */
static uint8_t *
script(const test_case *c, size_t *len)
{
	uint8_t    *out = malloc(2 * LIMIT + 1024);

	*len = 0;
	for (const bytes *b = c->sent; b < c->sent + MAX_FRAMES && b->first; b++)
	{
		if (b->first != RAW)
			*len += build(out + *len, b->first, payload(b), b->len);
		else
		{
			memcpy(out + *len, b->data, b->len);
			*len += b->len;
		}
	}
	return out;
}

/* What does the server say that it should not?  NULL: nothing. */
static const char *
judge(const test_case *c, int fd)
{
	static char data[2 * LIMIT];
	size_t		len;
	int			code;

	for (const bytes *b = c->answers; b < c->answers + MAX_FRAMES && b->first;
		 b++)
		if (next(fd, data, sizeof(data), &len) != b->first ||
			len != b->len || memcmp(data, payload(b), len) != 0)
			return "another answer";
	if (c->code == OPEN)
		return echoes(fd, "alive") ? NULL : "it does not echo any more";
	code = close_code(fd);
	if (code != c->code)
		return code < 0 ? "no close" : "another code";

	/* Who goes on sending may find the connection reset. */
	return hear(fd, data, 1) <= 0 ? NULL : "something after the close";
}

/* Play a case in pieces that end at first, and then each step bytes. */
static const char *
play(const test_case *c, size_t first, size_t step)
{
	int			fd = join();
	size_t		len;
	uint8_t    *out = script(c, &len);
	size_t		end = first;
	const char *fault;

	for (size_t at = 0; at < len; at = end, end += step)
	{
		if (end > len)
			end = len;
		say(fd, out + at, end - at);
		if (end < len)
			ask(witness, "turns");
	}
	free(out);
	fault = judge(c, fd);
	close(fd);
	return fault;
}

static void
run(const test_case *c)
{
	size_t		len;
	size_t		cut = 0;
	const char *fault;

	free(script(c, &len));
	fault = play(c, len, len);
	if (fault == NULL)
	{
		/* A large one in pieces as TCP has them. */
		cut = len <= 1000 ? 1 : 1448;
		fault = play(c, cut, cut);
	}
	if (fault == NULL && len <= SHORT)
		for (cut = 2; cut < len && fault == NULL; cut++)
			fault = play(c, cut, len);
	check(fault == NULL, "%s (%s) %s: %s", c->number, c->section, c->name,
		  c->code == OPEN ? "goes on" : "closed");
	if (fault != NULL)
		printf("# %s; cut at %zu of %zu\n", fault, cut, len);
}

int
main(void)
{
	max_message = LIMIT;
	start();
	witness = join();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		run(&cases[i]);
	close(witness);
	stop();
	return check_done();
}
