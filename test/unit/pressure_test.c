/*-------------------------------------------------------------------------
 *
 * pressure_test.c
 *	  What all connections together may have unsent.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_world.h"
#include "realtime/rooms.h"

#define LIMIT	2000			/* bytes of a queue */
#define TOTAL	(256 * LIMIT)
#define CROWD	1000

static hub_conn *conns[CROWD];
static frame *shared;

static world *
world_of_crowd(void)
{
	world	   *w = world_new();
	char		text[1500];

	w->config.max_queue_bytes = LIMIT;
	hub_set_config(w->h, &w->config);
	for (int i = 0; i < CROWD; i++)
		conns[i] = world_open(w, 2, i + 1);
	memset(text, 's', sizeof(text));
	shared = frame_text(text, sizeof(text));
	return w;
}

static void
world_end(world *w)
{
	frame_unref(shared);
	world_free(w);
	check_int((long long) queue_memory, 0, "all memory is given back");
}

/* A frame of so many bytes that nobody else gets. */
static void
tell(hub_conn *c, size_t len)
{
	char		text[LIMIT];

	memset(text, 'p', len);
	conn_send(c, frame_text(text, len));
}

static int
count_cut(int from, int to)
{
	int			n = 0;

	for (int i = from; i < to; i++)
		n += conns[i]->cut;
	return n;
}

/* Twenty are far behind when the crowd falls behind as well. */
static void
slowest_first(void)
{
	world	   *w = world_of_crowd();
	int			i;

	for (i = 0; i < 20; i++)
		tell(conns[i], 1900);
	for (; i < CROWD && count_cut(0, 20) == 0; i++)
		tell(conns[i], 800);
	check(i > 500 && i < CROWD, "the limit is reached with %d readers", i);
	check_int(count_cut(0, 20), 20, "those furthest behind are cut");
	check_int(count_cut(20, CROWD), 0, "... and nobody else");
	check(queue_memory <= TOTAL, "... which was enough");
	check_int((long long) hub_get_stats(w->h)->slow_readers, 20,
			  "... as slow readers");
	hub_tick(w->h, w->now);
	check(w->nclosed == 20 && w->closed[0].code == HUB_CLOSE_TRY_LATER,
		  "... and asked to come back");

	/* It goes on like that; the limit holds. */
	for (int n = 0; n < 3 * CROWD; n++)
	{
		tell(conns[n % CROWD], 800);
		if (queue_memory > TOTAL)
			break;
	}
	check(queue_memory <= TOTAL, "the limit holds");
	world_end(w);
}

/* Who takes what it is given is not behind, however much that is. */
static void
not_the_fast(void)
{
	world	   *w = world_of_crowd();

	for (int i = 0; i < CROWD; i++)
		tell(conns[i], 400);
	w->drains = true;
	for (int i = 0; i < CROWD; i++)
		tell(conns[i], 400);
	check_int(count_cut(0, CROWD), 0, "nobody who reads is cut");
	world_end(w);
}

/* A frame for a thousand readers takes its memory once. */
static void
shared_once(void)
{
	world	   *w = world_of_crowd();

	for (int i = 0; i < CROWD; i++)
		conn_push(conns[i], shared, NULL);
	check_int(count_cut(0, CROWD), 0, "what is shared counts once");
	world_end(w);
}

int
main(void)
{
	slowest_first();
	not_the_fast();
	shared_once();
	return check_done();
}
