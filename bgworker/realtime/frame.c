/*-------------------------------------------------------------------------
 *
 * frame.c
 *	  RFC 6455 frames as a server writes them.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_FIN_TEXT		0x81
#define FRAME_FIN_BINARY	0x82
#define FRAME_FIN_PING		0x89
#define FRAME_COMPRESSED	0x40	/* RFC 7692, 6 */
#define FRAME_LEN_16		126
#define FRAME_LEN_64		127
#define FRAME_MAX_HEADER	10

size_t		queue_memory = 0;

static size_t
frame_header(uint8_t *header, uint8_t opcode, size_t len)
{
	int			width;

	header[0] = opcode;
	if (len < FRAME_LEN_16)
	{
		header[1] = (uint8_t) len;
		return 2;
	}
	header[1] = len <= UINT16_MAX ? FRAME_LEN_16 : FRAME_LEN_64;
	width = len <= UINT16_MAX ? 2 : 8;
	for (int i = 0; i < width; i++)
		header[2 + i] = (uint8_t) ((uint64_t) len >> (8 * (width - 1 - i)));
	return 2 + (size_t) width;
}

static frame *
frame_new(uint8_t opcode, const frame_part *parts, int nparts)
{
	uint8_t		header[FRAME_MAX_HEADER];
	size_t		len = 0;
	size_t		at;
	frame	   *f;

	for (int i = 0; i < nparts; i++)
		len += parts[i].len;
	if (len > UINT32_MAX - FRAME_MAX_HEADER)
		return NULL;
	at = frame_header(header, opcode, len);
	f = malloc(sizeof(frame) + at + len);
	if (f == NULL)
		return NULL;
	queue_memory += sizeof(frame) + at + len;
	f->refs = 1;
	f->ephemeral = false;
	f->len = (uint32_t) (at + len);
	memset(f->room, 0, sizeof(f->room));
	f->seq = 0;
	f->committed_at = 0;
	f->packed = NULL;
	f->incompressible = false;
	f->plain = 0;
	memcpy(f->bytes, header, at);
	for (int i = 0; i < nparts; i++)
	{
		if (parts[i].len > 0)
			memcpy(f->bytes + at, parts[i].data, parts[i].len);
		at += parts[i].len;
	}
	return f;
}

frame *
frame_parts(const frame_part *parts, int nparts)
{
	return frame_new(FRAME_FIN_TEXT, parts, nparts);
}

frame *
frame_binary(const frame_part *parts, int nparts)
{
	return frame_new(FRAME_FIN_BINARY, parts, nparts);
}

frame *
frame_text(const char *payload, size_t len)
{
	return frame_parts(&(frame_part) {payload, len}, 1);
}

frame *
frame_ping(const void *payload, size_t len)
{
	return frame_new(FRAME_FIN_PING, &(frame_part) {payload, len}, 1);
}

frame *
frame_packed(const frame *f, const frame_part *payload)
{
	frame	   *packed = frame_new(f->bytes[0] | FRAME_COMPRESSED, payload, 1);

	if (packed == NULL)
		return NULL;
	packed->incompressible = true;
	packed->ephemeral = f->ephemeral;
	packed->seq = f->seq;
	packed->committed_at = f->committed_at;
	memcpy(packed->room, f->room, sizeof(f->room));
	return packed;
}

size_t
frame_header_size(const frame *f)
{
	return f->bytes[1] < FRAME_LEN_16 ? 2 : f->bytes[1] == FRAME_LEN_16 ? 4 : 10;
}

frame *
frame_ref(frame *f)
{
	f->refs++;
	return f;
}

void
frame_unref(frame *f)
{
	if (f == NULL || --f->refs > 0)
		return;
	frame_unref(f->packed);
	queue_memory -= sizeof(frame) + f->len;
	free(f);
}
