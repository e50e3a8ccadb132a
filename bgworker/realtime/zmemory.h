/*-------------------------------------------------------------------------
 *
 * zmemory.h
 *	  Memory for zlib.
 *
 * Cleared, as zlib itself leaves that undone: what looks for the use of
 * uninitialised memory would complain of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_ZMEMORY_H
#define REALTIME_ZMEMORY_H

#include <stdlib.h>
#include <zlib.h>

static inline void *
zmemory_take(void *opaque, unsigned n, unsigned size)
{
	(void) opaque;
	return calloc(n, size);
}

static inline void
zmemory_give(void *opaque, void *p)
{
	(void) opaque;
	free(p);
}

/* To be called before the stream is initialised. */
static inline void
zmemory_use(z_stream *z)
{
	z->zalloc = zmemory_take;
	z->zfree = zmemory_give;
}

#endif							/* REALTIME_ZMEMORY_H */
