/*-------------------------------------------------------------------------
 *
 * session_fuzz.c
 *	  A whole connection: frames in, text and binary, in either version,
 *	  while time goes on and things happen.
 *
 * The first byte is the version.  Then each line is a text frame, or a
 * binary one behind a B, or one of these: T (a second passes), A (the last
 * question about memberships is answered), F (it fails), M (a message comes),
 * J and L (the user joins and leaves the conversation).
 *
 * Whatever comes out must be a message that a client can live with.
 *
 *-------------------------------------------------------------------------
 */
#include <jansson.h>

#include "hub_world.h"

static world *w;

static void
check_frame(int vsn, const char *text)
{
	json_t	   *root = json_loads(text, 0, NULL);
	const json_t *payload;
	const char *event;

	payload = vsn == 2 ? json_array_get(root, 4) :
		json_object_get(root, "payload");
	event = json_string_value(vsn == 2 ? json_array_get(root, 3) :
							  json_object_get(root, "event"));
	if (event == NULL || !json_is_object(payload))
		abort();

	/* To the client, "ids" at the top means that this is a change. */
	if ((json_object_get(payload, "ids") != NULL) !=
		(strcmp(event, "postgres_changes") == 0))
		abort();
	json_decref(root);
}

static void
step(hub_conn *conn, const char *line, size_t len)
{
	static const int rooms[] = {1, 2};
	static const char commands[] = "TAFMJL";

	if (len == 1 && strchr(commands, *line) != NULL)
	{
		switch (*line)
		{
			case 'T':
				world_wait(w, 1);
				break;
			case 'A':
				if (w->nasked > 0)
					world_answer(w, rooms, 2);
				break;
			case 'F':
				if (w->nasked > 0)
					hub_user_failed(w->h, w->asked[w->nasked - 1].ticket, "x");
				break;
			case 'M':
				world_commit_one(w, event_message(1, "hello"));
				break;
			case 'J':
				world_commit_one(w, event_participant(EVENT_INSERT, 3, 1));
				break;
			default:
				world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
		}
	}
	else if (len > 0 && *line == 'B')
		hub_conn_receive(conn, true, line + 1, len - 1, w->now);
	else
		hub_conn_receive(conn, false, line, len, w->now);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *) data;
	const char *end = p + size;
	hub_conn   *conn;
	int			vsn;

	if (size == 0)
		return 0;
	w = world_new();
	vsn = *p++ == '1' ? 1 : 2;
	conn = world_open(w, vsn, 1);
	while (p < end)
	{
		const char *newline = memchr(p, '\n', (size_t) (end - p));
		const char *stop = newline != NULL ? newline : end;

		/* Exactly as long as it is, so that reading on is noticed. */
		char	   *line = malloc((size_t) (stop - p));

		memcpy(line, p, (size_t) (stop - p));
		step(conn, line, (size_t) (stop - p));
		free(line);
		while (world_read(w, conn) != NULL)
			check_frame(vsn, w->frame);
		p = stop + 1;
	}
	world_free(w);
	return 0;
}
