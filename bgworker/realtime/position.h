/*-------------------------------------------------------------------------
 *
 * position.h
 *	  Places in the stream of changes (event_position), and marks: positions
 *	  that a gateway has come to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_POSITION_H
#define REALTIME_POSITION_H

#ifdef POSTGRES_H
#error "the realtime rooms know nothing of PostgreSQL"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../decoder/event.h"

/* Is it one, of just this length? */
extern bool position_valid(const void *data, size_t len);

/* A transaction's full id, by its event; it is less than 2^31 away. */
extern uint64_t position_full_xid(const event_position *p, uint32_t xid);

/* Is a transaction, by the id of its event, before the position? */
extern bool position_sees(const event_position *p, uint32_t xid);

/* Shared by all who began there; immutable but for the count. */
typedef struct mark
{
	uint32_t	refs;
	uint64_t	covers;			/* number of the last transaction that was
								 * routed before it was taken */
	uint64_t	fence;			/* see event_mark */
	event_position *position;	/* behind the struct */
} mark;

/* nmore ids are added, which must be ascending.  NULL: no memory. */
extern mark *mark_new(uint64_t covers, uint64_t fence,
					  const event_position *base, const uint64_t *more,
					  uint32_t nmore);
extern bool mark_is_before(const mark *a, const mark *b);
extern mark *mark_ref(mark *m); /* NULL is fine */
extern void mark_unref(mark *m);	/* here, too */

#endif							/* REALTIME_POSITION_H */
