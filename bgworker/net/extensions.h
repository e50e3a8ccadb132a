/*-------------------------------------------------------------------------
 *
 * extensions.h
 *	  Negotiation of permessage-deflate (RFC 7692).
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_EXTENSIONS_H
#define NET_EXTENSIONS_H

#ifdef POSTGRES_H
#error "the socket server knows nothing of PostgreSQL"
#endif

#include <stdbool.h>
#include <stddef.h>

#include "http.h"

#define EXTENSIONS_MAX_REPLY	160

/* Bits of the window that a compressor may refer back to (RFC 1951). */
#define DEFLATE_MAX_WINDOW		15

/* What was agreed on for one connection; all zero: nothing. */
typedef struct deflate_terms
{
	int			window;			/* bits of the client's window, for what we
								 * compress; 0: no compression */
	bool		named;			/* the client said so */
} deflate_terms;

/* What a client offers, as far as we have it.  False: it is malformed. */
extern bool extensions_negotiate(const http_request *request,
								 deflate_terms *terms);

/* The line of the answer that takes such an offer, with its end; its size. */
extern size_t extensions_reply(char *out, size_t size,
							   const deflate_terms *terms);

#endif							/* NET_EXTENSIONS_H */
