/*-------------------------------------------------------------------------
 *
 * change.h
 *	  An event on its way to subscribers: its records, taken apart when a
 *	  filter or a projection asks for it, and its "data" object.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_CHANGE_H
#define REALTIME_CHANGE_H

#include <jansson.h>
#include <stdbool.h>

#include "../../decoder/event.h"
#include "buf.h"
#include "projection.h"
#include "table.h"

typedef struct field
{
	span		key;
	span		value;
	json_t	   *parsed;			/* once somebody needed more than the text */
	bool		tried;
} field;

typedef struct record
{
	span		text;
	bool		scanned;
	bool		failed;			/* there was no memory to scan all of it */
	int			nfields;
	int			size;
	field	   *fields;
} record;

typedef struct change
{
	const event_header *event;
	const table *table;
	record		new;
	record		old;

	/* The last second that was rendered: many events are of the same. */
	int64_t		second;
	char		second_text[32];
} change;

extern void change_init(change *c);
extern void change_free(change *c);
extern void change_set(change *c, const event_header *e, const table *t);

/* A field of the record that filters speak of; NULL: not there. */
extern field *change_field(change *c, span key);

/* There was no memory for all fields: what filters said cannot be relied on. */
extern bool change_failed(const change *c);

/* The value parsed, kept for the next who asks; NULL: no JSON, no memory. */
extern const json_t *field_parsed(field *f);

/* Append the "data" object; only p's columns when p is not NULL. */
extern void change_render(change *c, const projection *p, buf *out);

#endif							/* REALTIME_CHANGE_H */
