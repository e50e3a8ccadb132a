/*-------------------------------------------------------------------------
 *
 * identity_test.c
 *	  Who sees what by which token, tokens that change, tokens that expire.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_world.h"

static const int rooms_1_2[] = {1, 2};

static void
join(world *w, hub_conn *c, const char *topic, const char *token)
{
	char		text[4096];

	snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:%s\",\"phx_join\","
			 "{\"config\":{\"postgres_changes\":[{\"event\":\"*\",\"schema\":"
			 "\"public\"}]}%s%s%s}]", topic,
			 token != NULL ? ",\"access_token\":\"" : "",
			 token != NULL ? token : "", token != NULL ? "\"" : "");
	world_send(w, c, text);
}

static void
set_token(world *w, hub_conn *c, const char *topic, const char *token)
{
	char		text[4096];

	snprintf(text, sizeof(text), "[\"1\",\"9\",\"realtime:%s\","
			 "\"access_token\",{\"access_token\":%s%s%s}]", topic,
			 token != NULL ? "\"" : "", token != NULL ? token : "null",
			 token != NULL ? "\"" : "");
	world_send(w, c, text);
}

static void
expect_joined(world *w, hub_conn *c, const char *who)
{
	expect_part(w, c, "\"ok\"", "%s: join is answered", who);
	expect_part(w, c, "Subscribed to PostgreSQL", "%s: and live", who);
	expect_nothing(w, c, "%s: and that is all", who);
}

/* Joined with a token that has so many seconds left. */
static void
expect_warned(world *w, hub_conn *c, const char *seconds, const char *who)
{
	char		text[256];

	snprintf(text, sizeof(text), "\"system\",{\"extension\":\"system\","
			 "\"status\":\"ok\",\"message\":\"Token expires in %s seconds\"",
			 seconds);
	expect_part(w, c, "\"ok\"", "%s: join is answered", who);
	expect_part(w, c, "Subscribed to PostgreSQL", "%s: and live", who);
	expect_part(w, c, text, "%s: told of the token's end", who);
	expect_nothing(w, c, "%s: and that is all", who);
}

static void
roles(void)
{
	world	   *w = world_new();
	hub_conn   *service = world_open_role(w, 2, "service_role", 0);
	hub_conn   *anon = world_open_role(w, 2, "anon", 3);
	hub_conn   *nobody = world_open_role(w, 2, "authenticated", 0);
	hub_conn   *member = world_open_role(w, 2, "whatever", 1);

	join(w, service, "s", NULL);
	join(w, anon, "a", NULL);
	join(w, nobody, "n", NULL);
	check_int(w->nasked, 0, "no memberships are read for any of them");
	expect_joined(w, service, "service_role");
	expect_joined(w, anon, "anon");
	expect_joined(w, nobody, "no profile");
	join(w, member, "m", NULL);
	world_answer(w, rooms_1_2, 2);
	expect_joined(w, member, "member");

	world_commit_one(w, event_message(1, "x"));
	expect_part(w, service, "postgres_changes", "service_role sees room 1");
	expect_part(w, member, "postgres_changes", "its member does");
	expect_nothing(w, anon, "anon does not");
	expect_nothing(w, nobody, "nor who has no profile");
	world_commit_one(w, event_message(3, "x"));
	expect_part(w, service, "postgres_changes", "service_role sees room 3");
	expect_nothing(w, member, "who is no member does not");
	world_free(w);
}

static void
connection_without_token(void)
{
	char	   *good = token_for("authenticated", 1, NOW + 600);
	world	   *w = world_new();
	hub_conn   *c = hub_conn_open(w->h, w, 2, NULL, NULL, w->now);

	join(w, c, "x", NULL);
	world_wait(w, 2);
	expect_part(w, c, "MalformedJWT", "no token, no channel");
	join(w, c, "x", good);
	world_answer(w, rooms_1_2, 2);
	expect_joined(w, c, "channel's own token");
	free(good);
	world_free(w);
}

static void
join_token_wins(void)
{
	char	   *token = token_for("authenticated", 1, NOW + 600);
	world	   *w = world_new();
	hub_conn   *c = world_open_role(w, 2, "anon", 0);

	join(w, c, "x", token);
	check_int(w->nasked, 1, "the join's token counts");
	world_answer(w, rooms_1_2, 2);
	expect_joined(w, c, "join's token");
	world_commit_one(w, event_message(2, "x"));
	expect_part(w, c, "postgres_changes", "it sees what its profile sees");
	free(token);
	world_free(w);
}

static void
token_changes(void)
{
	char	   *first = token_for("authenticated", 1, NOW + 600);
	char	   *second = token_for("authenticated", 1, NOW + 1200);
	char	   *other = token_for("authenticated", 2, NOW + 1200);
	char	   *service = token_for("service_role", 0, NOW + 1200);
	world	   *w = world_new();
	hub_conn   *c;

	world_be_patient(w);
	c = world_open_role(w, 2, "anon", 0);
	join(w, c, "x", first);
	set_token(w, c, "x", first);
	world_answer(w, rooms_1_2, 2);
	expect_joined(w, c, "first token");

	set_token(w, c, "x", first);
	set_token(w, c, "x", NULL);
	set_token(w, c, "x", "sb_publishable_1");
	expect_nothing(w, c, "same, null and sb_ tokens are ignored");

	set_token(w, c, "x", second);
	expect_part(w, c, "Subscribed to PostgreSQL", "a newer token");
	expect_nothing(w, c, "has no reply");
	check_int(w->nasked, 1, "nor are memberships read again");
	world_wait(w, 700);
	world_commit_one(w, event_message(1, "x"));
	expect_part(w, c, "postgres_changes", "the first one's end has no effect");

	set_token(w, c, "x", other);
	check_int(w->nasked, 2, "another profile: memberships are read");
	world_commit_one(w, event_message(1, "x"));
	expect_nothing(w, c, "nothing of the former profile any more");
	world_answer(w, (const int[]) {5}, 1);
	expect_part(w, c, "Subscribed to PostgreSQL", "subscribed again");
	world_commit_one(w, event_message(1, "x"));
	expect_nothing(w, c, "nothing of the former profile's rooms");
	world_commit_one(w, event_message(5, "x"));
	expect_part(w, c, "postgres_changes", "but of the new one's");
	check_int(hub_get_stats(w->h)->users, 1, "one profile in memory");

	set_token(w, c, "x", service);
	expect_part(w, c, "Subscribed to PostgreSQL", "to service_role");
	world_commit_one(w, event_message(9, "x"));
	expect_part(w, c, "postgres_changes", "which sees all");
	check_int(hub_get_stats(w->h)->users, 0, "no profile in memory");
	free(first);
	free(second);
	free(other);
	free(service);
	world_free(w);
}

static void
bad_tokens(void)
{
	char	   *expired = token_for("authenticated", 1, NOW - 60);
	const struct
	{
		const char *token;
		const char *message;
	}			cases[] = {
		{"", "The token provided is not a valid JWT"},
		{"a.b.c", "The token provided is not a valid JWT"},
		{expired, "Token has expired 60 seconds ago"}
	};
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	char		text[1024];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		join(w, c, "x", NULL);
		world_answer(w, rooms_1_2, 2);
		expect_joined(w, c, "before");
		set_token(w, c, "x", cases[i].token);
		snprintf(text, sizeof(text), "[\"1\",null,\"realtime:x\",\"system\","
				 "{\"extension\":\"system\",\"status\":\"error\",\"message\":"
				 "\"%s\",\"channel\":\"x\"}]", cases[i].message);
		expect(w, c, text, "bad token %zu: why", i);
		expect(w, c, "[\"1\",\"1\",\"realtime:x\",\"phx_close\",{}]",
			   "bad token %zu: the channel ends", i);
		check_int(hub_get_stats(w->h)->channels, 0, "no channel is left");
	}
	free(expired);
	world_free(w);
}

static void
expiry(void)
{
	char	   *token = token_for("authenticated", 1, NOW + 10);
	world	   *w = world_new();
	hub_conn   *c;

	world_be_patient(w);
	c = world_open(w, 2, 1);
	join(w, c, "short", token);
	world_answer(w, rooms_1_2, 2);
	expect_warned(w, c, "10", "short-lived");
	world_wait(w, 10 + TOKEN_LEEWAY - 1);
	expect_nothing(w, c, "valid until the leeway ends");
	world_wait(w, 1);
	expect(w, c, "[\"1\",null,\"realtime:short\",\"system\",{\"extension\":"
		   "\"system\",\"status\":\"error\",\"message\":\"Token has expired 30 "
		   "seconds ago\",\"channel\":\"short\"}]", "then it has expired");
	expect(w, c, "[\"1\",\"1\",\"realtime:short\",\"phx_close\",{}]",
		   "and the channel ends");
	check_int(w->nclosed, 0, "the connection does not");
	check_int(hub_get_stats(w->h)->users, 0, "the profile is forgotten");

	/* A connection that outlived its token. */
	world_wait(w, 3600 - 40);
	join(w, c, "x", NULL);
	world_answer(w, rooms_1_2, 2);
	expect_warned(w, c, "0", "a connection in its token's leeway");
	world_wait(w, TOKEN_LEEWAY);
	world_skip(w, c);
	join(w, c, "x", NULL);
	world_wait(w, 2);
	expect_part(w, c, "InvalidJWTToken: Token has expired ",
				"no join by a connection whose token has expired");
	free(token);
	world_free(w);
}

/* A minute before, once for each token. */
static void
warning(void)
{
	char	   *first = token_for("authenticated", 1, NOW + 200);
	char	   *second = token_for("authenticated", 1, NOW + 400);
	char	   *third = token_for("authenticated", 1, NOW + 430);
	world	   *w = world_new();
	hub_conn   *c;

	world_be_patient(w);
	c = world_open(w, 2, 1);
	join(w, c, "x", first);
	world_answer(w, rooms_1_2, 2);
	expect_joined(w, c, "some time before");
	world_wait(w, 139);
	expect_nothing(w, c, "61 seconds before");
	world_wait(w, 1);
	expect(w, c, "[\"1\",null,\"realtime:x\",\"system\",{\"extension\":"
		   "\"system\",\"status\":\"ok\",\"message\":\"Token expires in 60 "
		   "seconds\",\"channel\":\"x\"}]", "a minute before");
	world_wait(w, 50);
	expect_nothing(w, c, "once");
	set_token(w, c, "x", second);
	expect_part(w, c, "Subscribed to PostgreSQL", "another token");
	expect_nothing(w, c, "has time");
	world_wait(w, 150);
	expect_part(w, c, "Token expires in 60 seconds", "comes to its end, too");
	world_wait(w, 20);
	set_token(w, c, "x", third);
	expect_part(w, c, "Subscribed to PostgreSQL", "a third one");
	expect_nothing(w, c, "has more than a minute");
	world_wait(w, 10);
	expect_part(w, c, "Token expires in 60 seconds", "but not for long");
	world_wait(w, 89);
	expect_nothing(w, c, "it is accepted for a while after its end");
	world_wait(w, 1);
	expect_part(w, c, "Token has expired 30 seconds ago", "and then not");
	expect_part(w, c, "phx_close", "and then not: closed");
	free(first);
	free(second);
	free(third);
	world_free(w);
}

/*
 * From a user's role to the service role and back.  More power comes without
 * a gap: what waits to be written stays, and presence, too.
 */
static void
promotion(void)
{
	char	   *user = token_for("authenticated", 1, NOW + 600);
	char	   *later = token_for("authenticated", 1, NOW + 700);
	char	   *service = token_for("service_role", 1, NOW + 600);
	world	   *w = world_new();
	hub_conn   *c = world_open_role(w, 2, "anon", 0);
	char		topic[] = "room:00000000-0000-0000-0000-000000000001";
	char		text[256];

	join(w, c, topic, user);
	world_answer(w, rooms_1_2, 2);
	expect_joined(w, c, "as a user");
	snprintf(text, sizeof(text), "[\"1\",\"2\",\"realtime:%s\",\"presence\","
			 "{\"event\":\"track\",\"payload\":{}}]", topic);
	world_send(w, c, text);
	world_tell(w);
	world_skip(w, c);

	world_commit_one(w, event_message(1, "first"));
	set_token(w, c, topic, later);
	world_commit_one(w, event_message(9, "not for users"));
	world_commit_one(w, event_message(1, "second"));
	world_tell(w);
	expect_part(w, c, "first", "what waits is written");
	expect_part(w, c, "Subscribed to PostgreSQL", "a later token");
	expect_part(w, c, "second", "goes on");
	expect_nothing(w, c, "nobody has left");

	world_commit_one(w, event_message(1, "before"));
	set_token(w, c, topic, service);
	world_commit_one(w, event_message(9, "after"));
	world_commit_one(w, event_message(1, "both"));
	world_tell(w);
	expect_part(w, c, "before", "what waits is written");
	expect_part(w, c, "Subscribed to PostgreSQL", "the service role");
	expect_part(w, c, "after", "sees all from then on");
	expect_part(w, c, "both", "and what it saw before");
	expect_nothing(w, c, "once, and nobody has left");
	check_int(hub_get_stats(w->h)->users, 0, "memberships are forgotten");
	check_int(w->nasked, 1, "nothing is asked");

	/* What it must not see is taken back. */
	world_commit_one(w, event_message(9, "secret"));
	set_token(w, c, topic, user);
	world_answer(w, rooms_1_2, 2);
	world_commit_one(w, event_message(9, "more secret"));
	world_commit_one(w, event_message(2, "mine"));
	expect_part(w, c, "presence_state", "a user again");
	expect_part(w, c, "Subscribed to PostgreSQL", "subscribes anew");
	expect_part(w, c, "mine", "sees what a user sees");
	free(user);
	free(later);
	free(service);
	world_free(w);
}

/* Channels without changes end with their tokens, too. */
static void
expiry_without_changes(void)
{
	char	   *token = token_for("anon", 0, NOW + 10);
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	char		text[2048];

	snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:x\",\"phx_join\","
			 "{\"access_token\":\" %s\\n\"}]", token);
	world_send(w, c, text);
	expect_part(w, c, "\"ok\"", "space around a token is passed over");
	expect_part(w, c, "Token expires in 10 seconds", "warned");
	world_wait(w, 11 + TOKEN_LEEWAY);
	expect_part(w, c, "Token has expired", "expired");
	expect_part(w, c, "phx_close", "closed");
	free(token);
	world_free(w);
}

int
main(void)
{
	roles();
	connection_without_token();
	join_token_wins();
	token_changes();
	bad_tokens();
	expiry();
	expiry_without_changes();
	warning();
	promotion();
	return check_done();
}
