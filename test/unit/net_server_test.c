/*-------------------------------------------------------------------------
 *
 * net_server_test.c
 *	  The socket server as clients meet it: coming and going, bursts, limits
 *	  and deadlines.
 *
 * What the bytes of a handshake and of frames may be is in tables of their own,
 * rfc6455_handshake_test.c and rfc6455_frames_test.c.
 *
 *-------------------------------------------------------------------------
 */
#include "net_world.h"

/* More than the server has beside those that it serves. */
#define MAX_IDLERS	100

static void
test_handshake(void)
{
	char		big[1024];
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
}

/* Pongs reach the owner, in order with messages, until it closes. */
static void
test_pongs(void)
{
	int			fd = join();
	int			other = join();

	frame(fd, 0x8a, "12345678", 8);
	frame(fd, 0x8a, "", 0);
	check(ask(fd, "pongs") == 2, "pongs come in, with data or without");
	text(fd, "close");
	check(close_code(fd) == 1012, "(closed)");
	frame(fd, 0x8a, "late", 4);
	frame(fd, 0x88, "\x03\xf4", 2);
	close(fd);
	check(ask(other, "pongs") == 2, "... but not after a close of ours");
	close(other);
}

/* Who closes, and when. */
static void
test_leaving(void)
{
	char		data[8];
	int			fd = join();

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

/*
 * Connections that ask for nothing, as many as there may be at all and more,
 * while there is a place: whoever asks gets it.
 */
static void
test_idlers(void)
{
	int			fds[2 * MAX_IDLERS];
	int			fd;

	for (int n = 0; n < 2 * MAX_IDLERS; n++)
		fds[n] = dial();
	fd = join();
	check(echoes(fd, "served"), "idlers do not keep others out");
	close(fd);
	for (int n = 0; n < 2 * MAX_IDLERS; n++)
		close(fds[n]);
}

static void
test_limits(void)
{
	int			fds[MAX_CONNECTIONS];
	int			idlers[MAX_IDLERS];
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

	for (n = 0; n < MAX_IDLERS; n++)
		idlers[n] = dial();
	check(hear(idlers[0], head, 1) <= 0,
		  "who asks for nothing makes room for who comes");
	for (n = 0; n < MAX_IDLERS; n++)
		close(idlers[n]);

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

/*
 * Many clients at once: those that come after them wait until they are let in,
 * 500 at once and then 2,000 a second, and are served.
 */
static void
test_storm(void)
{
	double		start = seconds();
	int			fd;

	for (int n = 0; n < 1500; n++)
		close(dial());
	fd = join();
	check(seconds() - start > 0.45, "a storm is let in at a rate: %.2f s",
		  seconds() - start);
	check(echoes(fd, "served"), "who comes after it is served");
	close(fd);
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
test_shutdown(void)
{
	int			fd = join();

	check(echoes(fd, "before"), "before the end");
	kill(child, SIGTERM);
	check(close_code(fd) == 1012, "everybody is told of the end");
	stop();
	close(fd);
}

int
main(void)
{
	start();
	test_handshake();
	test_pongs();
	test_leaving();
	test_garbage();
	test_output();
	test_deadlines();
	test_idlers();
	test_limits();
	test_storm();
	test_files();
	test_shutdown();
	return check_done();
}
