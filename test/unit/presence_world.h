/*-------------------------------------------------------------------------
 *
 * presence_world.h
 *	  Who is there, for the tests of presence: what they say, and what they
 *	  are told, with readable refs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PRESENCE_WORLD_H
#define PRESENCE_WORLD_H

#include "talk.h"

#define ENABLED		"\"presence\":{\"enabled\":true}"
#define KEYED(key)	"\"presence\":{\"enabled\":true,\"key\":\"" key "\"}"

/* The payload of a frame, with refs as #1, #2, .. in the order in which they
 * were seen first in this world. */
typedef struct refs
{
	int			n;
	char		seen[4096][17];
} refs;

static refs known;

static inline const char *
numbered(const char *frame)
{
	static char out[65536];
	char	   *to = out;
	const char *p = frame;
	const char *ref;

	while ((ref = strstr(p, "\"phx_ref")) != NULL)
	{
		int			i = 0;

		ref = strchr(ref, ':') + 2;
		memcpy(to, p, (size_t) (ref - p));
		to += ref - p;
		while (i < known.n && strncmp(known.seen[i], ref, 16) != 0)
			i++;
		if (i == known.n && known.n < 4096)
			memcpy(known.seen[known.n++], ref, 16);
		to += sprintf(to, "#%d", i + 1);
		p = ref + 16;
	}
	strcpy(to, p);
	return out;
}

#define expect_refs(w, conn, wanted, ...) \
	check_str_result(world_read(w, conn) ? numbered((w)->frame) : NULL, \
					 wanted, __FILE__, __LINE__, __VA_ARGS__)

#define DIFF(joins, leaves) \
	"[null,null,\"" TOPIC "\",\"presence_diff\",{\"joins\":{" joins "}," \
	"\"leaves\":{" leaves "}}]"
#define STATE(metas) \
	"[\"1\",null,\"" TOPIC "\",\"presence_state\",{" metas "}]"

static inline world *
new_world(void)
{
	known.n = 0;
	return world_new();
}

/* Say something to presence, and see what is answered; what was told before
 * is passed over. */
static inline void
say(world *w, hub_conn *c, const char *payload, const char *answer)
{
	char		text[16384];
	const char *got;

	snprintf(text, sizeof(text), "[\"1\",\"7\",\"" TOPIC "\",\"presence\",%s]",
			 payload);
	world_send(w, c, text);
	do
		got = world_read(w, c);
	while (got != NULL && strstr(got, "[\"1\",\"7\"") == NULL);
	check(got != NULL && strstr(got, answer) != NULL, "%.60s: %s", payload,
		  answer);
}

static inline void
track(world *w, hub_conn *c, const char *payload)
{
	char		text[8192];

	snprintf(text, sizeof(text), "{\"type\":\"presence\",\"event\":\"track\","
			 "\"payload\":%s}", payload);
	say(w, c, text, "{\"status\":\"ok\",\"response\":{}}");
}

static inline void
untrack(world *w, hub_conn *c)
{
	say(w, c, "{\"type\":\"presence\",\"event\":\"untrack\"}", "\"ok\"");
}

/* Somebody who watches, with the state already read. */
static inline hub_conn *
watcher(world *w)
{
	hub_conn   *c = talk_join(w, 2, 9, ENABLED);

	expect_part(w, c, "presence_state", "the watcher sees who is there");
	return c;
}

static inline hub_conn *
present(world *w, int user, const char *config, const char *payload)
{
	hub_conn   *c = talk_join(w, 2, user, config);

	track(w, c, payload);
	world_tell(w);
	world_skip(w, c);
	return c;
}

#endif							/* PRESENCE_WORLD_H */
