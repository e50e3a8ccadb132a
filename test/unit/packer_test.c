/*-------------------------------------------------------------------------
 *
 * packer_test.c
 *	  Compressed frames: which are made, that they say the same, and that all
 *	  who take them share one.
 *
 *-------------------------------------------------------------------------
 */
#include "scarce_memory.h"

#include <zlib.h>

#include "hub_world.h"
#include "realtime/packer.h"

#define WINDOW	15
#define MANY	(300 * 1024)
#define SEGMENT	1448
#define FEW		7				/* get it plain */

/* A frame of so many bytes, header included; dull or never the same. */
static frame *
frame_of(size_t len, bool dull)
{
	static char payload[MANY];
	size_t		header = len - 4 < 126 ? 2 : len - 4 <= UINT16_MAX ? 4 : 10;
	unsigned	seed = 1;

	for (size_t i = 0; i < len; i++)
		payload[i] = dull ? "hello "[i % 6] :
			(char) ((seed = seed * 1103515245 + 12345) >> 16);
	return frame_binary(&(frame_part) {payload, len - header}, 1);
}

/* What a compressed frame stands for; returns its length. */
static size_t
inflated(const frame *f, uint8_t *out, size_t size, int window)
{
	static const uint8_t tail[] = {0, 0, 0xff, 0xff};
	size_t		header = frame_header_size(f);
	z_stream	z = {0};
	size_t		len;

	inflateInit2(&z, -window);
	z.next_out = out;
	z.avail_out = (unsigned) size;
	z.next_in = (uint8_t *) f->bytes + header;
	z.avail_in = (unsigned) (f->len - header);
	inflate(&z, Z_SYNC_FLUSH);
	z.next_in = (uint8_t *) tail;
	z.avail_in = sizeof(tail);
	inflate(&z, Z_SYNC_FLUSH);
	len = z.avail_in == 0 ? size - z.avail_out : 0;
	inflateEnd(&z);
	return len;
}

static bool
says_the_same(const frame *packed, const frame *f, int window)
{
	static uint8_t out[MANY];
	size_t		header = frame_header_size(f);

	return packed->bytes[0] == (f->bytes[0] | 0x40) &&
		inflated(packed, out, sizeof(out), window) == f->len - header &&
		memcmp(out, f->bytes + header, f->len - header) == 0;
}

static void
which(void)
{
	static const struct
	{
		const char *name;
		size_t		len;
		bool		dull;
		int			window;
		bool		packed;
	}			cases[] = {
		{"a small frame", 1023, true, WINDOW, false},
		{"a frame of one segment", SEGMENT, true, WINDOW, false},
		{"a byte more", SEGMENT + 1, true, WINDOW, true},
		{"... for who takes none", SEGMENT + 1, true, 0, false},
		{"... that does not shrink", SEGMENT + 1, false, WINDOW, false},
		{"a frame of 2 kB for a window of as much", 2048, true, 11, true},
		{"a byte more than the window", 2049, true, 11, false},
		{"the smallest window", 2048, true, 8, false},
		{"as much as the largest window", 32768, true, WINDOW, true},
		{"a long payload", 200, true, WINDOW, false}
	};
	packer	   *p = packer_new();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		frame	   *f = frame_of(cases[i].len, cases[i].dull);
		frame	   *chosen = packer_choose(p, f, cases[i].window);

		check(f->len == cases[i].len && (chosen != f) == cases[i].packed,
			  "%s is%s compressed", cases[i].name,
			  cases[i].packed ? "" : " not");
		if (chosen != f)
			check(chosen->len < f->len &&
				  says_the_same(chosen, f, cases[i].window),
				  "... to %u bytes that say the same", chosen->len);
		frame_unref(f);
	}
	packer_free(p);
}

/* What fits into a segment is compressed for many only. */
static void
crowd(void)
{
	packer	   *p = packer_new();
	frame	   *f = frame_of(1024, true);
	frame	   *small = frame_of(1023, true);
	int			plain = 0;
	int			packed = 0;

	for (int i = 0; i < 3 * FEW; i++)
	{
		plain += packer_choose(p, f, 0) == f;
		packed += packer_choose(p, f, WINDOW) != f;
		check(packer_choose(p, small, WINDOW) == small, "small, to many");
	}
	check_int(packed, 2 * FEW, "1 kB is compressed for all but a few");
	check_int(plain, 3 * FEW, "... who take it so");
	frame_unref(f);
	frame_unref(small);
	packer_free(p);
}

/* Whoever takes compressed frames gets the same one, as long as needed. */
static void
twins(void)
{
	packer	   *p = packer_new();
	frame	   *f = frame_of(5000, true);
	frame	   *odd = frame_of(2000, false);
	frame	   *twin;
	queue		q;

	f->ephemeral = true;
	f->seq = 7;
	memset(f->room, 3, sizeof(f->room));
	twin = packer_choose(p, f, WINDOW);
	check(twin != f && packer_choose(p, f, 13) == twin, "one for all");
	check(twin->ephemeral && twin->seq == 7 &&
		  memcmp(twin->room, f->room, sizeof(f->room)) == 0,
		  "... which can be dropped as the other");
	check(packer_choose(p, twin, WINDOW) == twin, "... and has no twin");

	queue_init(&q);
	queue_push(&q, twin, NULL);
	frame_unref(f);
	check(q.bytes == twin->len && twin->refs == 1,
		  "... and stays as long as it waits");
	queue_free(&q);

	check(packer_choose(p, odd, WINDOW) == odd && odd->incompressible,
		  "what does not shrink is tried once");
	frame_unref(odd);
	packer_free(p);
}

/* Without memory it goes as it is, and a later receiver gets it packed. */
static void
scarce(void)
{
	int			missing = 0;

	for (int n = 0; n < 10; n++)
	{
		packer	   *p = packer_new();
		frame	   *f = frame_of(5000, true);
		frame	   *chosen;

		armed = true;
		requests_left = n;
		chosen = packer_choose(p, f, WINDOW);
		armed = false;
		missing += chosen == f;
		check(packer_choose(p, f, WINDOW) != f,
			  "compressed, whatever memory was missing before (%d)", n);
		frame_unref(f);
		packer_free(p);
	}
	check(missing > 2, "memory was missing in %d places", missing);
}

static hub_conn *
reader(world *w, int vsn, int user, int window)
{
	hub_conn   *c = world_open(w, vsn, user);

	hub_conn_set_window(c, window);
	world_send(w, c, vsn == 2 ?
			   "[\"1\",\"1\",\"realtime:t\",\"phx_join\",{\"config\":"
			   "{\"postgres_changes\":[{\"event\":\"*\","
			   "\"schema\":\"public\"}]}}]" :
			   "{\"topic\":\"realtime:t\",\"event\":\"phx_join\",\"payload\":"
			   "{\"config\":{\"postgres_changes\":[{\"event\":\"*\","
			   "\"schema\":\"public\"}]}},\"ref\":\"1\"}");
	world_answer(w, (const int[]) {1}, 1);
	world_skip(w, c);
	return c;
}

static frame *
waiting(hub_conn *c)
{
	queue	   *q = hub_conn_queue(c);

	return q->count == 1 ? q->entries[q->head].frame : NULL;
}

/* A change to readers of all kinds. */
static void
routed(void)
{
	world	   *w = world_new();
	hub_conn   *plain = reader(w, 2, 1, 0);
	hub_conn   *packed[] = {reader(w, 2, 2, 15), reader(w, 2, 3, 13)};
	hub_conn   *narrow = reader(w, 2, 4, 9);
	hub_conn   *old = reader(w, 1, 5, 15);
	char		content[3000];

	memset(content, 'x', sizeof(content));
	content[sizeof(content) - 1] = '\0';
	world_commit_one(w, event_message(1, content));
	check(waiting(plain) != NULL && waiting(plain)->bytes[0] == 0x81 &&
		  waiting(plain)->len > sizeof(content) &&
		  waiting(narrow) == waiting(plain),
		  "a change as it is, to those who take no other");
	check(waiting(packed[0]) != waiting(plain) &&
		  waiting(packed[0]) == waiting(packed[1]) &&
		  says_the_same(waiting(packed[0]), waiting(plain), 13),
		  "... and compressed, to those who do");
	check(waiting(old) != waiting(packed[0]) &&
		  waiting(old)->bytes[0] == 0xc1,
		  "... in each version of the protocol");
	world_free(w);
}

int
main(void)
{
	which();
	crowd();
	twins();
	scarce();
	routed();
	return check_done();
}
