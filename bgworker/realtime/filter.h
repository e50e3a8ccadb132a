/*-------------------------------------------------------------------------
 *
 * filter.h
 *	  The filter of a subscription: conditions on columns, all of which must
 *	  hold.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_FILTER_H
#define REALTIME_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "change.h"
#include "table.h"

#define FILTER_MAX_CONDITIONS	32
#define FILTER_MAX_VALUES		100 /* of in */

typedef struct filter filter;

/*
 * Take a filter's text apart.  NULL: it is empty (problem stays empty), or it
 * is malformed (problem tells), or there is no memory (problem has failed).
 */
extern filter *filter_parse(const char *text, size_t len, buf *problem);
extern void filter_free(filter *f);

/* The conditions as they are shown in messages: {"a", "eq", "1"}, .. */
extern void filter_describe(const filter *f, buf *out);

/* Give the conditions the types of their columns.  False: problem tells. */
extern bool filter_bind(filter *f, const table *t, buf *problem);

/*
 * Is there a condition column=eq.<uuid>?  It is taken out of the filter then,
 * and *empty tells whether any other is left.
 */
extern bool filter_take_uuid(filter *f, const char *column, uint8_t uuid[16],
							 bool *empty);

/*
 * Does the change pass?  What it costs is taken off *effort, and a filter
 * that cannot be judged for less lets nothing pass.
 */
extern bool filter_matches(const filter *f, change *c, uint32_t *effort);

#endif							/* REALTIME_FILTER_H */
