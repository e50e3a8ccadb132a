/*-------------------------------------------------------------------------
 *
 * event_fuzz.c
 *	  Bytes as an event, and as the answer to a question about memberships.
 *
 * The first byte tells which.  Both come from our own processes; still,
 * nothing in them may lead the hub outside of them.  The header's magic and
 * size are filled in, so that the search gets past them.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_world.h"

#define JOIN(topic, filter) \
	"[\"1\",\"1\",\"realtime:" topic "\",\"phx_join\",{\"config\":" \
	"{\"postgres_changes\":[{\"event\":\"*\",\"schema\":\"public\"," \
	"\"table\":\"messages\"," filter "}]}}]"

static void
feed_event(world *w, const uint8_t *data, size_t size)
{
	event_header *e = malloc(size);

	memcpy(e, data, size);
	e->magic = EVENT_MAGIC;
	e->size = (uint32_t) size;
	if (hub_event_valid(e, size))
	{
		hub_learn(w->h, e);
		hub_route(w->h, (const event_header *const *) &e, 1);
		hub_commit(w->h);
	}
	free(e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	world	   *w;
	hub_conn   *c;
	hub_conn   *service;

	if (size == 0)
		return 0;
	w = world_new();
	c = world_open(w, 2, 1);
	service = world_open_role(w, 1, "service_role", 0);
	world_send(w, c, JOIN("a", "\"select\":[\"content\"]"));
	world_send(w, c, JOIN("b", "\"filter\":\"content=like.a%,seq=gt.1\""));
	world_send(w, service, "{\"topic\":\"realtime:x\",\"event\":\"phx_join\","
			   "\"payload\":{\"config\":{\"postgres_changes\":[{\"event\":\"*\","
			   "\"schema\":\"*\"}]}},\"ref\":\"1\"}");
	if (data[0] == 'S')
	{
		size_t		len = size - 1;
		event_snapshot *s = malloc(len);

		memcpy(s, data + 1, len);
		hub_user_loaded(w->h, w->asked[0].ticket, s, len);
		free(s);
		world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	}
	else if (size > sizeof(event_header))
	{
		world_answer(w, (const int[]) {0, 1}, 2);
		feed_event(w, data + 1, size - 1);
	}
	world_free(w);
	return 0;
}
