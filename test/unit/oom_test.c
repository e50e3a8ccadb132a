/*-------------------------------------------------------------------------
 *
 * oom_test.c
 *	  Memory that runs out, at each place where it can.
 *
 * One run fails the first request, the next the second, and so on, either that
 * one only or all from then on.  Whatever happens, who was told that she is
 * subscribed gets each change, or is cut; and who was told that she is present
 * is, once there is memory again.
 *
 *-------------------------------------------------------------------------
 */
#include "scarce_memory.h"

#include "hub_world.h"

#define ITEMS \
	"{\"event\":\"*\",\"schema\":\"public\"}," \
	"{\"event\":\"*\",\"schema\":\"public\",\"table\":\"messages\"," \
	"\"select\":[\"content\"],\"filter\":\"conversation_id=eq." \
	"00000000-0000-0000-0000-000000000001,content=like.h%%," \
	"seq=in.(1,7),metadata=neq.{}\"}"

static bool
was_cut(const world *w, const hub_conn *conn)
{
	for (int i = 0; i < w->nclosed; i++)
	{
		if (w->closed[i].conn == conn)
			return true;
	}
	return false;
}

/* Is there a frame with this text among those that wait? */
static bool
was_told(world *w, hub_conn *conn, const char *text)
{
	const char *got;
	bool		told = false;

	while ((got = world_read(w, conn)) != NULL)
		told |= strstr(got, text) != NULL;
	return told;
}

/* As after a column got another name. */
static event_header *
event_with_other_columns(int room, const char *content)
{
	event_header *e = event_message(room, content);
	char	   *columns = (char *) (e + 1);

	memcpy(memmem(columns, e->columns_len, "is_edited", 9), "is_marked", 9);
	return e;
}

#define ROOM_1_NAME	"room:00000000-0000-0000-0000-000000000001"
#define ROOM_1	"realtime:" ROOM_1_NAME

static void
speak(world *w, hub_conn *service, const char *text)
{
	char		frame[256];

	snprintf(frame, sizeof(frame), "{\"topic\":\"" ROOM_1 "\",\"event\":"
			 "\"broadcast\",\"payload\":{\"event\":\"%s\"},\"ref\":\"5\"}",
			 text);
	world_send(w, service, frame);
	world_tell(w);
}

/* Is she present, as somebody sees who looks now? */
static bool
is_present(world *w, const char *key)
{
	hub_conn   *eye = world_open_role(w, 1, "service_role", 0);
	bool		seen;

	world_tell(w);
	world_send(w, eye, "{\"topic\":\"" ROOM_1 "\",\"event\":\"phx_join\","
			   "\"payload\":{\"config\":{\"presence\":{\"enabled\":true}}},"
			   "\"ref\":\"1\"}");
	seen = was_told(w, eye, key);
	hub_conn_close(eye);
	return seen;
}

/*
 * What user 1, a member of room 1, says over HTTP.  As any broadcast it may be
 * lost; but a post that was settled is not settled again.
 */
static bool
post(world *w)
{
	const hub_said said = {
		.topic = ROOM_1_NAME,.topic_len = sizeof(ROOM_1_NAME) - 1,
		.event = "posted",.event_len = 6,.payload = "1",.payload_len = 1
	};
	token_claims claims = {.role = "authenticated",.has_profile = true};
	int			result = -1;
	hub_post   *p;
	bool		settled;

	user_id(claims.profile_id, 1);
	p = hub_post_new(w->h, &claims, &result);
	if (p == NULL)
		return true;
	if (hub_post_add(p, &said))
		hub_post_send(p, w->now);
	settled = result != -1;
	result = -1;
	world_tell(w);
	hub_reset(w->h, HUB_CLOSE_RESTART, "start over");
	hub_post_free(p);
	return !settled || result == -1;
}

/* Broadcast and presence of c, who is a member of room 1 until the end. */
static bool
talk(world *w, hub_conn *c, hub_conn *service)
{
	bool		good = true;
	bool		joined;
	bool		tracks;

	world_send(w, c, "[\"7\",\"7\",\"" ROOM_1 "\",\"phx_join\",{\"config\":"
			   "{\"presence\":{\"enabled\":true,\"key\":\"somebody\"}}}]");
	world_send(w, service, "{\"topic\":\"" ROOM_1 "\",\"event\":\"phx_join\","
			   "\"payload\":{\"config\":{\"broadcast\":{\"self\":true},"
			   "\"presence\":{\"enabled\":true}}},\"ref\":\"1\"}");
	speak(w, service, "aloud");
	was_told(w, c, "aloud");
	joined = was_told(w, service, "aloud");
	world_commit_one(w, event_broadcast(1, ROOM_1_NAME, "noted", "{}"));
	good &= !joined || was_cut(w, service) || was_told(w, service, "noted");
	world_send(w, c, "[\"7\",\"8\",\"" ROOM_1 "\",\"presence\",{\"event\":"
			   "\"track\",\"payload\":{\"a\":1}}]");
	tracks = was_told(w, c, "[\"7\",\"8\",\"" ROOM_1 "\",\"phx_reply\","
					  "{\"status\":\"ok\"");
	world_tell(w);
	armed = false;
	if (tracks && !was_cut(w, c))
		good &= is_present(w, "somebody");
	armed = true;
	return good;
}

static bool
run(int first_failure, bool rest_too)
{
	char	   *token = token_for("authenticated", 1, NOW + 600);
	world	   *w;
	hub_conn   *c = NULL;
	hub_conn   *service = NULL;
	char		text[2048];
	bool		told;
	bool		good = true;

	requests_left = first_failure;
	all_fail = rest_too;
	armed = true;
	w = world_new_bare();
	if (w->h != NULL && world_describe(w))
	{
		hub_set_live(w->h, true);
		c = world_open(w, 2, 2);
		service = world_open_role(w, 1, "service_role", 0);
	}
	if (c != NULL && service != NULL)
	{
		snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:x\",\"phx_join\","
				 "{\"config\":{\"postgres_changes\":[" ITEMS "]},"
				 "\"access_token\":\"%s\"}]", token);
		world_send(w, c, text);
		world_send(w, service, "{\"topic\":\"realtime:x\",\"event\":"
				   "\"phx_join\",\"payload\":{\"config\":{\"postgres_changes\":["
				   ITEMS "]}},\"ref\":\"1\"}");
		if (w->nasked > 0)
		{
			world_commit_one(w, event_participant(EVENT_INSERT, 3, 1));
			world_answer_at(w, 0, (const int[]) {1, 2}, 2, w->lsn, w->xid,
							w->xid + 1, &w->xid, 1);
		}
		world_wait(w, 1);
		if (w->nasked > 1)
			world_answer(w, (const int[]) {1, 2, 3}, 3);
		told = was_told(w, c, "Subscribed");
		world_commit_one(w, event_message(1, "hello"));
		good &= !told || was_cut(w, c) || was_told(w, c, "hello");
		world_commit_one(w, event_message(3, "in three"));
		good &= !told || was_cut(w, c) || was_told(w, c, "in three");
		world_commit_one(w, event_participant(EVENT_INSERT, 4, 1));
		world_commit_one(w, event_message(4, "in four"));
		good &= !told || was_cut(w, c) || was_told(w, c, "in four");
		world_commit_one(w, event_with_other_columns(4, "changed"));
		good &= !told || was_cut(w, c) || was_told(w, c, "changed");
		good &= talk(w, c, service);
		world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
		world_commit_one(w, event_message(1, "secret"));
		good &= !was_told(w, c, "secret");
		speak(w, service, "whisper");
		good &= !was_told(w, c, "whisper");
		world_send(w, c, "[\"1\",\"3\",\"realtime:x\",\"access_token\","
				   "{\"access_token\":\"\"}]");
		world_send(w, c, "[\"1\",\"2\",\"realtime:y\",\"phx_leave\",{}]");
		world_wait(w, 3);
		good &= post(w);
		hub_conn_close(c);
	}
	armed = false;
	world_free(w);
	free(token);
	check(good, "request %d fails%s: nothing is lost, nothing too much",
		  first_failure, rest_too ? ", and all after it" : "");
	return requests_left < 0;
}

int
main(void)
{
	int			n = 0;

	while (run(n, false))
		n++;
	check(n > 100, "there were many requests (%d)", n);
	for (int i = 0; i < n; i++)
		run(i, true);
	return check_done();
}
