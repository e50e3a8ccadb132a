/*-------------------------------------------------------------------------
 *
 * rest_test.c
 *	  Broadcasts over HTTP: what is answered, and who hears them.
 *
 *-------------------------------------------------------------------------
 */
#include "talk.h"

#include "rest.h"

#define BATCH	"/realtime/v1/api/broadcast"
#define SINGLE	BATCH "/room%3A" ROOM_1 "/events/e"
#define JSON	"Content-Type: application/json\r\n"
#define BYTES	"Content-Type: application/octet-stream\r\n"
#define SAY(topic) \
	"{\"topic\":\"" topic "\",\"event\":\"e\",\"payload\":{\"a\":1}}"
#define NAME	"room:" ROOM_1
#define UNAUTHORIZED	"{\"message\":\"Unauthorized\"}"

static admission_rules rules;
static rest http;

/* The last answer. */
static int	status;
static char headers[1024];
static char body[2048];

static void
take_response(void *socket, const http_response *response)
{
	(void) socket;
	check_int(status, 0, "an exchange is answered once");
	status = response->status;
	snprintf(headers, sizeof(headers), "%s",
			 response->headers != NULL ? response->headers : "");
	snprintf(body, sizeof(body), "%.*s", (int) response->body_len,
			 response->body != NULL ? response->body : "");
}

/* hub_ops.posted of the hub's world is for posts of its own. */
static void
posted(void *arg, void *post_arg, hub_post_result result)
{
	(void) arg;
	rest_posted(post_arg, result);
}

static world *
rest_world(void)
{
	static const char *origins[] = {"https://a.example", "https://b.example"};
	world	   *w = world_new_with(posted);

	rules = (admission_rules) {w->keys, origins, 2};
	http = (rest) {w->h, &rules, 1024, take_response};
	return w;
}

/* A request's head; the exchange when its body is wanted. */
static rest_exchange *
begin(world *w, const char *method, const char *target, const char *lines,
	  size_t size)
{
	http_request request;
	http_response response;
	rest_exchange *x;
	char	   *head;

	if (asprintf(&head, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target,
				 lines) < 0 ||
		http_parse(head, strlen(head), &request) != 0)
		abort();
	status = 0;
	headers[0] = body[0] = '\0';
	x = rest_begin(&http, NULL, &request, size, w->now, &response);
	free(head);
	if (x == NULL)
		take_response(NULL, &response);
	return x;
}

/* A whole request by somebody; status and body tell the answer. */
static rest_exchange *
call(world *w, const char *role, int user, const char *target,
	 const char *lines, const char *data, size_t len)
{
	char	   *token = token_for(role, user, NOW + 3600);
	char	   *all;
	rest_exchange *x;

	if (asprintf(&all, "Authorization: Bearer %s\r\n%s", token, lines) < 0)
		abort();
	x = begin(w, "POST", target, all, len);
	free(all);
	free(token);
	if (x != NULL)
		rest_body(x, data, len, w->now);
	return x;
}

/* .. that is answered at once, or when the memberships are known. */
static int
post_as(world *w, const char *role, int user, const char *target,
		const char *lines, const char *data, size_t len)
{
	rest_exchange *x = call(w, role, user, target, lines, data, len);

	if (status == 0)
		talk_answer(w);
	if (x != NULL)
		rest_free(x);
	world_pump(w);
	return status;
}

static int
post(world *w, int user, const char *target, const char *lines,
	 const char *data)
{
	return post_as(w, "authenticated", user, target, lines, data,
				   strlen(data));
}

static int
batch(world *w, int user, const char *messages)
{
	char		text[16384];

	snprintf(text, sizeof(text), "{\"messages\":[%s]}", messages);
	return post(w, user, BATCH, JSON, text);
}

/* ----------
 * Heads
 * ----------
 */

static void
paths(void)
{
	static const struct
	{
		const char *path;
		int			status;
	}			cases[] = {
		{BATCH, 401},
		{BATCH "?apikey=x", 401},
		{BATCH "/", 0},
		{BATCH "/t", 0},
		{BATCH "/t/events", 0},
		{BATCH "/t/events/e", 401},
		{BATCH "/t/events/e/", 0},
		{BATCH "/t/events/e/f", 0},
		{BATCH "/t/event/e", 0},
		{BATCH "/t/u/events/e", 0},
		{BATCH "/*/events/*", 401},
		{"/", 0},
		{"/api/broadcast", 0},
		{"/realtime/v1/api/broadcas", 0},
		{"/realtime/v1/api/broadcasts", 0},
		{"//realtime/v1/api/broadcast", 0},
		{"/realtime/v1/websocket", 0}
	};
	world	   *w = rest_world();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		begin(w, "POST", cases[i].path, JSON, 2);
		check_int(status, cases[i].status, "%s", cases[i].path);
	}
	world_free(w);
}

static void
methods(void)
{
	static const char *const others[] = {
		"GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "post"
	};
	world	   *w = rest_world();

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
	{
		begin(w, others[i], BATCH, "", 0);
		check_int(status, 405, "%s", others[i]);
		check_str(headers, "Allow: POST, OPTIONS\r\n", "what is allowed");
	}
	world_free(w);
}

static void
origins(void)
{
	char	   *token = token_for("authenticated", 1, NOW + 3600);
	char		lines[1024];
	world	   *w = rest_world();

	begin(w, "OPTIONS", SINGLE, "Origin: https://b.example\r\n"
		  "Access-Control-Request-Method: POST\r\n", 0);
	check_int(status, 204, "a browser may ask");
	check_str(headers, "Access-Control-Allow-Origin: https://b.example\r\n"
			  "Vary: Origin\r\n"
			  "Access-Control-Allow-Methods: POST, OPTIONS\r\n"
			  "Access-Control-Allow-Headers: apikey, authorization, "
			  "content-type, x-client-info, x-api-key, accept-profile, "
			  "content-profile, prefer, idempotency-key, if-match, "
			  "x-request-id, x-retry-count\r\n"
			  "Access-Control-Max-Age: 86400\r\n", "and is told");
	begin(w, "OPTIONS", SINGLE, "Origin: https://c.example\r\n", 0);
	check_int(status, 403, "but not from any origin");
	check_str(headers, "", "which is told nothing");

	begin(w, "POST", BATCH, "Origin: https://a.example\r\n", 0);
	check_int(status, 401, "a refusal, too,");
	check_str(headers, "Access-Control-Allow-Origin: https://a.example\r\n"
			  "Vary: Origin\r\n", "may be read by the page");
	snprintf(lines, sizeof(lines), "Origin: https://c.example\r\n"
			 "apikey: %s\r\n" JSON, token);
	check(begin(w, "POST", BATCH, lines, 2) == NULL, "no body is wanted");
	check_int(status, 403, "of another origin");

	rules.origins = (const char *[]) {"*"};
	begin(w, "OPTIONS", BATCH, "Origin: https://c.example\r\n", 0);
	check(strncmp(headers, "Access-Control-Allow-Origin: *\r\n", 32) == 0,
		  "when any is allowed, any is");
	free(token);
	world_free(w);
}

static void
tokens(void)
{
	char	   *good = token_for("authenticated", 1, NOW + 3600);
	char	   *old = token_for("authenticated", 1, NOW - 3600);
	const struct
	{
		const char *name;
		const char *format;
		const char *token;
		bool		fine;
	}			cases[] = {
		{"none", "", "", false},
		{"a bearer", "Authorization: Bearer %s\r\n", good, true},
		{"an API key", "apikey: %s\r\n", good, true},
		{"another header", "X-API-Key: %s\r\n", good, true},
		{"an expired one", "apikey: %s\r\n", old, false},
		{"a bearer beats a key", "apikey: x\r\nAuthorization: Bearer %s\r\n",
		good, true},
		{"a bad one, too", "Authorization: Bearer x\r\napikey: %s\r\n", good,
		false},
		{"something else", "Authorization: Basic x\r\napikey: %s\r\n", good,
		true}
	};
	world	   *w = rest_world();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		lines[1024];
		int			len = snprintf(lines, sizeof(lines), JSON);
		rest_exchange *x;

		snprintf(lines + len, sizeof(lines) - (size_t) len, cases[i].format,
				 cases[i].token);
		x = begin(w, "POST", BATCH, lines, 2);
		check_int(x != NULL, cases[i].fine, "%s", cases[i].name);
		check_int(status, cases[i].fine ? 0 : 401, "%s", cases[i].name);
		check_str(body, cases[i].fine ? "" : UNAUTHORIZED, "%s",
				  cases[i].name);
		if (x != NULL)
			rest_free(x);
	}
	free(good);
	free(old);
	world_free(w);
}

static void
types_and_sizes(void)
{
	static const struct
	{
		const char *target;
		const char *lines;
		size_t		size;
		int			status;
	}			cases[] = {
		{SINGLE, JSON, 1024, 0},
		{SINGLE, JSON, 1025, 413},
		{SINGLE, BYTES, 1024, 0},
		{SINGLE, BYTES, 1025, 413},
		{BATCH, JSON, 16 * 1024, 0},
		{BATCH, JSON, 16 * 1024 + 1, 413},
		{BATCH, BYTES, 10, 415},
		{BATCH, "", 10, 415},
		{SINGLE, "Content-Type: application/jsonp\r\n", 10, 415},
		{SINGLE, "Content-Type: text/plain\r\n", 10, 415},
		{SINGLE, "Content-Type: Application/JSON; charset=utf-8\r\n", 10, 0},
		{BATCH "/%zz/events/e", JSON, 10, 400},
		{BATCH "/%2/events/e", JSON, 10, 400},
		{BATCH "/a/events/%00", JSON, 10, 400},
		{BATCH "/a%2Fb/events/%C3%A9", JSON, 10, 0}
	};
	char	   *token = token_for("authenticated", 1, NOW + 3600);
	world	   *w = rest_world();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		lines[1024];
		rest_exchange *x;

		snprintf(lines, sizeof(lines), "apikey: %s\r\n%s", token,
				 cases[i].lines);
		x = begin(w, "POST", cases[i].target, lines, cases[i].size);
		check_int(status, cases[i].status, "%s, case %zu", cases[i].target,
				  i);
		if (x != NULL)
			rest_free(x);
	}
	free(token);
	world_free(w);
}

/* What is large already does not become sixteen times as large. */
static void
large_messages(void)
{
	char	   *token = token_for("authenticated", 1, NOW + 3600);
	char		lines[1024];
	world	   *w = rest_world();

	snprintf(lines, sizeof(lines), "apikey: %s\r\n" JSON, token);
	http.max_message = 100 * 1024;
	begin(w, "POST", BATCH, lines, 1024 * 1024 + 1);
	check_int(status, 413, "a batch has a megabyte at most");
	http.max_message = 2 * 1024 * 1024;
	rest_free(begin(w, "POST", BATCH, lines, http.max_message));
	check_int(status, 0, "unless one message may have more");
	free(token);
	world_free(w);
}

/* ----------
 * What is said
 * ----------
 */

static void
single(void)
{
	world	   *w = rest_world();
	hub_conn   *a = talk_join(w, 2, 1, "");
	hub_conn   *old = talk_join(w, 1, 2, "");
	hub_conn   *priv = talk_join(w, 2, 3, "\"private\":true");

	check_int(post(w, 1, SINGLE, JSON, " {\"x\":1.0}"), 202, "said");
	check_str(body, "", "with nothing more to say");
	expect(w, a, "[null,null,\"" TOPIC "\",\"broadcast\",{\"type\":"
		   "\"broadcast\",\"event\":\"e\",\"payload\": {\"x\":1.0}}]",
		   "the payload is the body, and the speaker's channels hear it");
	expect_part(w, old, "\"payload\": {\"x\":1.0}", "in version 1, too");
	expect_nothing(w, priv, "private channels do not");
	check_int(post(w, 1, SINGLE "?private=true", JSON, "7"), 202, "private");
	expect_part(w, priv, "\"payload\":7", "now they do");
	expect_nothing(w, a, "and the others do not");

	check_int(post_as(w, "authenticated", 1, SINGLE, BYTES, "\0\1\xff", 3),
			  202, "bytes");
	world_read(w, a);
	check(w->frame_is_binary && w->frame_len > 3 &&
		  memcmp(w->frame + w->frame_len - 3, "\0\1\xff", 3) == 0,
		  "come as they are");
	expect_nothing(w, old, "but not to version 1");
	check_int(post(w, 1, SINGLE, JSON, "{"), 422, "no JSON");
	check_str(body, "{\"errors\":{\"payload\":[\"is not valid JSON\"]}}", "so");
	check_int(post(w, 1, BATCH "//events/e", JSON, "{}"), 422, "no topic");
	check_str(body, "{\"errors\":{\"topic\":[\"can't be blank\"]}}", "so");
	check_int(post(w, 1, BATCH "/t/events/%FF", JSON, "{}"), 422, "no UTF-8");
	check_str(body, "{\"errors\":{\"event\":[\"is invalid\"]}}", "so");
	expect_nothing(w, a, "nothing of that is said");
	world_free(w);
}

static void
several(void)
{
	world	   *w = rest_world();
	hub_conn   *a = talk_join(w, 2, 1, "");
	hub_conn   *priv = talk_join(w, 2, 2, "\"private\":true");

	check_int(batch(w, 1, SAY(NAME) ",{\"topic\":\"" NAME "\",\"event\":"
					"\"f \\\"g\\\"\",\"payload\":[1],\"private\":true,"
					"\"id\":\"the id\"}," SAY("lobby") ","
					SAY("room:00000000-0000-0000-0000-000000000002")),
			  202, "several, of which not all are allowed");
	expect(w, a, "[null,null,\"" TOPIC "\",\"broadcast\",{\"type\":"
		   "\"broadcast\",\"event\":\"e\",\"payload\":{\"a\":1}}]", "public");
	expect_nothing(w, a, "once");
	expect(w, priv, "[null,null,\"" TOPIC "\",\"broadcast\",{\"type\":"
		   "\"broadcast\",\"event\":\"f \\\"g\\\"\",\"payload\":[1],"
		   "\"meta\":{\"id\":\"the id\"}}]", "private, with an id");
	expect_nothing(w, priv, "once");
	world_free(w);
}

static void
malformed_batches(void)
{
	static const struct
	{
		const char *data;
		int			status;
		const char *body;
	}			cases[] = {
		{"", 400, "{\"message\":\"Request is not valid JSON\"}"},
		{"{\"messages\":[}", 400,
		"{\"message\":\"Request is not valid JSON\"}"},
		{"[]", 422, "{\"errors\":{\"messages\":[\"can't be blank\"]}}"},
		{"{\"messages\":[]}", 422,
		"{\"errors\":{\"messages\":[\"can't be blank\"]}}"},
		{"{\"messages\":7}", 422,
		"{\"errors\":{\"messages\":[\"is invalid\"]}}"},
		{"{\"messages\":[7]}", 422,
		"{\"errors\":{\"messages\":[{\"topic\":[\"can't be blank\"]}]}}"},
		{"{\"messages\":[" SAY("a") "," SAY("") "]}", 422,
		"{\"errors\":{\"messages\":[{},{\"topic\":[\"can't be blank\"]}]}}"},
		{"{\"messages\":[{\"topic\":\"a\",\"event\":1,\"payload\":1}]}", 422,
		"{\"errors\":{\"messages\":[{\"event\":[\"is invalid\"]}]}}"},
		{"{\"messages\":[{\"topic\":\"a\",\"event\":\"e\"}]}", 422,
		"{\"errors\":{\"messages\":[{\"payload\":[\"can't be blank\"]}]}}"},
		{"{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":1,"
		"\"id\":1}]}", 422,
		"{\"errors\":{\"messages\":[{\"id\":[\"is invalid\"]}]}}"},
		{"{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":1,"
		"\"private\":1}]}", 422,
		"{\"errors\":{\"messages\":[{\"private\":[\"is invalid\"]}]}}"}
	};
	world	   *w = rest_world();
	hub_conn   *a = talk_join(w, 2, 1, "");
	char		text[8192];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		check_int(post(w, 1, BATCH, JSON, cases[i].data), cases[i].status,
				  "%s", cases[i].data);
		check_str(body, cases[i].body, "%s", cases[i].data);
	}
	snprintf(text, sizeof(text), SAY(NAME) ",{\"topic\":\"%0247d\"}", 0);
	check_int(batch(w, 1, text), 422, "a topic of 247 bytes");
	check_str(body, "{\"errors\":{\"messages\":[{},{\"topic\":"
			  "[\"is too long\"]}]}}", "so");
	snprintf(text, sizeof(text), SAY(NAME) ",{\"topic\":\"t\",\"event\":\"e\","
			 "\"payload\":\"%01023d\"}", 0);
	check_int(batch(w, 1, text), 422, "a payload of 1025 bytes");
	expect_nothing(w, a, "nothing of such a batch is said");
	world_free(w);
}

static void
who_may(void)
{
	world	   *w = rest_world();
	hub_conn   *a = talk_join(w, 2, 1, "");

	check_int(post(w, 10, SINGLE, JSON, "1"), 403, "a stranger may not");
	check_str(body, UNAUTHORIZED, "and is told so");
	check_int(batch(w, 10, SAY(NAME)), 202, "a batch does not tell");
	check_int(post_as(w, "anon", 0, SINGLE, JSON, "1", 1), 403, "anon");
	expect_nothing(w, a, "nobody hears them");
	check_int(post_as(w, "service_role", 0, SINGLE, JSON, "2", 1), 202,
			  "a service may");
	expect_part(w, a, "\"payload\":2", "and is heard");
	check_int(post(w, 1, BATCH "/lobby/events/e", JSON, "1"), 403,
			  "other topics are closed");
	w->config.public_channels = true;
	hub_set_config(w->h, &w->config);
	check_int(post_as(w, "anon", 0, BATCH "/lobby/events/e", JSON, "1", 1),
			  202, "unless they are opened");
	check_int(post(w, 1, BATCH "/lobby/events/e?private=true", JSON, "1"), 403,
			  "private ones are not");

	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	check_int(post(w, 1, SINGLE, JSON, "3"), 403, "who was removed may not");
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 1));
	check_int(post(w, 1, SINGLE, JSON, "4"), 202, "until he is back");
	world_free(w);
}

/* A user who is not in memory. */
static void
waiting(void)
{
	static const int room[] = {1};
	world	   *w = rest_world();
	hub_conn   *ear = talk_join(w, 2, 1, "");
	rest_exchange *x[4];
	hub_conn   *c;
	int			asked = w->nasked;

	x[0] = call(w, "authenticated", 2, SINGLE, JSON, "1", 1);
	x[1] = call(w, "authenticated", 2, SINGLE, JSON, "2", 1);
	check_int(status, 0, "waits");
	check_int(w->nasked, asked + 1, "for one question");
	rest_free(x[0]);
	world_answer(w, room, 1);
	check_int(status, 202, "until it is answered");
	world_pump(w);
	expect_part(w, ear, "\"payload\":2", "what was given up is not said");
	expect_nothing(w, ear, "only the rest");
	rest_free(x[1]);
	check_int((long long) hub_get_stats(w->h)->users, 1,
			  "nobody stays in memory for it");

	x[0] = call(w, "authenticated", 2, SINGLE, JSON, "1", 1);
	hub_user_failed(w->h, w->asked[w->nasked - 1].ticket, "no");
	check_int(status, 503, "the question failed");
	rest_free(x[0]);

	x[0] = call(w, "authenticated", 2, SINGLE, JSON, "1", 1);
	rest_expired(x[0]);
	check_int(status, 503, "it took too long");
	world_answer(w, room, 1);
	world_pump(w);
	expect_nothing(w, ear, "then it is not said later");
	rest_free(x[0]);

	/* Together with a channel of the user's. */
	x[0] = call(w, "authenticated", 2, SINGLE, JSON, "3", 1);
	c = world_open(w, 2, 2);
	world_send(w, c, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{}]");
	rest_free(x[0]);
	world_answer(w, room, 1);
	expect_part(w, c, "\"ok\"", "the channel goes on without it");
	check_int(post(w, 2, SINGLE, JSON, "4"), 202, "a user in memory");
	expect_part(w, c, "\"payload\":4", "is not asked for");
	hub_conn_close(c);

	x[0] = call(w, "authenticated", 3, SINGLE, JSON, "5", 1);
	c = world_open(w, 2, 3);
	world_send(w, c, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{}]");
	hub_conn_close(c);
	hub_user_failed(w->h, w->asked[w->nasked - 1].ticket, "no");
	check_int(status, 503, "the post goes on without the channel");
	rest_free(x[0]);
	world_free(w);
}

static void
not_live(void)
{
	world	   *w = rest_world();
	rest_exchange *x;

	hub_set_live(w->h, false);
	x = call(w, "authenticated", 1, SINGLE, JSON, "1", 1);
	check_int(status, 0, "waits for the stream");
	check_int(w->nasked, 0, "and asks for nothing yet");
	hub_set_live(w->h, true);
	talk_answer(w);
	check_int(status, 202, "which comes");
	rest_free(x);
	world_free(w);
}

static void
shares(void)
{
	world	   *w = rest_world();
	char		many[8192] = "";
	int			ok = 0;

	for (int i = 0; i < 101; i++)
	{
		if (i == 100)
			check_int(batch(w, 1, many), 202, "a hundred at once");
		sprintf(many + strlen(many), "%s%s", i > 0 ? "," : "", SAY("a"));
	}
	check_int(batch(w, 2, many), 429, "but no more");
	check_str(body, "{\"message\":\"Too many messages to broadcast, please "
			  "reduce the batch size\"}", "so");
	check_int(batch(w, 1, SAY("a")), 429, "none when the share is spent");
	check_str(body, "{\"message\":\"Too many requests\"}", "so");
	check_str(headers, "Retry-After: 1\r\n", "for a second");
	check_int(batch(w, 2, SAY("a")), 202, "others have their own");
	world_wait(w, 1);
	for (int i = 0; i < 100; i++)
		ok += post(w, 1, SINGLE, JSON, "1") == 202;
	check_int(ok, 30, "thirty more a second later");
	ok = 0;
	for (int i = 0; i < 200; i++)
		ok += post_as(w, "service_role", 0, SINGLE, JSON, "1", 1) == 202;
	check_int(ok, 200, "services have no limit");
	world_free(w);
}

/* What was asked before a reset says nothing afterwards. */
static void
reset(void)
{
	world	   *w = rest_world();
	rest_exchange *x = call(w, "authenticated", 1, SINGLE, JSON, "1", 1);

	hub_reset(w->h, HUB_CLOSE_RESTART, "start over");
	check_int(status, 503, "a reset ends the waiting");
	check_int((long long) hub_get_stats(w->h)->users, 0, "nobody is known");
	world_answer(w, (const int[]) {1}, 1);
	rest_free(x);
	check_int(post(w, 1, SINGLE, JSON, "1"), 202, "the next one asks anew");
	world_free(w);
}

/* Memberships that do not come, and more and more who wait for them. */
static void
too_many_wait(void)
{
	rest_exchange *x[20];
	world	   *w = rest_world();
	char	   *text = calloc(1, 1000003);
	int			refused = 0;

	http.max_message = 1024 * 1024;
	text[0] = text[1000001] = '"';
	memset(text + 1, 'x', 1000000);
	for (int i = 0; i < 20; i++)
	{
		x[i] = call(w, "authenticated", 100 + i, SINGLE, JSON, text, 1000002);
		refused += status == 503;
	}
	check_int(refused, 4, "of 20 MB, 16 may wait");
	for (int i = 0; i < 20; i++)
		rest_free(x[i]);
	x[0] = call(w, "authenticated", 100, SINGLE, JSON, text, 1000002);
	check_int(status, 0, "then there is room again");
	rest_free(x[0]);
	free(text);
	world_free(w);
}

/* A gateway that does not get rid of its signals takes all, or nothing. */
static void
stuck(void)
{
	world	   *w = rest_world();
	char	   *text = calloc(1, 1100000);
	size_t		size;
	int			taken = 0;

	http.max_message = 1024 * 1024;
	text[0] = '"';
	memset(text + 1, 'x', 700000);
	text[700001] = '"';
	for (int i = 0; i < 5; i++)
	{
		rest_exchange *x = call(w, "service_role", 0, SINGLE, JSON, text,
								700002);

		taken += status == 202;
		check(status == 202 || status == 503, "taken, or not: %d", status);
		rest_free(x);
	}
	check(taken > 0 && taken < 5, "%d of 5 were taken", taken);
	check(hub_outgoing(w->h, &size) != NULL, "and wait");
	free(text);
	world_free(w);
}

int
main(void)
{
	paths();
	methods();
	origins();
	tokens();
	types_and_sizes();
	large_messages();
	single();
	several();
	malformed_batches();
	who_may();
	waiting();
	not_live();
	shares();
	reset();
	too_many_wait();
	stuck();
	return check_done();
}
