/*-------------------------------------------------------------------------
 *
 * datetime.h
 *	  Points in time from ISO 8601 and the server's own form.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_DATETIME_H
#define REALTIME_DATETIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Microseconds since 1970 UTC; a text without a zone is UTC.  Also "infinity"
 * and "-infinity".
 */
extern bool datetime_parse(const char *text, size_t len, int64_t *usec);

#endif							/* REALTIME_DATETIME_H */
