/*-------------------------------------------------------------------------
 *
 * buf.h
 *	  Text under construction, above all JSON.
 *
 * A failure to get memory sticks: writers need not look at each step, only
 * at the end (buf_ok).
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_BUF_H
#define REALTIME_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct buf
{
	char	   *data;
	size_t		len;
	size_t		size;
	bool		failed;
} buf;

extern void buf_init(buf *b);
extern void buf_free(buf *b);

/* Empty it for the next text; memory is kept unless it is a lot. */
extern void buf_reset(buf *b);

extern void buf_bytes(buf *b, const char *data, size_t len);
extern void buf_text(buf *b, const char *text);
extern void buf_number(buf *b, uint32_t n);
extern void buf_printf(buf *b, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* Bytes, and zeroes up to a multiple of 8. */
extern void buf_part(buf *b, const void *data, size_t len);

/* A JSON string, with its quotes; text must be valid UTF-8. */
extern void buf_json(buf *b, const char *text, size_t len);

/* Nothing failed so far? */
static inline bool
buf_ok(const buf *b)
{
	return !b->failed;
}

/* The text so far, terminated. */
static inline const char *
buf_string(const buf *b)
{
	return b->len > 0 ? b->data : "";
}

/* The text, to be freed, and b is empty; NULL: no memory. */
extern char *buf_detach(buf *b);

#endif							/* REALTIME_BUF_H */
