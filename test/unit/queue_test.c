/*-------------------------------------------------------------------------
 *
 * queue_test.c
 *	  Frames and queues.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "realtime/queue.h"

#include "check.h"

static const char ann[] = "Ann";
static const char ben[] = "Ben";
static const uint8_t room_1[QUEUE_ROOM_SIZE] = {1};
static const uint8_t room_2[QUEUE_ROOM_SIZE] = {2};

static void
headers(void)
{
	static const struct
	{
		size_t		len;
		size_t		header_len;
		uint8_t		header[10];
	}			cases[] = {
		{0, 2, {0x81, 0}},
		{125, 2, {0x81, 125}},
		{126, 4, {0x81, 126, 0, 126}},
		{65535, 4, {0x81, 126, 0xff, 0xff}},
		{65536, 10, {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}}
	};
	char	   *payload = malloc(65536);

	memset(payload, 'x', 65536);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		frame	   *f = frame_text(payload, cases[i].len);

		check_int(f->len, (long long) (cases[i].len + cases[i].header_len),
				  "length of a frame of %zu", cases[i].len);
		check(memcmp(f->bytes, cases[i].header, cases[i].header_len) == 0,
			  "header of a frame of %zu", cases[i].len);
		check(memcmp(f->bytes + cases[i].header_len, payload,
					 cases[i].len) == 0,
			  "payload of a frame of %zu", cases[i].len);
		frame_unref(f);
	}
	free(payload);
}

static void
parts(void)
{
	frame_part	three[] = {{"ab", 2}, {NULL, 0}, {"cde", 3}};
	frame	   *f = frame_parts(three, 3);

	check(f->len == 7 && memcmp(f->bytes, "\x81\5abcde", 7) == 0,
		  "a frame of several parts");
	frame_unref(f);
}

static void
binary(void)
{
	frame	   *f = frame_binary(&(frame_part) {"\0\1", 2}, 1);

	check(f->len == 4 && memcmp(f->bytes, "\x82\2\0\1", 4) == 0,
		  "a binary frame");
	check(!f->ephemeral, "frames are kept unless somebody says so");
	frame_unref(f);
}

static void
push_about(queue *q, const char *text, const char *owner, const uint8_t *room,
		   int64_t seq)
{
	frame	   *f = frame_text(text, strlen(text));

	if (room != NULL)
		memcpy(f->room, room, QUEUE_ROOM_SIZE);
	f->seq = seq;
	check(queue_push(q, f, owner), "push %s", text);
	frame_unref(f);
}

static void
push(queue *q, const char *text, const char *owner)
{
	push_about(q, text, owner, NULL, 0);
}

/* Take up to so many bytes and compare; headers are shown as two dots. */
static void
take_named(queue *q, size_t size, const char *wanted, const char *name)
{
	char		got[256];
	size_t		n = queue_take(q, (uint8_t *) got, size);

	for (size_t i = 0; i < n; i++)
	{
		if ((uint8_t) got[i] == 0x81 || got[i] < ' ')
			got[i] = '.';
	}
	got[n] = '\0';
	check_str(got, wanted, "%s, %zu bytes", name, size);
}

static void
take(queue *q, size_t size, const char *wanted)
{
	take_named(q, size, wanted, "take");
}

static void
order_and_pieces(void)
{
	queue		q;

	queue_init(&q);
	take(&q, 100, "");
	push(&q, "abcd", NULL);
	push(&q, "efgh", NULL);
	push(&q, "ijkl", NULL);
	check_int((long long) queue_bytes(&q), 18, "bytes that wait");
	take(&q, 13, "..abcd..efgh");
	check_int((long long) queue_bytes(&q), 6, "bytes that are left");
	take(&q, 3, "..i");
	take(&q, 2, "jk");
	push(&q, "mn", NULL);
	take(&q, 0, "");
	take(&q, 100, "l..mn");
	check_int((long long) queue_bytes(&q), 0, "nothing is left");
	queue_free(&q);
}

/* A message that was committed so many microseconds ago. */
static void
push_message(queue *q, int64_t ago)
{
	frame	   *f = frame_text("m", 1);

	f->committed_at = latency_clock() - ago;
	queue_push(q, f, NULL);
	frame_unref(f);
}

static void
ages(void)
{
	uint64_t	lost = queue_lost;
	latency		before = queue_written;
	queue		q;

	queue_init(&q);
	queue_clock = 0;
	push_message(&q, 200000);
	push_message(&q, 400000);
	push(&q, "x", NULL);
	take(&q, 100, "..m..m..x");
	check_int((long long) (queue_written.buckets[latency_bucket(200000)] -
						   before.buckets[latency_bucket(200000)]), 1,
			  "a message of 0.2 s was written");
	check_int((long long) (queue_written.buckets[latency_bucket(400000)] -
						   before.buckets[latency_bucket(400000)]), 1,
			  "and one of 0.4 s");
	before = queue_written;

	push_message(&q, 0);
	push_message(&q, 0);
	push(&q, "x", NULL);
	take(&q, 1, ".");
	check(memcmp(&before, &queue_written, sizeof(before)) == 0,
		  "one that is written in part does not count");
	queue_clear(&q);
	check_int((long long) (queue_lost - lost), 1, "one is lost");
	queue_free(&q);
	check_int((long long) (queue_lost - lost), 2, "and in the end the other");
	check(memcmp(&before, &queue_written, sizeof(before)) == 0,
		  "none of them was written");
}

static void
drop_some(void)
{
	static const struct
	{
		const char *name;
		queue_choice which;
		const char *left;
	}			cases[] = {
		{"an owner's", {ann, NULL, 0}, "..b17..b27..n"},
		{"a room's", {NULL, room_1, 0}, "..a27..b27..n"},
		{"an owner's of a room", {ann, room_1, 0}, "..a27..b17..b27..n"},
		{"a message's", {NULL, room_1, 7}, "..a18..a27..b27..n"},
		{"another's", {ann, room_2, 8}, "..a17..a18..a27..b17..b27..n"},
		{"all", {NULL, NULL, 0}, ""}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		queue		q;

		queue_init(&q);
		push_about(&q, "a17", ann, room_1, 7);
		push_about(&q, "a18", ann, room_1, 8);
		push_about(&q, "a27", ann, room_2, 7);
		push_about(&q, "b17", ben, room_1, 7);
		push_about(&q, "b27", ben, room_2, 7);
		push(&q, "n", NULL);
		queue_drop(&q, &cases[i].which);
		take_named(&q, 100, cases[i].left, cases[i].name);
		queue_free(&q);
	}
}

static void
drop_and_clear(void)
{
	static const queue_choice of_ann = {ann, NULL, 0};
	queue		q;

	queue_init(&q);
	push(&q, "a1", ann);
	push(&q, "a2", ann);
	push(&q, "b1", ben);
	take(&q, 3, "..a");
	queue_drop(&q, &of_ann);
	check(q.entries[q.head].owner == NULL,
		  "what is partly written is nobody's any more");
	take(&q, 100, "1..b1");

	push(&q, "a1", ann);
	push(&q, "a2", ann);
	queue_clear(&q);
	take(&q, 100, "");
	check_int((long long) queue_bytes(&q), 0, "cleared");

	push(&q, "a1", ann);
	push(&q, "a2", ann);
	take(&q, 1, ".");
	queue_clear(&q);
	check_int((long long) queue_bytes(&q), 3, "all but a frame once started");
	take(&q, 100, ".a1");
	queue_free(&q);
}

/* The ring grows and wraps, and a shared frame outlives its queues. */
static void
push_ephemeral(queue *q, const char *text)
{
	frame	   *f = frame_text(text, strlen(text));

	f->ephemeral = true;
	check(queue_push(q, f, NULL), "push %s", text);
	frame_unref(f);
}

static void
evict(void)
{
	const queue_choice all = {.ephemeral = true};
	queue		q;

	queue_init(&q);
	push_ephemeral(&q, "e1");
	push_ephemeral(&q, "e2");
	push(&q, "n1", NULL);
	push_ephemeral(&q, "e3");
	push(&q, "a1", NULL);
	take(&q, 3, "..e");
	check_int(queue_drop(&q, &all), 2, "all but a frame once started");
	check_int((long long) queue_bytes(&q), 9, "bytes that are left");
	take(&q, 100, "1..n1..a1");
	check_int(queue_drop(&q, &all), 0, "nothing is there");
	queue_free(&q);
}

static void
many(void)
{
	frame	   *f = frame_text("x", 1);
	uint8_t		bytes[3];
	queue		q;

	queue_init(&q);
	for (int round = 0; round < 3; round++)
	{
		for (int i = 0; i < 1000; i++)
			queue_push(&q, f, i % 2 == 0 ? ann : ben);
		for (int i = 0; i < 500; i++)
			queue_take(&q, bytes, sizeof(bytes));
	}
	check_int(f->refs, 1501, "each entry holds a reference");
	queue_drop(&q, &(queue_choice) {ann, NULL, 0});
	check_int(f->refs, 751, "half of them are dropped");
	queue_free(&q);
	check_int(f->refs, 1, "and the rest with the queue");
	frame_unref(f);
}

int
main(void)
{
	headers();
	parts();
	binary();
	order_and_pieces();
	drop_some();
	drop_and_clear();
	evict();
	many();
	ages();
	return check_done();
}
