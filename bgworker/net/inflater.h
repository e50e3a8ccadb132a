/*-------------------------------------------------------------------------
 *
 * inflater.h
 *	  Messages that clients have compressed (RFC 7692).
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_INFLATER_H
#define NET_INFLATER_H

#ifdef POSTGRES_H
#error "the socket server knows nothing of PostgreSQL"
#endif

#include <stddef.h>
#include <stdint.h>

typedef struct inflater inflater;

typedef enum inflate_result
{
	INFLATE_OK,
	INFLATE_BAD_DATA,
	INFLATE_TOO_BIG,
	INFLATE_NO_MEMORY
} inflate_result;

/* NULL: no memory. */
extern inflater *inflater_new(void);
extern void inflater_free(inflater *in);	/* NULL is fine */

/*
 * The message that these bytes stand for, when it has at most so many bytes;
 * it stays until the next call.
 */
extern inflate_result inflater_run(inflater *in, const uint8_t *data,
								   size_t len, size_t most,
								   const char **message, size_t *message_len);

#endif							/* NET_INFLATER_H */
