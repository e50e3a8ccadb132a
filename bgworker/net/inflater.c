/*-------------------------------------------------------------------------
 *
 * inflater.c
 *	  Messages that clients have compressed (RFC 7692, 7.2.2).
 *
 * No message refers back to an earlier one, of its own connection or another:
 * that was agreed on with every client.  So one state of zlib's, and one
 * buffer for the outcome, serve all connections of a process; what is bad in
 * one message is gone with the next.
 *
 * A few bytes may stand for gigabytes.  The buffer grows as it is filled, to
 * one byte more than the message may have, and there it ends.
 *
 *-------------------------------------------------------------------------
 */
#include "inflater.h"

#include <stdbool.h>
#include <stdlib.h>

#include "../realtime/zmemory.h"

/* Negative: bare blocks, without zlib's header and trailer. */
#define WINDOW			(-15)

/* zlib counts in unsigned integers. */
#define MAX_PIECE		((size_t) 1 << 30)

/* A buffer up to this size is kept. */
#define KEEP_SIZE		65536

/* In zlib's data_type: what came so far ends with a block. */
#define AT_BOUNDARY		128

struct inflater
{
	z_stream	z;
	bool		complete;		/* ends with a block, so far */
	uint8_t    *buffer;
	size_t		size;
	size_t		len;
};

static inflate_result feed(inflater *in, const uint8_t *data, size_t len,
						   size_t most);
static inflate_result step(inflater *in, size_t most);
static bool make_room(inflater *in, size_t most);

inflater *
inflater_new(void)
{
	inflater   *in = calloc(1, sizeof(inflater));

	if (in == NULL)
		return NULL;
	zmemory_use(&in->z);
	if (inflateInit2(&in->z, WINDOW) != Z_OK)
	{
		free(in);
		return NULL;
	}
	return in;
}

void
inflater_free(inflater *in)
{
	if (in == NULL)
		return;
	inflateEnd(&in->z);
	free(in->buffer);
	free(in);
}

inflate_result
inflater_run(inflater *in, const uint8_t *data, size_t len, size_t most,
			 const char **message, size_t *message_len)
{
	/* What the sender has left out: the rest of an empty block. */
	static const uint8_t tail[] = {0x00, 0x00, 0xff, 0xff};
	inflate_result result;

	if (in->size > KEEP_SIZE)
	{
		free(in->buffer);
		in->buffer = NULL;
		in->size = 0;
	}
	in->len = 0;
	if (inflateReset(&in->z) != Z_OK)
		return INFLATE_NO_MEMORY;

	result = feed(in, data, len, most);
	if (result == INFLATE_OK)
		result = feed(in, tail, sizeof(tail), most);
	if (result == INFLATE_OK && !in->complete)
		result = INFLATE_BAD_DATA;
	*message = in->buffer != NULL ? (const char *) in->buffer : "";
	*message_len = in->len;
	return result;
}

/* Inflate all of this, as far as the message may go. */
static inflate_result
feed(inflater *in, const uint8_t *data, size_t len, size_t most)
{
	inflate_result result = INFLATE_OK;

	while (len > 0 && result == INFLATE_OK)
	{
		size_t		piece = len < MAX_PIECE ? len : MAX_PIECE;

		in->z.next_in = (uint8_t *) data;
		in->z.avail_in = (unsigned) piece;
		do
			result = step(in, most);
		while (result == INFLATE_OK && !in->complete &&
			   (in->z.avail_in > 0 || in->z.avail_out == 0));
		data += piece - in->z.avail_in;
		len -= piece - in->z.avail_in;
	}
	return result;
}

/* As much as there is room for. */
static inflate_result
step(inflater *in, size_t most)
{
	int			outcome;

	if (!make_room(in, most))
		return INFLATE_NO_MEMORY;
	outcome = inflate(&in->z, Z_SYNC_FLUSH);
	in->len = in->z.next_out - in->buffer;
	in->complete = in->z.avail_in == 0 &&
		(outcome == Z_STREAM_END || (in->z.data_type & AT_BOUNDARY) != 0);

	/* After a last block there may be more (7.2.3.4), from a new byte on. */
	if (outcome == Z_STREAM_END)
		outcome = inflateReset(&in->z);
	if (outcome == Z_MEM_ERROR)
		return INFLATE_NO_MEMORY;

	/* Z_BUF_ERROR: nothing more was waiting to come out. */
	if (outcome != Z_OK && outcome != Z_BUF_ERROR)
		return INFLATE_BAD_DATA;
	return in->len > most ? INFLATE_TOO_BIG : INFLATE_OK;
}

static bool
make_room(inflater *in, size_t most)
{
	size_t		room;

	if (in->len == in->size)
	{
		size_t		size = in->size > 0 ? in->size * 2 : 4096;
		uint8_t    *buffer;

		if (size > most + 1)
			size = most + 1;
		buffer = realloc(in->buffer, size);
		if (buffer == NULL)
			return false;
		in->buffer = buffer;
		in->size = size;
	}
	room = in->size - in->len;
	in->z.next_out = in->buffer + in->len;
	in->z.avail_out = (unsigned) (room < MAX_PIECE ? room : MAX_PIECE);
	return true;
}
