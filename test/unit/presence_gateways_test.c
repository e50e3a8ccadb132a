/*-------------------------------------------------------------------------
 *
 * presence_gateways_test.c
 *	  Presence at two gateways: each tells what both know, and what they tell
 *	  each other is checked.
 *
 *-------------------------------------------------------------------------
 */
#include "presence_world.h"

typedef struct pair
{
	world	   *w[2];
} pair;

/* Bring the signals of both to both, in one order. */
static void
exchange(pair *p)
{
	bool		more = true;

	while (more)
	{
		more = false;
		for (int from = 0; from < 2; from++)
		{
			size_t		size;
			const void *s = hub_outgoing(p->w[from]->h, &size);

			if (s == NULL)
				continue;
			for (int to = 0; to < 2; to++)
				hub_signal(p->w[to]->h, s, size, p->w[to]->now);
			hub_sent(p->w[from]->h);
			more = true;
		}
	}
}

static void
exchange_and_tell(pair *p)
{
	for (int times = 0; times < 2; times++)
	{
		exchange(p);
		for (int i = 0; i < 2; i++)
		{
			p->w[i]->now += 60000;
			hub_tick(p->w[i]->h, p->w[i]->now);
		}
	}
}

static world *
gateway(int number)
{
	world	   *w = world_new();

	w->config.gateway = number;
	hub_set_config(w->h, &w->config);
	return w;
}

static void
from_streamer(world *w, signal_kind kind, int about)
{
	signal_header s = {
		.magic = SIGNAL_MAGIC, .size = sizeof(s), .kind = (uint8_t) kind,
		.gateway = (uint16_t) about
	};

	check(signal_valid(&s, sizeof(s)), "signal is valid");
	hub_signal(w->h, &s, sizeof(s), w->now);
}

static void
two_gateways(void)
{
	pair		p = {{gateway(0), gateway(1)}};
	hub_conn   *watch = watcher(p.w[0]);
	hub_conn   *a = talk_join(p.w[1], 2, 1, KEYED("a"));
	hub_conn   *b;

	known.n = 0;
	track(p.w[1], a, "{\"n\":1}");
	exchange_and_tell(&p);
	expect_refs(p.w[0], watch, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
									"\"n\":1}]}", ""),
				"somebody on another gateway");

	/* Reload: the connection comes back elsewhere. */
	hub_conn_close(a);
	exchange_and_tell(&p);
	b = talk_join(p.w[0], 2, 1, KEYED("a"));
	world_skip(p.w[0], b);
	track(p.w[0], b, "{\"n\":2}");
	exchange_and_tell(&p);
	expect_refs(p.w[0], watch, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#2\","
									"\"n\":2}]}", "\"a\":{\"metas\":["
									"{\"phx_ref\":\"#1\",\"n\":1}]}"),
				"a reload that ends at another gateway");
	world_wait(p.w[1], 10);
	exchange_and_tell(&p);
	expect_nothing(p.w[0], watch, "the old entry is forgotten everywhere");

	/* All is sent again, and nothing changes. */
	a = talk_join(p.w[1], 2, 3, KEYED("c"));
	track(p.w[1], a, "{}");
	exchange_and_tell(&p);
	world_skip(p.w[0], watch);
	from_streamer(p.w[0], SIGNAL_ASK, 0);
	from_streamer(p.w[1], SIGNAL_ASK, 0);
	exchange_and_tell(&p);
	expect_nothing(p.w[0], watch, "sending all again changes nothing");

	/* What was on its way is lost. */
	untrack(p.w[1], a);
	hub_relink(p.w[1]->h);
	exchange_and_tell(&p);
	expect_part(p.w[0], watch, "\"leaves\":{\"c\"",
				"what was lost on the way is made good");

	/* A gateway dies: its entries leave, and no others. */
	track(p.w[1], a, "{}");
	exchange_and_tell(&p);
	world_skip(p.w[0], watch);
	from_streamer(p.w[0], SIGNAL_RESET, 1);
	from_streamer(p.w[0], SIGNAL_SYNCED, 1);
	world_tell(p.w[0]);
	expect_part(p.w[0], watch, "\"joins\":{},\"leaves\":{\"c\"",
				"a gateway dies");
	expect_nothing(p.w[0], watch, "others are not concerned");

	/* Its next life asks what there is. */
	world_free(p.w[1]);
	p.w[1] = gateway(1);
	hub_relink(p.w[1]->h);
	from_streamer(p.w[0], SIGNAL_ASK, 0);
	exchange_and_tell(&p);
	a = talk_join(p.w[1], 2, 4, ENABLED);
	expect_part(p.w[1], a, "presence_state\",{\"a\"",
				"its next life knows who is present");
	expect_nothing(p.w[0], watch, "which is news to nobody");
	world_free(p.w[0]);
	world_free(p.w[1]);
}

/* More changes than the outbox holds: all is well once it was emptied. */
static void
overflow(void)
{
	pair		p = {{gateway(0), gateway(1)}};
	hub_conn   *watch = watcher(p.w[0]);
	hub_conn   *c = world_open(p.w[1], 2, 1);
	char		text[8192];
	char		pad[4000] = "";

	world_be_patient(p.w[1]);
	memset(pad, 'x', 3900);
	talk_ask(p.w[1], c, 2, "1", TOPIC, KEYED("a"));
	for (int i = 0; i < 1500; i++)
	{
		p.w[1]->now += 1000000;
		hub_tick(p.w[1]->h, p.w[1]->now);
		snprintf(text, sizeof(text), "[\"1\",\"7\",\"" TOPIC "\","
				 "\"presence\",{\"event\":\"track\",\"payload\":{\"n\":%d,"
				 "\"pad\":\"%s\"}}]", i, pad);
		world_send(p.w[1], c, text);
		world_skip(p.w[1], c);
	}
	exchange_and_tell(&p);
	expect_part(p.w[0], watch, "\"n\":1499", "the last word arrives");
	expect_nothing(p.w[0], watch, "and nothing else");
	world_free(p.w[0]);
	world_free(p.w[1]);
}

static void
signal_forms(void)
{
	static const struct
	{
		uint8_t		kind;
		uint16_t	topic_len;
		uint16_t	name_len;
		const char *texts;
		bool		valid;
	}			cases[] = {
		{SIGNAL_BROADCAST, 1, 1, "tn{}", true},
		{SIGNAL_BROADCAST, 1, 0, "t", true},
		{SIGNAL_BROADCAST, 0, 1, "n{}", false},
		{SIGNAL_TRACK, 1, 1, "tn{}", true},
		{SIGNAL_TRACK, 1, 0, "t{}", false},
		{SIGNAL_TRACK, 1, 1, "tn{", false},
		{SIGNAL_TRACK, 1, 1, "tn[]", false},
		{SIGNAL_UNTRACK, 0, 0, "", true},
		{SIGNAL_UNTRACK, 1, 0, "t", false},
		{SIGNAL_RESET, 0, 0, "", true},
		{SIGNAL_SYNCED, 0, 0, "", true},
		{SIGNAL_ASK, 0, 0, "", true},
		{'X', 0, 0, "", false},
		{SIGNAL_BROADCAST, 3, 3, "tn{}", false}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		size_t		texts = strlen(cases[i].texts);
		size_t		named = (size_t) cases[i].topic_len + cases[i].name_len;
		size_t		size = sizeof(signal_header) + texts;
		signal_header *s = calloc(1, size);

		s->magic = SIGNAL_MAGIC;
		s->size = (uint32_t) size;
		s->kind = cases[i].kind;
		s->topic_len = cases[i].topic_len;
		s->name_len = cases[i].name_len;
		s->payload_len = (uint32_t) (texts - named);
		memcpy(s + 1, cases[i].texts, texts);
		check(signal_valid(s, size) == cases[i].valid, "signal %zu", i);
		check(!signal_valid(s, size - 1), "signal %zu, too short", i);
		s->magic++;
		check(!signal_valid(s, size), "signal %zu of another kind", i);
		free(s);
	}
}

int
main(void)
{
	two_gateways();
	overflow();
	signal_forms();
	return check_done();
}
