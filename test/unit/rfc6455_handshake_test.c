/*-------------------------------------------------------------------------
 *
 * rfc6455_handshake_test.c
 *	  The opening handshake (RFC 6455, section 4) and the HTTP below it (RFC
 *	  9112), as a table of requests and answers.
 *
 * Whoever reads a request in another way than a proxy before it did can be
 * made to serve what the proxy would have refused.  So what can be read in
 * two ways is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "net_world.h"

typedef struct test_case
{
	const char *section;
	const char *name;
	const char *status;
	const char *part;			/* of the answer */
	const char *request;
} test_case;

#define LINE(path)	"GET " path " HTTP/1.1\r\n"
#define HOST		"Host: here\r\n"
#define UP			"Upgrade: websocket\r\n"
#define CONNECTION	"Connection: Upgrade\r\n"
#define THE_KEY		"Sec-WebSocket-Key: " KEY "\r\n"
#define VERSION		"Sec-WebSocket-Version: 13\r\n"
#define REST		UP CONNECTION THE_KEY VERSION
#define GOOD		LINE("/websocket") HOST REST
#define EXTENSIONS	"Sec-WebSocket-Extensions: "

#define SWITCHED	"101", "Sec-WebSocket-Accept: " ACCEPT "\r\n"
#define BAD			"400", "{\"error\":\"request cannot be understood\"}"
#define NO_HANDSHAKE \
	"400", "{\"error\":\"WebSocket handshake is not valid\"}"
#define NOT_FOUND	"404", "{\"error\":\"not found\"}"
#define OLD			"426", "Sec-WebSocket-Version: 13\r\n"
#define TOO_LARGE	"431", "{\"error\":"

static const test_case cases[] = {
	/* What is a handshake */
	{"4.2.1", "a handshake", SWITCHED, GOOD "\r\n"},
	{"4.2.2", "... is answered with an upgrade", "101",
	"Upgrade: websocket\r\nConnection: Upgrade\r\n", GOOD "\r\n"},
	{"4.2.1", "headers in other letters", SWITCHED,
		LINE("/websocket") "HOST:here\r\nUPGRADE:WebSocket\r\n"
		"connection:uPGRADE\r\nsec-websocket-key:" KEY "\r\n"
	"SEC-WEBSOCKET-VERSION:13\r\n\r\n"},
	{"9110 7.6.1", "Connection as a list", SWITCHED,
		LINE("/websocket") HOST UP "Connection: keep-alive , Upgrade\r\n"
	THE_KEY VERSION "\r\n"},
	{"9110 5.3", "Connection in two lines", SWITCHED,
		LINE("/websocket") HOST UP "Connection: keep-alive\r\n" CONNECTION
	THE_KEY VERSION "\r\n"},
	{"9110 7.8", "Upgrade as a list", SWITCHED,
		LINE("/websocket") HOST "Upgrade: h2c, websocket\r\n" CONNECTION
	THE_KEY VERSION "\r\n"},
	{"9110 7.8", "Upgrade in two lines", SWITCHED,
		LINE("/websocket") HOST "Upgrade: h2c\r\n" UP CONNECTION
	THE_KEY VERSION "\r\n"},
	{"9110 5.5", "white space round values", SWITCHED,
		LINE("/websocket") HOST "Upgrade: \t websocket \t \r\n" CONNECTION
	THE_KEY VERSION "\r\n"},
	{"9110 8.6", "a body of no bytes", SWITCHED,
	GOOD "Content-Length: 0\r\n\r\n"},
	{"1.9", "subprotocols: none is chosen", SWITCHED,
	GOOD "Sec-WebSocket-Protocol: chat, superchat\r\n\r\n"},
	{"9.1", "extensions that are unknown", SWITCHED,
		GOOD EXTENSIONS "x-webkit-deflate-frame, x-odd; a=\"b\"; c"
	"\r\n\r\n"},
	{"9.1", "... an empty list of them", SWITCHED,
	GOOD EXTENSIONS " , \r\n\r\n"},
	{"9110 5.5", "a header of any bytes", SWITCHED,
	GOOD "X-Odd: \xff\xfe\xe2\x82\r\n\r\n"},
	{"9112 3.2", "an empty host", SWITCHED,
	LINE("/websocket") "Host:\r\n" REST "\r\n"},

	/* What is not */
	{"4.2.1", "no key", NO_HANDSHAKE,
	LINE("/websocket") HOST UP CONNECTION VERSION "\r\n"},
	{"4.2.1", "an empty key", NO_HANDSHAKE,
		LINE("/websocket") HOST UP CONNECTION "Sec-WebSocket-Key:\r\n"
	VERSION "\r\n"},
	{"4.2.1", "a key of 5 bytes", NO_HANDSHAKE,
		LINE("/websocket") HOST UP CONNECTION
	"Sec-WebSocket-Key: c2hvcnQ=\r\n" VERSION "\r\n"},
	{"4.2.1", "a key of 17 bytes", NO_HANDSHAKE,
		LINE("/websocket") HOST UP CONNECTION
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n" VERSION "\r\n"},
	{"4.2.1", "a key that is not base64", NO_HANDSHAKE,
		LINE("/websocket") HOST UP CONNECTION
	"Sec-WebSocket-Key: dGhlIHNhbXBs*SBub25jZQ==\r\n" VERSION "\r\n"},
	{"4.2.1", "a key with padding inside", NO_HANDSHAKE,
		LINE("/websocket") HOST UP CONNECTION
	"Sec-WebSocket-Key: dGhl=HNhbXBsZSBub25jZQ==\r\n" VERSION "\r\n"},
	{"11.3.1", "two keys", NO_HANDSHAKE, GOOD THE_KEY "\r\n"},
	{"11.3.5", "two versions", NO_HANDSHAKE, GOOD VERSION "\r\n"},
	{"9.1", "extensions that are no list", NO_HANDSHAKE,
	GOOD EXTENSIONS "permessage-deflate; =\r\n\r\n"},
	{"4.4", "no version", OLD,
	LINE("/websocket") HOST UP CONNECTION THE_KEY "\r\n"},
	{"4.4", "version 8", OLD,
		LINE("/websocket") HOST UP CONNECTION THE_KEY
	"Sec-WebSocket-Version: 8\r\n\r\n"},
	{"4.4", "version 130", OLD,
		LINE("/websocket") HOST UP CONNECTION THE_KEY
	"Sec-WebSocket-Version: 130\r\n\r\n"},
	{"4.4", "versions in a list", OLD,
		LINE("/websocket") HOST UP CONNECTION THE_KEY
	"Sec-WebSocket-Version: 8, 13\r\n\r\n"},
	{"4.2.1", "by POST", NO_HANDSHAKE,
	"POST /websocket HTTP/1.1\r\n" HOST REST "\r\n"},
	{"4.2.1", "by HEAD", NO_HANDSHAKE,
	"HEAD /websocket HTTP/1.1\r\n" HOST REST "\r\n"},
	{"9110 9.1", "by get in small letters", NO_HANDSHAKE,
	"get /websocket HTTP/1.1\r\n" HOST REST "\r\n"},
	{"4.2.1", "by HTTP/1.0", NO_HANDSHAKE,
	"GET /websocket HTTP/1.0\r\n" HOST REST "\r\n"},
	{"4.2.1", "without Connection", NO_HANDSHAKE,
	LINE("/websocket") HOST UP THE_KEY VERSION "\r\n"},
	{"4.2.1", "Connection: keep-alive", NO_HANDSHAKE,
		LINE("/websocket") HOST UP "Connection: keep-alive\r\n" THE_KEY
	VERSION "\r\n"},
	{"9110 7.6.1", "Connection: upgrades", NO_HANDSHAKE,
		LINE("/websocket") HOST UP "Connection: upgrades\r\n" THE_KEY
	VERSION "\r\n"},
	{"4.2.1", "without Upgrade", NOT_FOUND,
	LINE("/websocket") HOST CONNECTION THE_KEY VERSION "\r\n"},
	{"9110 7.8", "Upgrade: websockets", NOT_FOUND,
		LINE("/websocket") HOST "Upgrade: websockets\r\n" CONNECTION THE_KEY
	VERSION "\r\n"},
	{"9113 3.1", "cleartext HTTP/2", NOT_FOUND,
		LINE("/") HOST "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings"
	"\r\nHTTP2-Settings: AAMA\r\n\r\n"},
	{"4.2.2", "the owner's refusal", "401",
		"{\"error\":\"Token has expired\"}",
	LINE("/websocket?apikey=no+good") HOST REST "\r\n"},
	{"9110 11.6.1", "... tells how to authenticate", "401",
		"WWW-Authenticate: Bearer\r\n",
	LINE("/websocket?apikey=no%20good") HOST REST "\r\n"},

	/* Where does the request end? */
	{"9112 6.1", "a handshake with a body", NO_HANDSHAKE,
	GOOD "Content-Length: 5\r\n\r\nhello"},
	{"9112 6.3", "two lengths", NO_HANDSHAKE,
	GOOD "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello"},
	{"9112 6.3", "a list of lengths", NO_HANDSHAKE,
	GOOD "Content-Length: 0, 5\r\n\r\nhello"},
	{"9110 8.6", "a length of +0", NO_HANDSHAKE,
	GOOD "Content-Length: +0\r\n\r\n"},
	{"9112 6.1", "a handshake with a body in chunks", NO_HANDSHAKE,
	GOOD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{"9112 6.1", "... and with a length", NO_HANDSHAKE,
		GOOD "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
	"0\r\n\r\n"},
	{"9112 6.1", "... coded in an odd way", NO_HANDSHAKE,
	GOOD "Transfer-Encoding:\tidentity\r\n\r\n"},
	{"9112 9.3", "two requests in one", NOT_FOUND,
	LINE("/") HOST "\r\n" LINE("/websocket") HOST REST "\r\n"},
	{"9112 6.3", "a body that looks like a request", NOT_FOUND,
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 30\r\n\r\n"
	LINE("/websocket") HOST REST "\r\n"},
	{"9112 7.1", "a body in chunks", "411", "Content-Length is missing",
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	"5\r\nhello\r\n0\r\n\r\n"},
	{"9112 5.2", "a folded header", BAD,
	LINE("/") HOST "X: 1\r\n 2\r\n\r\n"},
	{"9112 5.2", "... the first one", BAD, LINE("/") " " HOST "\r\n"},
	{"9112 5.1", "a space before a colon", BAD, LINE("/") "Host : a\r\n\r\n"},
	{"9112 5.1", "a header without a colon", BAD,
	LINE("/") HOST "X\r\n\r\n"},
	{"9112 5.1", "a header without a name", BAD,
	LINE("/") HOST ": x\r\n\r\n"},
	{"9110 5.1", "a name that is no token", BAD,
	LINE("/") HOST "X(y): z\r\n\r\n"},
	{"9110 5.5", "a control character in a value", BAD,
	LINE("/") HOST "X: a\x01\r\n\r\n"},
	{"9112 2.2", "a bare carriage return", BAD,
	LINE("/") HOST "X: a\rY: b\r\n\r\n"},
	{"9112 2.2", "a bare line feed", BAD, "GET / HTTP/1.1\nHost: a\r\n\r\n"},
	{"9112 2.2", "... in a header", BAD,
	LINE("/") HOST "X: a\nY: b\r\n\r\n"},

	/* The request line and Host */
	{"9112 3", "a plain request", NOT_FOUND, LINE("/") HOST "\r\n"},
	{"9112 9.6", "... which ends the connection", "404",
	"Connection: close\r\n", LINE("/") HOST "\r\n"},
	{"9112 3", "HTTP/1.0 without a host", NOT_FOUND,
	"GET / HTTP/1.0\r\n\r\n"},
	{"9112 3.2", "HTTP/1.1 without a host", BAD, LINE("/") "\r\n"},
	{"9112 3.2", "two hosts", BAD, LINE("/") HOST "Host: there\r\n\r\n"},
	{"9112 3.2", "... of HTTP/1.0", BAD,
	"GET / HTTP/1.0\r\n" HOST "Host: there\r\n\r\n"},
	{"9112 3", "no version", BAD, "GET /\r\n" HOST "\r\n"},
	{"9112 2.3", "HTTP/1.2", "505", "error", "GET / HTTP/1.2\r\n" HOST "\r\n"},
	{"9112 2.3", "HTTP/2.0, as its preface has it", "505", "error",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"9112 2.3", "http/1.1 in small letters", BAD,
	"GET / http/1.1\r\n" HOST "\r\n"},
	{"9112 3", "two spaces", BAD, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
	{"9112 3", "a space in the target", BAD,
	"GET /a b HTTP/1.1\r\n" HOST "\r\n"},
	{"9112 3", "a tab for a space", BAD, "GET\t/\tHTTP/1.1\r\n" HOST "\r\n"},
	{"9112 3.2", "a target without a slash", BAD,
	"GET x HTTP/1.1\r\n" HOST "\r\n"},
	{"9112 3.2.3", "CONNECT", BAD, "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n"},
	{"9112 2.2", "an empty line first", BAD, "\r\n\r\n" GOOD "\r\n"},
	{"9112 3", "TLS", BAD, "\x16\x03\x01\x02\x01\xfc\x03\x03\r\n\r\n"},
};

/* Does the answer begin with the status, hold the part, and end? */
static void
refused(const test_case *c, int fd)
{
	char		answer[4096];
	ssize_t		len = hear(fd, answer, sizeof(answer) - 1);

	answer[len > 0 ? len : 0] = '\0';
	check(strncmp(answer, "HTTP/1.1 ", 9) == 0 &&
		  strncmp(answer + 9, c->status, 3) == 0 &&
		  strstr(answer, c->part) != NULL, "(%s) %s: %s",
		  c->section, c->name, c->status);
}

/* The same of a handshake that succeeds; then it echoes. */
static void
switched(const test_case *c, int fd)
{
	char		head[1024];

	hear_head(fd, head, sizeof(head));
	check(strncmp(head, "HTTP/1.1 101 ", 13) == 0 &&
		  strstr(head, c->part) != NULL &&
		  strstr(head, "Sec-WebSocket-Protocol") == NULL &&
		  strstr(head, "Sec-WebSocket-Extensions") == NULL &&
		  echoes(fd, "hello"), "(%s) %s: switched", c->section, c->name);
}

static void
run(const test_case *c)
{
	int			fd = dial();

	say(fd, c->request, strlen(c->request));
	(strcmp(c->status, "101") == 0 ? switched : refused) (c, fd);
	close(fd);
}

/* What is agreed on is in the answer; rfc7692_test.c has the rest. */
static void
run_compressed(void)
{
	static const char request[] = GOOD EXTENSIONS "x-odd\r\n"
		EXTENSIONS "permessage-deflate; server_max_window_bits=10\r\n\r\n";
	static const char compressed[] = "\xf2\x48\xcd\xc9\xc9\x07";
	char		head[1024];
	int			fd = dial();

	say(fd, request, strlen(request));
	hear_head(fd, head, sizeof(head));
	check(strstr(head, "\r\nSec-WebSocket-Extensions: permessage-deflate;"
				 " server_no_context_takeover; client_no_context_takeover;"
				 " server_max_window_bits=10\r\n\r\n") != NULL,
		  "(7692 7.1.2.1) compression is agreed on");

	/* With a zero byte, which belongs to it. */
	frame(fd, 0xc1, compressed, sizeof(compressed));
	check(receives(fd, 0x81, "Hello"), "... and understood");
	close(fd);
}

/* A request with a header of so many bytes, and with so many headers. */
static void
run_sized(const char *name, size_t size, int headers, const char *status,
		  const char *part)
{
	char		big[20000] = LINE("/") HOST;
	test_case	c = {"9110 5.4", name, status, part, big};

	for (int i = 0; i < headers; i++)
		strcat(big, "a: b\r\n");
	strcat(big, "X: ");
	memset(big + strlen(big), 'a', size - strlen(big) - 4);
	big[size - 4] = '\0';
	strcat(big, "\r\n\r\n");
	run(&c);
}

/* A zero byte, which the table cannot hold. */
static void
run_with_zero(void)
{
	static const char request[] = LINE("/") "Ho\0st: a\r\n\r\n";
	test_case	c = {"9110 5.5", "a zero byte", BAD, request};
	int			fd = dial();

	say(fd, request, sizeof(request) - 1);
	refused(&c, fd);
	close(fd);
}

/* A head of any length that does not end. */
static void
run_endless(void)
{
	test_case	c = {"9110 5.4", "a head without an end", TOO_LARGE, NULL};
	char		line[1000] = LINE("/");
	int			fd = dial();

	say(fd, line, strlen(line));
	memset(line, 'a', sizeof(line));
	for (int i = 0; i < 20; i++)
		say(fd, line, sizeof(line));
	refused(&c, fd);
	close(fd);
}

int
main(void)
{
	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		run(&cases[i]);
	run_sized("a head of 16 kB", HTTP_MAX_HEAD, 0, NOT_FOUND);
	run_sized("one byte more", HTTP_MAX_HEAD + 1, 0, TOO_LARGE);
	run_sized("100 headers", 2000, HTTP_MAX_HEADERS - 2, NOT_FOUND);
	run_sized("101 headers", 2000, HTTP_MAX_HEADERS - 1, TOO_LARGE);
	run_compressed();
	run_endless();
	run_with_zero();
	stop();
	return check_done();
}
