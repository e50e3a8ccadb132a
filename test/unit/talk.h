/*-------------------------------------------------------------------------
 *
 * talk.h
 *	  Channels that broadcast and are present, for the tests of both.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TALK_H
#define TALK_H

#include "hub_world.h"

#define ROOM_1		"00000000-0000-0000-0000-000000000001"
#define TOPIC		"realtime:room:" ROOM_1
#define PROFILE(n)	"aa000000-0000-0000-0000-00000000000" #n

/* Everybody is in room 1, and users of ten and more in no room. */
static inline void
talk_answer(world *w)
{
	static const int rooms[] = {1};
	bool		stranger;

	if (w->nasked == 0)
		return;
	stranger = w->asked[w->nasked - 1].profile_id[15] >= 10;
	world_answer(w, rooms, stranger ? 0 : 1);
}

/* Join a topic with this inside of config. */
static inline void
talk_ask(world *w, hub_conn *c, int vsn, const char *ref, const char *topic,
		 const char *config)
{
	char		text[2048];

	if (vsn == 2)
		snprintf(text, sizeof(text), "[\"%s\",\"%s\",\"%s\",\"phx_join\","
				 "{\"config\":{%s}}]", ref, ref, topic, config);
	else
		snprintf(text, sizeof(text), "{\"topic\":\"%s\",\"event\":"
				 "\"phx_join\",\"ref\":\"%s\",\"join_ref\":\"%s\","
				 "\"payload\":{\"config\":{%s}}}", topic, ref, ref, config);
	world_send(w, c, text);
	talk_answer(w);
}

static inline hub_conn *
talk_join_as(world *w, int vsn, const char *role, int user,
			 const char *topic, const char *config)
{
	hub_conn   *c = world_open_role(w, vsn, role, user);

	talk_ask(w, c, vsn, "1", topic, config);
	expect_part(w, c, "\"status\":\"ok\"", "user %d joins %s", user, topic);
	return c;
}

static inline hub_conn *
talk_join(world *w, int vsn, int user, const char *config)
{
	return talk_join_as(w, vsn, "authenticated", user, TOPIC, config);
}

#endif							/* TALK_H */
