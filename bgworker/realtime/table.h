/*-------------------------------------------------------------------------
 *
 * table.h
 *	  What is known of a table that events speak of: its names and columns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_TABLE_H
#define REALTIME_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "../../decoder/event.h"
#include "scan.h"

typedef struct column
{
	char	   *name;
	char	   *type;			/* pg_type.typname */
	span		key;			/* the name as JSON, as in records */
	span		item;			/* {"name":..,"type":..} */
} column;

typedef struct table
{
	event_table which;
	char	   *schema;
	char	   *text;			/* JSON array that spans point into */
	size_t		text_len;
	int			ncolumns;
	column	   *columns;
} table;

/* NULL: no memory, or not a description. */
extern table *table_new(event_table which, const char *schema,
						const char *text, size_t len);
extern void table_free(table *t);
extern const column *table_column(const table *t, const char *name);

extern const char *table_name(event_table which);

/* The column that holds the conversation's id. */
extern const char *table_room_column(event_table which);

#endif							/* REALTIME_TABLE_H */
