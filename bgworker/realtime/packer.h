/*-------------------------------------------------------------------------
 *
 * packer.h
 *	  Compression of large frames (RFC 7692), once for all who get them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_PACKER_H
#define REALTIME_PACKER_H

#include "queue.h"

typedef struct packer packer;

/* NULL: no memory. */
extern packer *packer_new(void);
extern void packer_free(packer *p); /* NULL is fine */

/*
 * The frame that is to be sent to who takes compressed ones with a window of
 * so many bits (0: does not): f or its twin, which f keeps.
 */
extern frame *packer_choose(packer *p, frame *f, int window);

#endif							/* REALTIME_PACKER_H */
