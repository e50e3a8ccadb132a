/*-------------------------------------------------------------------------
 *
 * revocation_test.c
 *	  Tokens that were revoked: before they are used, while they are, and
 *	  while it is not known yet.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_world.h"

static const int room_1[] = {1};

#define TOPIC	"room:00000000-0000-0000-0000-000000000001"
#define REVOKED	"{\"extension\":\"system\",\"status\":\"error\",\"message\":" \
	"\"Token has been revoked\""

/* Join with changes, or without. */
static void
join(world *w, hub_conn *c, const char *topic, const char *token, bool changes)
{
	char		text[4096];

	snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:%s\",\"phx_join\","
			 "{\"config\":{%s}%s%s%s}]", topic,
			 changes ? "\"postgres_changes\":[{\"event\":\"*\",\"schema\":"
			 "\"public\"}]" : "",
			 token != NULL ? ",\"access_token\":\"" : "",
			 token != NULL ? token : "", token != NULL ? "\"" : "");
	world_send(w, c, text);
}

static void
set_token(world *w, hub_conn *c, const char *topic, const char *token)
{
	char		text[4096];

	snprintf(text, sizeof(text), "[\"1\",\"9\",\"realtime:%s\","
			 "\"access_token\",{\"access_token\":\"%s\"}]", topic, token);
	world_send(w, c, text);
}

static hub_conn *
joined(world *w, const char *topic, const char *token)
{
	hub_conn   *c = world_open_role(w, 2, "anon", 0);

	join(w, c, topic, token, true);
	if (w->nasked > 0)
		world_answer(w, room_1, 1);
	expect_part(w, c, "\"status\":\"ok\"", "joined");
	world_skip(w, c);
	return c;
}

static void
expect_ended(world *w, hub_conn *c, const char *what)
{
	expect_part(w, c, REVOKED, "%s: why", what);
	expect_part(w, c, "phx_close", "%s: the channel ends", what);
	expect_nothing(w, c, "%s: and that is all", what);
}

/* Which tokens a revocation concerns. */
static void
times(void)
{
	static const struct
	{
		const char *name;
		const char *role;
		int			user;
		int64_t		iat;		/* relative to the revocation; 0: none */
		bool		revoked;
	}			cases[] = {
		{"issued before", "authenticated", 1, -100, true},
		{"issued a second later", "authenticated", 1, 1, false},
		{"issued at an unknown time", "authenticated", 1, 0, true},
		{"somebody else's", "authenticated", 2, -100, false},
		{"of another role", "whatever", 1, -100, true},
		{"of the service role", "service_role", 1, -100, true},
		{"nobody's, of the service role", "service_role", 0, -100, false},
		{"of the anonymous role", "anon", 1, -100, false}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		int64_t		at = NOW - 500;
		char	   *token = token_issued(cases[i].role, cases[i].user,
										 cases[i].iat == 0 ? 0 :
										 at + cases[i].iat, NOW + 600);
		world	   *w = world_new();
		hub_conn   *c;

		/* While it is in use .. */
		c = joined(w, "x", token);
		world_commit_one(w, event_revocation(EVENT_INSERT, 1, at));
		if (cases[i].revoked)
			expect_ended(w, c, cases[i].name);
		else
			expect_nothing(w, c, "%s: not ended", cases[i].name);

		/* .. and when it comes again. */
		if (cases[i].revoked)
		{
			join(w, c, "y", token, true);
			w->revoked_at = at;
			world_answer(w, room_1, 1);
			expect_nothing(w, c, "%s: not accepted at once", cases[i].name);
			world_wait(w, 2);
			expect_part(w, c, "InvalidJWTToken: Token has been revoked",
						"%s: refused", cases[i].name);
		}
		world_free(w);

		/* .. before anything of it is known. */
		w = world_new();
		c = world_open_role(w, 2, "anon", 0);
		w->revoked_at = cases[i].user == 1 ? at : 0;
		join(w, c, "x", token, true);
		if (w->nasked > 0)
			world_answer(w, room_1, 1);
		world_wait(w, 2);
		expect_part(w, c, cases[i].revoked ?
					"InvalidJWTToken: Token has been revoked" :
					"\"status\":\"ok\"", "%s: first join", cases[i].name);
		world_free(w);
		free(token);
	}
}

/* In the very second, nothing tells which came first. */
static void
same_second(void)
{
	char	   *token = token_issued("authenticated", 1, NOW, NOW + 600);
	world	   *w = world_new();
	hub_conn   *c = joined(w, "x", token);

	world_commit_one(w, event_revocation(EVENT_INSERT, 1, NOW - 1));
	expect_nothing(w, c, "revoked a second before it was issued");
	world_commit_one(w, event_revocation(EVENT_UPDATE, 1, NOW));
	expect_ended(w, c, "revoked in the same second");
	free(token);
	world_free(w);
}

/* At its place in the order of commits. */
static void
order(void)
{
	char	   *old = token_issued("authenticated", 1, NOW - 10, NOW + 600);
	char	   *new = token_issued("authenticated", 1, NOW + 1, NOW + 600);
	world	   *w = world_new();
	hub_conn   *c = joined(w, "x", old);
	hub_conn   *d = joined(w, "x", old);
	hub_conn   *other = world_open(w, 2, 2);
	event_header *events[2];

	join(w, other, "x", NULL, true);
	world_answer(w, room_1, 1);
	world_skip(w, other);

	set_token(w, d, "x", new);
	expect_part(w, d, "Subscribed to PostgreSQL", "a new token in time");
	world_commit_one(w, event_message(1, "first"));
	expect_part(w, c, "first", "before: all hear");
	world_skip(w, d);
	world_commit_one(w, event_message(1, "second"));
	events[0] = event_message(1, "third");
	events[1] = event_revocation(EVENT_INSERT, 1, NOW);
	world_commit(w, events, 2);
	world_commit_one(w, event_message(1, "fourth"));
	expect_ended(w, c, "what waits is taken back");
	for (int i = 0; i < 3; i++)
		expect_part(w, d, "postgres_changes", "with the new token: all");
	expect_part(w, other, "first", "somebody else");
	check_int(w->nclosed, 0, "no connection ends");

	/* The new one works at once, the old one never again. */
	join(w, c, "x", new, true);
	expect_part(w, c, "\"status\":\"ok\"", "joined again");
	world_skip(w, c);
	set_token(w, c, "x", old);
	expect_ended(w, c, "back to the old one");

	/* A repetition, and an older one, do no harm. */
	world_commit_one(w, event_revocation(EVENT_UPDATE, 1, NOW));
	world_commit_one(w, event_revocation(EVENT_UPDATE, 1, NOW - 5));
	world_skip(w, d);
	world_commit_one(w, event_message(1, "fifth"));
	expect_part(w, d, "fifth", "it goes on");
	free(old);
	free(new);
	world_free(w);
}

/* While the profile is being read, whatever the answer has seen. */
static void
while_loading(void)
{
	for (int seen = 0; seen < 2; seen++)
	{
		char	   *old = token_issued("authenticated", 1, NOW - 10,
									   NOW + 600);
		world	   *w = world_new();
		hub_conn   *c = world_open_role(w, 2, "anon", 0);

		join(w, c, "x", old, true);
		world_commit_one(w, event_revocation(EVENT_INSERT, 1, NOW));
		w->revoked_at = seen ? NOW : 0;
		world_answer(w, room_1, 1);
		world_commit_one(w, event_message(1, "x"));
		expect_nothing(w, c, "nothing at once");
		world_wait(w, 2);
		expect_part(w, c, "InvalidJWTToken: Token has been revoked",
					"the join is refused");
		expect_nothing(w, c, "and that is all");
		check_int(hub_get_stats(w->h)->users, 0, "the profile is forgotten");
		free(old);
		world_free(w);
	}
}

/* The connection's own token. */
static void
connections(void)
{
	char	   *new = token_issued("authenticated", 1, NOW + 1, NOW + 600);
	token_claims claims = {
		.has_profile = true, .exp = NOW + 600, .iat = NOW - 10,
		.role = "authenticated"
	};
	world	   *w = world_new();
	hub_conn   *idle = world_open(w, 2, 1);
	hub_conn   *c = world_open(w, 2, 1);
	hub_conn   *both = world_open(w, 2, 1);

	user_id(claims.profile_id, 1);
	join(w, c, "x", NULL, true);
	world_answer(w, room_1, 1);
	join(w, both, "x", new, true);
	world_skip(w, c);
	world_skip(w, both);
	check(!hub_token_revoked(w->h, &claims), "not revoked");
	world_commit_one(w, event_revocation(EVENT_INSERT, 1, NOW));
	check(hub_token_revoked(w->h, &claims), "revoked");
	claims.iat = NOW + 1;
	check(!hub_token_revoked(w->h, &claims), "a newer one is not");

	expect_ended(w, c, "its channel");
	check_int(w->nclosed, 0, "there is time to read that");
	join(w, c, "x", NULL, true);
	world_wait(w, 2);
	expect_part(w, c, "InvalidJWTToken: Token has been revoked",
				"no further join");
	world_wait(w, 3);
	check_int(w->nclosed, 2, "then it is closed");
	for (int i = 0; i < w->nclosed; i++)
	{
		check(w->closed[i].conn == idle || w->closed[i].conn == c,
			  "the idle one, too");
		check_int(w->closed[i].code, HUB_CLOSE_POLICY, "for a reason");
	}
	world_commit_one(w, event_message(1, "x"));
	expect_part(w, both, "postgres_changes",
				"a channel with a token of its own keeps its connection");
	free(new);
	world_free(w);
}

/* Who needs no memberships has to wait for a verdict, where it matters. */
static void
public_topics(void)
{
	for (int revoked = 0; revoked < 2; revoked++)
	{
		char	   *old = token_issued("authenticated", 1, NOW - 10,
									   NOW + 600);
		world	   *w = world_new();
		hub_conn   *c = world_open_role(w, 2, "anon", 0);

		w->config.public_channels = true;
		hub_set_config(w->h, &w->config);
		w->revoked_at = revoked ? NOW : 0;
		join(w, c, "lobby", old, false);
		expect_nothing(w, c, "it waits");
		world_answer(w, room_1, 1);
		check_int(hub_get_stats(w->h)->users, 0, "for nothing else");
		world_wait(w, 2);
		expect_part(w, c, revoked ? "InvalidJWTToken: Token has been revoked" :
					"\"status\":\"ok\"", "the verdict");
		join(w, c, "lounge", old, false);
		check_int(w->nasked, revoked ? 2 : 1,
				  "while a channel is there, it stays known");
		free(old);
		world_free(w);
	}
}

/* Presence ends with its channel, and memory is given back. */
static void
presence(void)
{
	char	   *old = token_issued("authenticated", 1, NOW - 10, NOW + 600);
	world	   *w = world_new();
	hub_conn   *c = joined(w, TOPIC, old);
	hub_conn   *other = world_open(w, 2, 2);
	char		text[256];

	snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:" TOPIC "\","
			 "\"phx_join\",{\"config\":{\"presence\":{\"enabled\":true}}}]");
	world_send(w, other, text);
	world_answer(w, room_1, 1);
	world_send(w, c, "[\"1\",\"2\",\"realtime:" TOPIC "\",\"presence\","
			   "{\"event\":\"track\",\"payload\":{\"at\":\"work\"}}]");
	world_tell(w);
	expect_part(w, other, "\"status\":\"ok\"", "the other one joins");
	expect_part(w, other, "presence_state", "who is there");
	expect_part(w, other, "work", "sees the entry");
	world_commit_one(w, event_revocation(EVENT_INSERT, 1, NOW));
	world_tell(w);
	expect_part(w, other, "\"leaves\":{\"", "and sees it leave");
	free(old);
	world_free(w);
}

int
main(void)
{
	times();
	same_second();
	order();
	while_loading();
	connections();
	public_topics();
	presence();
	return check_done();
}
