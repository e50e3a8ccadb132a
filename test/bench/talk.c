/*-------------------------------------------------------------------------
 *
 * talk.c
 *	  What clients say to each other: presence and broadcasts.
 *
 *-------------------------------------------------------------------------
 */
#include "clients.h"

#include <string.h>

#define MOST_TEXT		1400

/* Every client tracks; each is to be told of all who are in its room. */
void
talk_track(void)
{
	char		room[ID_SIZE];
	char		text[400];

	for (int i = 0; i < set->clients; i++)
	{
		room_id(room, set->room_size, i / set->room_size);
		snprintf(text, sizeof(text),
				 "[\"1\",\"3\",\"realtime:messages:%s\",\"presence\","
				 "{\"type\":\"presence\",\"event\":\"track\",\"payload\":"
				 "{\"online_at\":\"2026-12-01T12:00:00.000Z\"}}]", room);
		client_send(&all[i], TEXT, text, strlen(text));

		/* Not so many at a time that the answers fill the sockets. */
		if (i % 64 == 63)
			clients_turn(now_ns());
	}
}

/* Who has come; who leaves is of those who were here before. */
void
talk_read_presence(const char *text, size_t len)
{
	static const char mark[] = "\"phx_ref\":";
	static const char leaves[] = "\"leaves\":";
	const char *end = memmem(text, len, leaves, sizeof(leaves) - 1);

	if (end == NULL)
		return;					/* no difference */
	while ((text = memmem(text, (size_t) (end - text), mark,
						  sizeof(mark) - 1)) != NULL)
	{
		text += sizeof(mark) - 1;
		received.frames++;
		received.last = now_ns();
	}
}

/*
 * The nth message of all, to one room after the other; somebody else's turn
 * with each round, so that nobody says too much.
 */
static void
say(uint64_t n)
{
	uint64_t	round = n / (uint64_t) rooms(set);
	int			room = (int) (n % (uint64_t) rooms(set));
	client	   *c = &all[room * set->room_size +
						 (int) (round % (uint64_t) set->room_size)];
	char		id[ID_SIZE];
	char		text[MOST_TEXT + 400];
	char		filler[MOST_TEXT];

	memset(filler, 'x', sizeof(filler));
	room_id(id, set->room_size, room);
	snprintf(text, sizeof(text),
			 "[\"1\",\"4\",\"realtime:messages:%s\",\"broadcast\","
			 "{\"type\":\"broadcast\",\"event\":\"message\",\"payload\":"
			 "{" TIME_MARK STAMP "%.*s\"," SEQ_MARK "%lu}}]", id,
			 (long) now_ns(), 0, 0ul, set->text_size - STAMP_SIZE, filler,
			 (unsigned long) round + 1);
	client_send(c, TEXT, text, strlen(text));
}

/* One burst of broadcasts; returns its size. */
uint64_t
talk_burst(void)
{
	static uint64_t sent = 0;

	if (set->text_size > MOST_TEXT)
		die("a broadcast of %d bytes is too large", set->text_size);
	for (int i = 0; i < set->burst; i++)
	{
		say(sent++);
		if (i % 64 == 63)
			clients_turn(now_ns());
	}
	return (uint64_t) set->burst;
}
