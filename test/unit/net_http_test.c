/*-------------------------------------------------------------------------
 *
 * net_http_test.c
 *	  Requests with bodies, and their answers, as bytes on a socket.
 *
 * What the owner answers is in net_world.h.
 *
 *-------------------------------------------------------------------------
 */
#include "net_world.h"

#define KEEP	"Host: here\r\n"
#define HOST	KEEP "Connection: close\r\n"
#define LENGTH(n)	"Content-Length: " #n "\r\n"

/* All that comes for a request, terminated. */
static const char *
answer_to(const char *request)
{
	static char answer[4096];
	int			fd = dial();
	ssize_t		n;

	say(fd, request, strlen(request));
	n = hear(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	close(fd);
	return answer;
}

static const char *
body_of(const char *answer)
{
	const char *end = strstr(answer, "\r\n\r\n");

	return end != NULL ? end + 4 : "no answer";
}

static void
test_requests(void)
{
	static const struct
	{
		const char *name;
		const char *request;
		int			status;
		const char *body;
	}			cases[] = {
		{"a body", "POST /echo HTTP/1.1\r\n" HOST LENGTH(5) "\r\nhello", 202,
		"hello"},
		{"no body", "POST /echo HTTP/1.1\r\n" HOST LENGTH(0) "\r\n", 202, ""},
		{"no length is no body", "POST /sum HTTP/1.1\r\n" HOST "\r\nrest", 202,
		"0:0:1"},
		{"HTTP/1.0", "POST /echo HTTP/1.0\r\n" LENGTH(2) "\r\nok", 202, "ok"},
		{"what comes behind the body is not read",
			"POST /echo HTTP/1.1\r\n" HOST LENGTH(2) "\r\nok"
			"POST /echo HTTP/1.1\r\n" HOST LENGTH(4) "\r\nmore", 202, "ok"},
		{"whole requests behind it neither",
			"POST /echo HTTP/1.1\r\n" HOST LENGTH(0) "\r\n"
			"POST /echo HTTP/1.1\r\n" HOST LENGTH(4) "\r\nmore", 202, ""},
		{"chunks", "POST /echo HTTP/1.1\r\n" HOST
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411,
		"{\"error\":\"Content-Length is missing\"}"},
		{"chunks with a length", "POST /echo HTTP/1.1\r\n" HOST LENGTH(5)
			"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400,
		"{\"error\":\"length of the request is not valid\"}"},
		{"two lengths", "POST /echo HTTP/1.1\r\n" HOST LENGTH(5) LENGTH(5)
			"\r\nhello", 400,
		"{\"error\":\"length of the request is not valid\"}"},
		{"a negative length", "POST /echo HTTP/1.1\r\n" HOST LENGTH(-5)
			"\r\n", 400, "{\"error\":\"length of the request is not valid\"}"},
		{"a length with a sign", "POST /echo HTTP/1.1\r\n" HOST LENGTH(+5)
			"\r\nhello", 400,
		"{\"error\":\"length of the request is not valid\"}"},
		{"a list of lengths", "POST /echo HTTP/1.1\r\n" HOST
			"Content-Length: 5, 5\r\n\r\nhello", 400,
		"{\"error\":\"length of the request is not valid\"}"},
		{"an empty length", "POST /echo HTTP/1.1\r\n" HOST
			"Content-Length: \r\n\r\nhello", 400,
		"{\"error\":\"length of the request is not valid\"}"},
		{"a length beyond all numbers", "POST /echo HTTP/1.1\r\n" HOST
			LENGTH(18446744073709551617) "\r\nhello", 400,
		"{\"error\":\"length of the request is not valid\"}"},
		{"a body that is not wanted", "POST /echo HTTP/1.1\r\n" HOST
			LENGTH(999999999999999) "\r\nhello", 413,
		"{\"error\":\"not found\"}"},
		{"another path", "GET /other HTTP/1.1\r\n" HOST "\r\n", 404,
		"{\"error\":\"not found\"}"},
		{"HEAD has no body", "HEAD /other HTTP/1.1\r\n" HOST "\r\n", 404, ""},
		{"HEAD has none when all is well", "HEAD /echo HTTP/1.1\r\n" HOST
			LENGTH(2) "\r\nok", 202, ""},
		{"another expectation", "POST /echo HTTP/1.1\r\n" HOST LENGTH(2)
			"Expect: a miracle\r\n\r\nok", 417,
		"{\"error\":\"expectation cannot be met\"}"},
		{"an expectation that is met already", "POST /echo HTTP/1.1\r\n" HOST
			LENGTH(2) "Expect: 100-continue\r\n\r\nok", 202, "ok"}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *answer = answer_to(cases[i].request);
		char		status[32];

		snprintf(status, sizeof(status), "HTTP/1.1 %d ", cases[i].status);
		check(strncmp(answer, status, strlen(status)) == 0,
			  "%s: %d", cases[i].name, cases[i].status);
		check_str(body_of(answer), cases[i].body, "%s: body", cases[i].name);
		check(strstr(answer, "\r\nConnection: close\r\n") != NULL,
			  "%s: that is all", cases[i].name);
	}
}

/* A whole answer of /sum or /echo, from a connection that stays open. */
static bool
answers_with(int fd, const char *request, const char *body)
{
	char		head[1024];
	char		text[64] = "";

	say(fd, request, strlen(request));
	hear_head(fd, head, sizeof(head));
	hear(fd, text, strlen(body));
	return strncmp(head, "HTTP/1.1 202 ", 13) == 0 &&
		strstr(head, "Connection: close") == NULL &&
		strcmp(text, body) == 0;
}

static void
test_keeping(void)
{
	static const char echo[] = "POST /echo HTTP/1.1\r\n" KEEP LENGTH(2)
		"\r\nok";
	char		answer[1024];
	int			fd = dial();
	int			good = 0;
	ssize_t		n;

	for (int i = 0; i < 100; i++)
		good += answers_with(fd, echo, "ok");
	check_int(good, 100, "a hundred requests over one connection");
	check(answers_with(fd, "HEAD /echo HTTP/1.1\r\n" KEEP LENGTH(2)
					   "\r\nok", ""), "one without a body in its answer");
	check(answers_with(fd, "GET /sum HTTP/1.1\r\n" KEEP "\r\n", "0:0:1"),
		  "one without a body");
	say(fd, "POST /ech", 9);
	usleep(20000);
	check(answers_with(fd, "o HTTP/1.1\r\n" KEEP LENGTH(2) "\r\nok", "ok"),
		  "one in pieces");

	/* Two at once: one is answered, the other is not served. */
	memcpy(answer, echo, sizeof(echo) - 1);
	memcpy(answer + sizeof(echo) - 1, echo, sizeof(echo) - 1);
	say(fd, answer, 2 * (sizeof(echo) - 1));
	n = hear(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	check(strncmp(answer, "HTTP/1.1 202 ", 13) == 0 &&
		  strstr(answer, "\r\nConnection: close\r\n") != NULL,
		  "of two at once the first is answered, and that is all");
	check_str(body_of(answer), "ok", "... as it is");
	close(fd);

	fd = dial();
	say(fd, "POST /late HTTP/1.1\r\n" KEEP LENGTH(0) "\r\n", 54);
	usleep(20000);
	say(fd, "x", 1);
	close(fd);
	fd = dial();
	check(answers_with(fd, echo, "ok"), "who is impatient harms nobody");
	say(fd, "nonsense\r\n\r\n", 12);
	n = hear(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	check(strncmp(answer, "HTTP/1.1 400 ", 13) == 0 &&
		  strstr(answer, "\r\nConnection: close\r\n") != NULL,
		  "nonsense ends it");
	close(fd);
}

/* Answers that nobody reads take memory, but not any amount. */
static void
test_unread(void)
{
	static char large[1024 * 1024];
	static const char ask[] = "POST /echo HTTP/1.1\r\n" KEEP
		LENGTH(1048576) "\r\n";
	int			fds[MAX_CONNECTIONS - 2];
	char		head[1024];
	int			n = sizeof(fds) / sizeof(fds[0]);
	int			fd;

	memset(large, 'x', sizeof(large));
	for (int i = 0; i < n; i++)
	{
		int			little = 4096;

		/* So that the kernel does not take the answer for the reader. */
		fds[i] = dial();
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
		say(fds[i], ask, sizeof(ask) - 1);
		say(fds[i], large, sizeof(large));
		hear_head(fds[i], head, sizeof(head));
	}
	check(strncmp(head, "HTTP/1.1 503 ", 13) == 0,
		  "a large answer too many is not given");
	fd = dial();
	check(answers_with(fd, "POST /echo HTTP/1.1\r\n" KEEP LENGTH(2)
					   "\r\nok", "ok"), "a small one is");
	close(fd);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	usleep(200000);
	fd = dial();
	say(fd, ask, sizeof(ask) - 1);
	say(fd, large, sizeof(large));
	hear_head(fd, head, sizeof(head));
	check(strncmp(head, "HTTP/1.1 202 ", 13) == 0,
		  "and a large one, once there is room");
	close(fd);
}

/* The same request, cut at each place. */
static void
test_splits(void)
{
	static const char request[] = "POST /echo HTTP/1.1\r\n" HOST LENGTH(5)
		"\r\nhello";
	char		answer[1024];
	int			good = 0;

	for (size_t cut = 1; cut < sizeof(request) - 1; cut++)
	{
		int			fd = dial();
		ssize_t		n;

		say(fd, request, cut);
		usleep(1000);
		say(fd, request + cut, sizeof(request) - 1 - cut);
		n = hear(fd, answer, sizeof(answer) - 1);
		answer[n > 0 ? n : 0] = '\0';
		good += strcmp(body_of(answer), "hello") == 0;
		close(fd);
	}
	check_int(good, sizeof(request) - 2, "in two pieces, cut at any place");
}

static void
test_large(void)
{
	static char body[1024 * 1024];
	char		head[128];
	char		wanted[64];
	char		answer[1024];
	ssize_t		n;
	int			fd = dial();

	memset(body, 'a', sizeof(body));
	n = snprintf(head, sizeof(head), "POST /sum HTTP/1.1\r\n" HOST
				 "Expect: 100-continue\r\nContent-Length: %zu\r\n\r\n",
				 sizeof(body));
	say(fd, head, n);
	hear_head(fd, answer, sizeof(answer));
	check_str(answer, "HTTP/1.1 100 Continue\r\n\r\n", "the body may come");
	say(fd, body, sizeof(body));
	n = hear(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	snprintf(wanted, sizeof(wanted), "%zu:%zu:1", sizeof(body),
			 sizeof(body) * 'a');
	check_str(body_of(answer), wanted, "a large body arrives whole");
	close(fd);
}

/* Bodies that are announced and do not come, more than there is room for. */
static void
test_hoarders(void)
{
	static const char head[] = "POST /echo HTTP/1.1\r\n" HOST
		LENGTH(1048576) "\r\nx";
	int			fds[MAX_CONNECTIONS - 10];
	const int	count = sizeof(fds) / sizeof(fds[0]);
	const char *answer;
	char		byte;
	int			gone = 0;

	for (int i = 0; i < count; i++)
	{
		fds[i] = dial();
		say(fds[i], head, sizeof(head) - 1);
	}
	answer = answer_to("POST /sum HTTP/1.1\r\n" HOST LENGTH(1) "\r\n1");
	check(strncmp(answer, "HTTP/1.1 202 ", 13) == 0,
		  "others are served meanwhile: %s", body_of(answer));
	for (int i = 0; i < count; i++)
		gone += recv(fds[i], &byte, 1, i < count - 16 ? 0 : MSG_DONTWAIT) < 0 &&
			errno != EAGAIN;
	check_int(gone, count - 16, "the oldest of %d had to go", count);
	for (int i = 0; i < count; i++)
		close(fds[i]);
}

static int
ask_for(const char *path)
{
	char		request[128];
	int			fd = dial();

	say(fd, request, snprintf(request, sizeof(request),
							  "POST %s HTTP/1.1\r\n" HOST "\r\n", path));
	return fd;
}

static void
test_late_answers(void)
{
	static const char now[] = "POST /now HTTP/1.1\r\n" HOST "\r\n";
	char		answer[1024];
	ssize_t		n;
	int			fd = ask_for("/late");

	while (strcmp(body_of(answer_to(now)), "it was") != 0)
		;
	n = hear(fd, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	check_str(body_of(answer), "late", "an answer may come later");
	check(strstr(answer, "\r\nX-Test: yes\r\n") != NULL, "with its headers");
	close(fd);

	/* Somebody who does not wait for it. */
	close(ask_for("/late"));
	do
		n = strtol(strrchr(body_of(answer_to("POST /sum HTTP/1.1\r\n" HOST
											 "\r\n")), ':') + 1, NULL, 10);
	while (n > 1);
	check(n == 1, "who goes is forgotten");
	check_str(body_of(answer_to(now)), "nobody",
			  "nobody waits");
}

static void
test_deadlines(void)
{
	struct
	{
		const char *name;
		int			fd;
		const char *begin;
		const char *drip;
		double		least;
		double		most;
		double		took;
	}			clients[] = {
		{"a body that drips", dial(), "POST /echo HTTP/1.1\r\n" HOST
		LENGTH(1000) "\r\nx", "x", 9, 13, 0},
		{"a body that does not come", dial(), "POST /echo HTTP/1.1\r\n" HOST
		LENGTH(1000) "\r\n", NULL, 9, 13, 0},
		{"an answer that does not come", dial(), "POST /late HTTP/1.1\r\n"
		HOST "\r\n", "x", 6, 10, 0}
	};
	const int	count = sizeof(clients) / sizeof(clients[0]);
	int			expiring = ask_for("/expire");
	char		answer[1024];
	double		start = seconds();
	int			alive = count;
	ssize_t		n;

	for (int i = 0; i < count; i++)
		say(clients[i].fd, clients[i].begin, strlen(clients[i].begin));
	while (alive > 0 && seconds() - start < 2 * PATIENCE_S)
	{
		usleep(250000);
		for (int i = 0; i < count; i++)
		{
			char		byte;

			if (clients[i].took > 0)
				continue;
			n = recv(clients[i].fd, &byte, 1, MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
			{
				clients[i].took = seconds() - start;
				alive--;
			}
			else if (clients[i].drip)
				say(clients[i].fd, clients[i].drip, 1);
		}
	}
	for (int i = 0; i < count; i++)
	{
		check(clients[i].took > clients[i].least &&
			  clients[i].took < clients[i].most,
			  "%s ends after %.1f s", clients[i].name, clients[i].took);
		close(clients[i].fd);
	}
	n = hear(expiring, answer, sizeof(answer) - 1);
	answer[n > 0 ? n : 0] = '\0';
	check(strncmp(answer, "HTTP/1.1 503 ", 13) == 0 &&
		  strstr(answer, "\r\nRetry-After: ") != NULL &&
		  strcmp(body_of(answer), "expired") == 0,
		  "the owner may say so itself");
	close(expiring);
}

int
main(void)
{
	start();
	test_requests();
	test_keeping();
	test_unread();
	test_splits();
	test_large();
	test_hoarders();
	test_late_answers();
	test_deadlines();
	stop();
	return check_done();
}
