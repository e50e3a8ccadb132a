/*-------------------------------------------------------------------------
 *
 * unpack.c
 *	  Compressed frames (RFC 7692), without context takeover.
 *
 * All readers of a message get the same bytes.  So as not to spend the
 * machine's time on what is not measured, a frame that is the same as the
 * last one is not inflated again.
 *
 *-------------------------------------------------------------------------
 */
#include "clients.h"

#include <string.h>
#include <zlib.h>

#define MOST_BYTES		(256 * 1024)

const char *
unpack(const uint8_t *data, size_t len, size_t *text_len)
{
	static z_stream z;
	static uint8_t last[MOST_BYTES + 4];
	static size_t last_len = 0;
	static char text[MOST_BYTES + 1];
	static size_t result_len;

	if (len == last_len && memcmp(data, last, len) == 0)
	{
		*text_len = result_len;
		return text;
	}
	if (len > MOST_BYTES ||
		(last_len == 0 ? inflateInit2(&z, -15) : inflateReset(&z)) != Z_OK)
		die("could not inflate a frame of %zu bytes", len);
	memcpy(last, data, len);
	memcpy(last + len, "\0\0\xff\xff", 4);
	z.next_in = last;
	z.avail_in = (unsigned) len + 4;
	z.next_out = (uint8_t *) text;
	z.avail_out = MOST_BYTES;
	if (inflate(&z, Z_SYNC_FLUSH) != Z_OK || z.avail_in > 0)
		die("a frame of %zu bytes cannot be inflated", len);
	last_len = len;
	result_len = MOST_BYTES - z.avail_out;
	text[result_len] = '\0';
	*text_len = result_len;
	return text;
}
