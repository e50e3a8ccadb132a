/*-------------------------------------------------------------------------
 *
 * projection.h
 *	  Which columns a subscription asks for, when not all.
 *
 * Equal projections are one object, counted by reference: what is built for
 * one subscriber serves all who asked for the same.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_PROJECTION_H
#define REALTIME_PROJECTION_H

#include <jansson.h>
#include <stdint.h>

#include "buf.h"
#include "map.h"
#include "table.h"

/* An event's "data" object, built at most once. */
typedef struct rendering
{
	struct rendering *next;		/* others in use for the event */
	uint64_t	event;			/* number of the event that it is of */
	buf			data;
} rendering;

typedef struct projection
{
	map_entry	entry;
	uint64_t	digest[2];
	uint32_t	refs;
	rendering	rendering;
	char	   *keys;			/* wanted columns as JSON strings, joined */
	size_t		keys_len;
} projection;

#define PROJECTION_KEY_SIZE		16

typedef enum projection_status
{
	PROJECTION_OK,
	PROJECTION_MALFORMED,
	PROJECTION_UNKNOWN_COLUMN,
	PROJECTION_NO_MEMORY
} projection_status;

/*
 * The projection for a JSON array of column names; the primary key is always
 * among them.  *unknown is the name of an unknown column.
 */
extern projection_status projection_get(map *projections, const table *t,
										const json_t *names, projection **p,
										const char **unknown);
extern void projection_unref(map *projections, projection *p);
extern bool projection_has(const projection *p, span key);

#endif							/* REALTIME_PROJECTION_H */
