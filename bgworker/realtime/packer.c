/*-------------------------------------------------------------------------
 *
 * packer.c
 *	  Compression of large frames, once for all who get them.
 *
 * No frame refers back to an earlier one (server_no_context_takeover), so a
 * compressed frame is the same for everybody, and there is one state of
 * zlib's, made when the first frame wants it.  A frame is compressed when the
 * first of its receivers takes it so, and not sooner.
 *
 * RFC 7692 lets a server send what it likes as it is.  Small frames gain
 * little and are most of the traffic.  Very large ones would keep everybody
 * waiting.  And who has a small window gets compressed what fits into it as a
 * whole, so that nothing in it refers back further, whatever ours is.
 *
 * To compress an ordinary message costs 20 to 50 microseconds, as much as to
 * send it to two people, and makes it less than half as long; but it took no
 * more than one packet before.  So with two readers it would be twice the work
 * for nobody's good.  With a thousand it costs nothing, and is some bandwidth:
 * what fits into a packet is compressed when several have got it as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "packer.h"

#include <stdlib.h>

#include "zmemory.h"

#define PACK_MIN		1024	/* bytes of a frame */
#define PACK_MAX		(256 * 1024)

/* What one segment of TCP carries, in an Ethernet; so many get it plain. */
#define PACK_SEGMENT	1448
#define PACK_PLAIN		7

/* Negative: bare blocks, without zlib's header and trailer. */
#define WINDOW			(-15)
#define MEMORY_LEVEL	8

/* What an empty block at the end has that is left out (RFC 7692, 7.2.1). */
#define TAIL_SIZE		4

struct packer
{
	bool		ready;			/* z is */
	z_stream	z;
	uint8_t		out[PACK_MAX];
};

/* The buffer takes no memory before it is used. */
packer *
packer_new(void)
{
	return calloc(1, sizeof(packer));
}

void
packer_free(packer *p)
{
	if (p == NULL)
		return;
	if (p->ready)
		deflateEnd(&p->z);
	free(p);
}

/* A fresh start of zlib's state. */
static bool
begin(packer *p)
{
	if (p->ready)
		return deflateReset(&p->z) == Z_OK;
	zmemory_use(&p->z);
	p->ready = deflateInit2(&p->z, Z_BEST_SPEED, Z_DEFLATED, WINDOW,
							MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
	return p->ready;
}

/*
 * Compress into p->out.  Returns how many bytes it became, or 0 when these
 * are not fewer.
 */
static size_t
compress_payload(packer *p, const uint8_t *data, size_t len)
{
	size_t		size;

	p->z.next_in = (uint8_t *) data;
	p->z.avail_in = (unsigned) len;
	p->z.next_out = p->out;
	p->z.avail_out = (unsigned) len;
	if (deflate(&p->z, Z_SYNC_FLUSH) != Z_OK || p->z.avail_in > 0 ||
		p->z.avail_out == 0)
		return 0;
	size = (size_t) (p->z.next_out - p->out);
	return size > TAIL_SIZE ? size - TAIL_SIZE : 0;
}

/* Without memory it is tried again with the next receiver. */
static void
pack(packer *p, frame *f)
{
	size_t		header = frame_header_size(f);
	size_t		size;

	if (!begin(p))
		return;
	size = compress_payload(p, f->bytes + header, f->len - header);
	if (size > 0)
		f->packed = frame_packed(f, &(frame_part) {(char *) p->out, size});
	else
		f->incompressible = true;
}

frame *
packer_choose(packer *p, frame *f, int window)
{
	if (window == 0 || f->len < PACK_MIN || f->len > PACK_MAX ||
		f->len > (size_t) 1 << window)
		return f;
	if (f->packed == NULL && f->len <= PACK_SEGMENT && f->plain < PACK_PLAIN)
	{
		f->plain++;
		return f;
	}
	if (f->packed == NULL && !f->incompressible)
		pack(p, f);
	return f->packed != NULL ? f->packed : f;
}
