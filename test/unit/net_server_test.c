/*-------------------------------------------------------------------------
 *
 * net_server_test.c
 *	  The socket server as a client meets it, byte by byte.
 *
 *-------------------------------------------------------------------------
 */
#include "net_world.h"

/*
 * The tests
 */

/* Send a request; the answer begins with status, holds body, and ends. */
static void
refused(const char *name, const char *request, const char *status,
		const char *body)
{
	int			fd = dial();
	char		answer[4096];
	ssize_t		len;

	say(fd, request, strlen(request));
	len = hear(fd, answer, sizeof(answer) - 1);
	answer[len > 0 ? len : 0] = '\0';
	check(strncmp(answer, "HTTP/1.1 ", 9) == 0 &&
		  strncmp(answer + 9, status, strlen(status)) == 0 &&
		  strstr(answer, body) != NULL, "%s: %s", name, status);
	close(fd);
}

static void
test_handshake(void)
{
	char		big[20000];
	int			fd = join();

	check(echoes(fd, "hello"), "a handshake, and an echo");
	close(fd);

	fd = dial();
	for (const char *c = UPGRADE; *c; c++)
		say(fd, c, 1);
	hear_head(fd, big, sizeof(big));
	check(strncmp(big, "HTTP/1.1 101 ", 13) == 0,
		  "a handshake in single bytes");
	check(echoes(fd, "hello"), "... and an echo");
	close(fd);

	fd = dial();
	memcpy(big, UPGRADE, strlen(UPGRADE));
	say(fd, big, strlen(UPGRADE) +
		build((uint8_t *) big + strlen(UPGRADE), 0x81, "early", 5));
	hear_head(fd, big, sizeof(big));
	check(hear(fd, big, 7) == 7 && memcmp(big, "\x81\x05" "early", 7) == 0,
		  "a message that comes with the request is heard");
	close(fd);

	refused("plain request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			"404", "{\"error\":\"not found\"}");
	refused("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "404", "Connection: close");
	refused("two requests in one", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404", "not found");
	refused("a body", "POST /api HTTP/1.1\r\nHost: a\r\n"
			"Content-Length: 20\r\n\r\n01234567890123456789",
			"404", "not found");
	refused("a body in chunks", "POST / HTTP/1.1\r\nHost: a\r\n"
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"404", "not found");
	refused("cleartext HTTP/2", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n"
			"Connection: Upgrade, HTTP2-Settings\r\n"
			"HTTP2-Settings: AAMA\r\n\r\n",
			"404", "not found");
	refused("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"505", "error");
	refused("the owner's refusal", "GET /websocket?apikey=no+good HTTP/1.1\r\n"
			"Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
			"401", "{\"error\":\"Token has expired\"}");
	refused("version 8", "GET /websocket HTTP/1.1\r\nHost: a\r\n"
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 8\r\n\r\n",
			"426", "Sec-WebSocket-Version: 13\r\n");
	refused("no key", "GET /websocket HTTP/1.1\r\nHost: a\r\n"
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Version: 13\r\n\r\n", "400", "error");
	refused("short key", "GET /websocket HTTP/1.1\r\nHost: a\r\n"
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Key: c2hvcnQ=\r\n"
			"Sec-WebSocket-Version: 13\r\n\r\n", "400", "error");
	refused("upgrade by POST", "POST /websocket HTTP/1.1\r\nHost: a\r\n"
			"Upgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
			"400", "error");
	refused("TLS", "\x16\x03\x01\x02\x01\xfc\x03\x03\r\n\r\n", "400", "error");
	refused("no host", "GET / HTTP/1.1\r\n\r\n", "400", "error");
	refused("folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
			"400", "error");
	refused("space before a colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
			"400", "error");
	refused("bare line feed", "GET / HTTP/1.1\nHost: a\r\n\r\n",
			"400", "error");

	memset(big, 'a', sizeof(big));
	memcpy(big, "GET / HTTP/1.1\r\nX: ", 19);
	big[sizeof(big) - 1] = '\0';
	refused("20 kB of headers", big, "431", "error");
	memcpy(big, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
	memcpy(big + 15000, "\r\n\r\n", 5);
	refused("15 kB of headers", big, "404", "not found");
	big[0] = '\0';
	strcat(big, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < 101; i++)
		strcat(big, "a: b\r\n");
	strcat(big, "\r\n");
	refused("101 headers", big, "431", "error");
}

/* Send bytes to a new connection: it is closed with that code. */
static void
closes(const char *name, int code, const void *bytes, size_t len)
{
	int			fd = join();
	int			got;
	char		rest[16];

	say(fd, bytes, len);
	got = close_code(fd);
	check(got == code && hear(fd, rest, sizeof(rest)) == 0,
		  "%s: closed with %d, as %d", name, got, code);
	close(fd);
}

#define CLOSES(name, code, bytes) closes(name, code, bytes, sizeof(bytes) - 1)

static void
test_messages(void)
{
	char		data[MAX_MESSAGE + 1];
	uint8_t		bytes[64];
	size_t		len;
	int			fd = join();

	frame(fd, 0x01, "Hel", 3);
	frame(fd, 0x89, "ping", 4);
	check(receives(fd, 0x8a, "ping"),
		  "a ping within a message is answered");
	frame(fd, 0x00, "", 0);
	frame(fd, 0x8a, "unasked", 7);
	frame(fd, 0x80, "lo", 2);
	check(receives(fd, 0x81, "Hello"),
		  "a message in fragments");
	frame(fd, 0x82, "\0\xff", 2);
	check(next(fd, data, sizeof(data), &len) == 0x82 && len == 2,
		  "a binary message");
	frame(fd, 0x81, "", 0);
	check(next(fd, data, sizeof(data), &len) == 0x81 && len == 0,
		  "an empty message");
	frame(fd, 0x01, "\xe2\x82", 2);
	frame(fd, 0x80, "\xac", 1);
	check(receives(fd, 0x81, "\xe2\x82\xac"), "a character in two fragments");
	len = build(bytes, 0x81, "drip", 4);
	for (size_t i = 0; i < len; i++)
		say(fd, bytes + i, 1);
	check(receives(fd, 0x81, "drip"),
		  "a frame in single bytes");
	memset(data, 'm', MAX_MESSAGE);
	frame(fd, 0x81, data, MAX_MESSAGE);
	check(next(fd, data, sizeof(data), &len) == 0x81 && len == MAX_MESSAGE,
		  "the largest message");
	frame(fd, 0x88, "\x03\xe8" "bye", 5);
	check(close_code(fd) == 1000 && hear(fd, data, 1) == 0,
		  "a close is answered with its code");
	close(fd);

	fd = join();
	frame(fd, 0x88, "", 0);
	check(close_code(fd) == 1005 && hear(fd, data, 1) == 0,
		  "a close without a code is answered without one");
	close(fd);

	fd = join();
	text(fd, "close");
	check(close_code(fd) == 1012, "the server closes");
	check(!echoes(fd, "ignored"), "... hears no more messages");
	frame(fd, 0x88, "\x03\xf4", 2);
	check(hear(fd, data, 1) == 0, "... and waits for the client's close");
	close(fd);

	/* A client that just goes away, in every state. */
	close(dial());
	fd = dial();
	say(fd, UPGRADE, 20);
	close(fd);
	fd = join();
	frame(fd, 0x01, "half", 4);
	close(fd);
}

static void
test_violations(void)
{
	char		big[MAX_MESSAGE];
	uint8_t		out[MAX_MESSAGE + 64];
	size_t		len;

	memset(big, 'm', sizeof(big));
	len = build(out, 0x01, big, sizeof(big));
	len += build(out + len, 0x80, "m", 1);
	closes("a message too big by its second fragment", 1009, out, len);

	CLOSES("a frame of 16 kB and one byte", 1009, "\x81\xfe\x40\x01....");
	CLOSES("a frame of 2^40 bytes", 1009, "\x82\xff\0\0\x01\0\0\0\0\0....");
	CLOSES("a frame of 2^63 bytes", 1002, "\x82\xff\x80\0\0\0\0\0\0\0....");
	CLOSES("a length in more bytes than needed", 1002,
		    "\x81\xfe\0\x05....hello");
	CLOSES("... and in eight", 1002, "\x81\xff\0\0\0\0\0\0\xff\xff....");
	CLOSES("a frame that is not masked", 1002, "\x81\x05hello");
	CLOSES("a ping that is not masked", 1002, "\x89\x00");
	CLOSES("a close that is not masked", 1002, "\x88\x02\x03\xe8");
	CLOSES("a reserved bit", 1002, "\xc1\x85\0\0\0\0hello");
	CLOSES("a reserved opcode", 1002, "\x83\x85\0\0\0\0hello");
	CLOSES("a reserved control opcode", 1002, "\x8b\x80\0\0\0\0");
	CLOSES("a fragmented ping", 1002, "\x09\x80\0\0\0\0");
	CLOSES("a ping of 126 bytes", 1002, "\x89\xfe\0\x7e\0\0\0\0");
	CLOSES("a continuation of nothing", 1002, "\x80\x85\0\0\0\0hello");
	CLOSES("a message within a message", 1002,
		    "\x01\x81\0\0\0\0h\x81\x81\0\0\0\0h");
	CLOSES("bad UTF-8", 1007, "\x81\x82\0\0\0\0\xc3\x28");
	CLOSES("a surrogate in UTF-8", 1007, "\x81\x83\0\0\0\0\xed\xa0\x80");
	CLOSES("an overlong form in UTF-8", 1007, "\x81\x82\0\0\0\0\xc0\xaf");
	CLOSES("half a character", 1007, "\x81\x82\0\0\0\0\xe2\x82");
	CLOSES("bad UTF-8 before its frame has ended", 1007,
		    "\x81\x8a\0\0\0\0\xff");
	CLOSES("a close of one byte", 1002, "\x88\x81\0\0\0\0\x03");
	CLOSES("a close code that is reserved", 1002,
		    "\x88\x82\0\0\0\0\x03\xed");
	CLOSES("a close code out of range", 1002, "\x88\x82\0\0\0\0\xff\xff");
	CLOSES("a close reason that is not UTF-8", 1007,
		    "\x88\x83\0\0\0\0\x03\xe8\xff");
}

static void
test_garbage(void)
{
	unsigned	seed = 20;
	int			reached = 0;

	for (int round = 0; round < 200; round++)
	{
		uint8_t		noise[512];
		int			fd = round % 2 ? join() : dial();

		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = rand_r(&seed) >> 8;
		if (round % 4 == 1)
			noise[0] = 0x81, noise[1] |= 0x80;
		say(fd, noise, sizeof(noise));
		shutdown(fd, SHUT_WR);
		hear(fd, noise, sizeof(noise));
		close(fd);
		reached++;
	}
	check(reached == 200, "garbage of 200 connections");
}

static void
test_output(void)
{
	static char data[1 << 20];
	size_t		len;
	int			fd = join();
	int			other = join();
	int			small = 8192;
	double		start;
	int			n;

	text(fd, "burst 1000 300");
	for (n = 0; n < 1000; n++)
		if (next(fd, data, sizeof(data), &len) != 0x81 || len != 300)
			break;
	check(n == 1000, "a burst of 1,000 frames");

	text(fd, "burst 3 1000000");
	for (n = 0; n < 3; n++)
		if (next(fd, data, sizeof(data), &len) != 0x81 || len != 1000000)
			break;
	check(n == 3, "frames larger than any buffer");
	check(echoes(fd, "still there"), "... after which the server reads again");

	/* Ask for 16 MB and read nothing. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	text(fd, "burst 16 1000000");
	for (n = 0; n < 100; n++)
		text(fd, "more input that the server must not collect");
	start = seconds();
	for (n = 0; n < 100; n++)
		if (!echoes(other, "quick"))
			break;
	check(n == 100 && seconds() - start < 2,
		  "a client that does not read delays nobody else");

	n = ask(other, "turns");
	sleep(2);
	n = ask(other, "turns") - n;
	check(n < 20, "... and keeps nobody awake (%d turns in 2 s)", n);

	text(fd, "cut");
	while ((n = ask(other, "connections")) > 1 &&
		   seconds() - start < PATIENCE_S)
		usleep(100000);
	check(n == 1, "... and is cut off when its time is up");
	close(fd);

	fd = join();
	text(fd, "cut");
	check(close_code(fd) == 1013, "a cut of a reader that keeps up is a close");
	close(fd);
	close(other);
}

/*
 * Clients that keep the server waiting, each in its own way, at once: how long
 * until it has had enough?
 */
static void
test_deadlines(void)
{
	struct
	{
		const char *name;
		int			fd;
		const char *drip;
		double		least;
		double		most;
		double		took;
	}			clients[] = {
		{"a connection without a request", dial(), NULL, 9, 13, 0},
		{"a request in drips", dial(), "a", 9, 13, 0},
		{"a close that is not answered", join(), NULL, 4, 8, 0},
		{"a message that does not end", join(), "\x89\x80\0\0\0\0", 18, 24, 0}
	};
	const int	count = sizeof(clients) / sizeof(clients[0]);
	double		start = seconds();
	int			alive = count;

	text(clients[2].fd, "close");
	close_code(clients[2].fd);
	frame(clients[3].fd, 0x01, "never ends", 10);

	while (alive > 0 && seconds() - start < 2 * PATIENCE_S)
	{
		usleep(250000);
		for (int i = 0; i < count; i++)
		{
			char		input[64];
			ssize_t		n = recv(clients[i].fd, input, sizeof(input),
								 MSG_DONTWAIT);

			if (clients[i].took > 0)
				continue;
			if (n == 0 || (n < 0 && errno != EAGAIN))
			{
				clients[i].took = seconds() - start;
				alive--;
			}
			else if (clients[i].drip)
				say(clients[i].fd, clients[i].drip, i == 3 ? 6 : 1);
		}
	}

	for (int i = 0; i < count; i++)
	{
		check(clients[i].took > clients[i].least &&
		   clients[i].took < clients[i].most,
		   "%s ends after %.1f s", clients[i].name, clients[i].took);
		close(clients[i].fd);
	}
}

static void
test_limits(void)
{
	int			fds[MAX_CONNECTIONS];
	char		head[1024];
	int			extra;
	int			n;

	for (n = 0; n < MAX_CONNECTIONS; n++)
		fds[n] = join();
	extra = join();
	check(close_code(extra) == 1013, "one connection too many is sent away");
	close(extra);
	extra = dial();
	say(extra, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
	hear_head(extra, head, sizeof(head));
	check(strncmp(head, "HTTP/1.1 503 ", 13) == 0 &&
		  strstr(head, "Retry-After: ") != NULL, "... in HTTP's way, too");
	close(extra);

	for (n = 0; n < MAX_CONNECTIONS; n++)
		if (!echoes(fds[n], "here"))
			break;
	check(n == MAX_CONNECTIONS, "the others notice nothing");

	n = ask(fds[0], "turns");
	sleep(2);
	n = ask(fds[0], "turns") - n;
	check(n <= 6, "idle connections cost nothing: %d turns in 2 s", n);

	for (n = 1; n < MAX_CONNECTIONS; n++)
		close(fds[n]);
	while ((n = ask(fds[0], "connections")) > 1)
		usleep(10000);
	for (n = 0; n < 2000; n++)
	{
		extra = join();
		if (!echoes(extra, "again"))
			break;
		close(extra);
	}
	check(n == 2000, "2,000 connections, one after the other");
	close(fds[0]);
}

/* The process has descriptors for five more sockets at most. */
static void
test_files(void)
{
	int			control = join();
	int			fds[20];
	char		head[1024];
	int			served = 0;
	int			n;

	ask(control, "files 5");
	for (n = 0; n < 20; n++)
	{
		fds[n] = dial();
		say(fds[n], UPGRADE, strlen(UPGRADE));
	}
	for (n = 0; n < 20; n++)
	{
		hear_head(fds[n], head, sizeof(head));
		served += strncmp(head, "HTTP/1.1 101 ", 13) == 0;
	}
	check(served > 0 && served <= 5,
		  "%d of 20 connections have a descriptor", served);
	check(echoes(control, "fine"), "... and the others do no harm");
	n = ask(control, "turns");
	sleep(2);
	n = ask(control, "turns") - n;
	check(n <= 6, "... and keep nobody awake: %d turns in 2 s", n);

	ask(control, "files -1");
	for (n = 0; n < 20; n++)
		close(fds[n]);
	fds[0] = join();
	check(echoes(fds[0], "served"), "afterwards all is well");
	close(fds[0]);
	close(control);
}

static void
test_shutdown(pid_t child)
{
	int			fd = join();
	int			status;

	check(echoes(fd, "before"), "before the end");
	kill(child, SIGTERM);
	check(close_code(fd) == 1012, "everybody is told of the end");
	waitpid(child, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		  "the server ends well, and leaks nothing");
	close(fd);
}

int
main(void)
{
	int			ready[2];
	pid_t		child;
	char		byte;

	port = free_port();
	if (pipe(ready) != 0 || (child = fork()) < 0)
		bail_out("could not start: %s", strerror(errno));
	if (child == 0)
		serve(ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		bail_out("the server did not start");

	test_handshake();
	test_messages();
	test_violations();
	test_garbage();
	test_output();
	test_deadlines();
	test_limits();
	test_files();
	test_shutdown(child);
	return check_done();
}
