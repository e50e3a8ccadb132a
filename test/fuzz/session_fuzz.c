/*-------------------------------------------------------------------------
 *
 * session_fuzz.c
 *	  A whole connection: frames in, text and binary, in either version,
 *	  while time goes on and things happen.
 *
 * The first byte is the version.  Then each line is a text frame, or a
 * binary one behind a B, or one of these: T (a second passes), A (the last
 * question about memberships is answered), F (it fails), M (a message comes),
 * J and L (the user joins and leaves the conversation), P (a moment passes),
 * C (the connection is lost and there is another).
 *
 * Two others, one of each version, hear what is said in conversation 1.
 * Whatever comes out must be a message that a client can live with.
 *
 *-------------------------------------------------------------------------
 */
#include <jansson.h>

#include "hub_world.h"

#define TOPIC	"realtime:room:00000000-0000-0000-0000-000000000001"
#define CONFIG	"{\"config\":{\"presence\":{\"enabled\":true}}}"

static world *w;
static hub_conn *ears[2];

/* A broadcast: its texts must be there, and JSON where it says so. */
static void
check_binary(int vsn)
{
	const uint8_t *p = (const uint8_t *) w->frame;
	size_t		head;
	json_t	   *payload;

	if (vsn != 2 || w->frame_len < 5 || p[0] != 4 || p[3] != 0 || p[4] > 1)
		abort();
	head = (size_t) 5 + p[1] + p[2];
	if (w->frame_len < head)
		abort();
	if (p[4] == 0)
		return;
	payload = json_loadb((const char *) p + head, w->frame_len - head,
						 JSON_DECODE_ANY, NULL);
	if (payload == NULL)
		abort();
	json_decref(payload);
}

static void
check_frame(int vsn)
{
	json_t	   *root;
	const json_t *payload;
	const char *event;

	if (w->frame_is_binary)
	{
		check_binary(vsn);
		return;
	}
	root = json_loadb(w->frame, w->frame_len, 0, NULL);
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
check_frames(hub_conn *conn, int vsn)
{
	while (world_read(w, conn) != NULL)
		check_frame(vsn);
}

static hub_conn *
step(hub_conn *conn, int vsn, const char *line, size_t len)
{
	static const int rooms[] = {1, 2};
	static const char commands[] = "TAFMJLPC";

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
				world_commit_one(w, event_participant(EVENT_INSERT, 1, 1));
				break;
			case 'P':
				world_tell(w);
				break;
			case 'C':
				hub_conn_close(conn);
				return world_open(w, vsn, 1);
			default:
				world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
		}
	}
	else if (len > 0 && *line == 'B')
		hub_conn_receive(conn, true, line + 1, len - 1, w->now);
	else
		hub_conn_receive(conn, false, line, len, w->now);
	return conn;
}

static void
open_ears(void)
{
	ears[0] = world_open_role(w, 1, "service_role", 0);
	world_send(w, ears[0], "{\"topic\":\"" TOPIC "\",\"event\":\"phx_join\","
			   "\"payload\":" CONFIG ",\"ref\":\"1\"}");
	ears[1] = world_open_role(w, 2, "service_role", 0);
	world_send(w, ears[1], "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\"," CONFIG
			   "]");
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
	open_ears();
	conn = world_open(w, vsn, 1);
	while (p < end)
	{
		const char *newline = memchr(p, '\n', (size_t) (end - p));
		const char *stop = newline != NULL ? newline : end;

		/* Exactly as long as it is, so that reading on is noticed. */
		char	   *line = malloc((size_t) (stop - p));

		memcpy(line, p, (size_t) (stop - p));
		conn = step(conn, vsn, line, (size_t) (stop - p));
		free(line);
		world_pump(w);
		check_frames(conn, vsn);
		for (int i = 0; i < 2; i++)
			check_frames(ears[i], i + 1);
		p = stop + 1;
	}
	world_free(w);
	return 0;
}
