/*-------------------------------------------------------------------------
 *
 * storm.c
 *	  Everybody is cut at once, by the network or because the gateway ends,
 *	  and comes back.
 *
 * The clients do as supabase-js does: a second after the cut all of them try
 * again, and who has not succeeded does so after two, five and ten seconds
 * more.  Who has no answer to a join for ten seconds joins again.  They tell
 * the gateway who they are, and so get from it what they have missed.  Messages
 * are sent before, meanwhile, and while they return.
 *
 *-------------------------------------------------------------------------
 */
#include "clients.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE		(10 * SECOND)	/* with the answer to a join */
#define GIVE_UP			(60 * SECOND)
#define BEFORE			3		/* seconds, for pings to be answered */
#define STEP			(10 * SECOND / 1000)
#define ROUNDS			5		/* after the cut */

/* Of the rounds two come at once, and the others a second apart. */
static void *
send_rounds(void *unused)
{
	for (int round = 0; round < ROUNDS; round++)
	{
		if (round >= 2)
			sleep(1);
		writers_burst(set);
	}
	return unused;
}

/* The pause before the next attempt. */
static int64_t
back_off(int tries)
{
	static const int seconds[] = {1, 2, 5, 10};

	return seconds[tries < 4 ? tries : 3] * SECOND;
}

static void
try_later(client *c, int64_t now)
{
	if (c->state != CLIENT_CLOSED)
		client_drop(c);
	c->trying = false;
	c->due = now + back_off(c->tries++);
}

static void
come_back(client *c, int64_t now)
{
	c->seq = 0;
	c->trying = true;
	received.attempts++;
	if (!client_connect(c, SOCK_NONBLOCK))
		try_later(c, now);
}

/* It has come to a connection, or to nothing. */
void
storm_connected(client *c)
{
	int			error = 0;
	socklen_t	len = sizeof(error);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error == 0)
		client_shake(c);
	else
		client_drop(c);			/* see attend() */
}

static void
attend(client *c, int64_t now)
{
	switch (c->state)
	{
		case CLIENT_JOINED:
			c->tries = 0;
			c->due = 0;
			break;
		case CLIENT_JOINING:
			if (c->due != 0 && now > c->due)
				client_join(c);
			if (c->due < now)
				c->due = now + PATIENCE;
			break;
		case CLIENT_CLOSED:
			if (c->trying)
				try_later(c, now);	/* it was sent away */
			else if (now > c->due)
				come_back(c, now);
			break;
		default:
			c->due = 0;
			break;
	}
}

/* How many messages it has not got of those since the cut. */
static uint64_t
missing(const client *c)
{
	return c->known_before + ROUNDS - c->known;
}

/* See to each client; returns how many have all messages. */
static int
attend_all(int64_t now)
{
	int			complete = 0;

	for (int i = 0; i < set->clients; i++)
	{
		attend(&all[i], now);
		complete += all[i].subscribed && missing(&all[i]) == 0;
	}
	return complete;
}

static void
rest(int64_t until)
{
	while (now_ns() < until)
		clients_turn(until);
}

/* By us, or by the gateway, which is ended. */
static void
cut_all(int64_t now)
{
	for (int i = 0; i < set->clients; i++)
	{
		all[i].tries = 0;
		all[i].trying = true;	/* what ends is begun anew */
		if (!set->restart)
			try_later(&all[i], now);
	}
	if (set->restart)
		writers_end_gateway();
}

/* Returns how many messages each client should have in the end. */
uint64_t
storm(storm_result *result)
{
	pthread_t	thread;
	int64_t		cut;
	int64_t		now;
	int			complete;

	received.frames = 0;
	writers_burst(set);
	if (!clients_read(now_ns() + GIVE_UP, (uint64_t) set->clients))
		die("the first message has not come to all");
	rest(now_ns() + BEFORE * SECOND);
	for (int i = 0; i < set->clients; i++)
		all[i].known_before = all[i].known;
	received.closed = 0;
	cut = now_ns();
	cut_all(cut);
	if (pthread_create(&thread, NULL, send_rounds, NULL) != 0)
		die("could not start a thread");
	do
	{
		now = now_ns();
		complete = attend_all(now);
		if (result->back == 0 && received.joined == set->clients &&
			received.attempts >= set->clients)
			result->back = now - cut;
		clients_turn(now + STEP);
	} while (complete < set->clients && now - cut < GIVE_UP);
	pthread_join(thread, NULL);
	result->complete = complete < set->clients ? 0 : now - cut;
	result->missing = set->clients - complete;
	for (int i = 0; i < set->clients; i++)
		result->lost += missing(&all[i]);
	return 1 + ROUNDS;
}
