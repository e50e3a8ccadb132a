/*-------------------------------------------------------------------------
 *
 * websocket.h
 *	  RFC 6455 and 7692 as bytes: the accept key, the decoder of what a client
 *	  sends, and the control frames that a server sends.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#ifdef POSTGRES_H
#error "the socket server knows nothing of PostgreSQL"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inflater.h"

#define WS_ACCEPT_SIZE		29	/* base64 of a SHA-1, and a terminator */
#define WS_MAX_CONTROL		125
#define WS_MAX_HEAD			14	/* of a client's frame, mask included */

/* Close codes (7.4.1), as far as the socket server itself needs them. */
#define WS_CLOSE_NORMAL		1000
#define WS_CLOSE_PROTOCOL	1002
#define WS_CLOSE_NO_CODE	1005	/* never on the wire */
#define WS_CLOSE_BAD_DATA	1007
#define WS_CLOSE_TOO_BIG	1009
#define WS_CLOSE_INTERNAL	1011
#define WS_CLOSE_TRY_LATER	1013

/* The UTF-8 sequence that is under way; all zero between characters. */
typedef struct ws_utf8
{
	uint8_t		missing;		/* continuation bytes to come */
	uint8_t		low;			/* range of the next one */
	uint8_t		high;
} ws_utf8;

typedef struct ws_decoder
{
	size_t		max_message;
	inflater   *inflater;		/* shared; NULL: no compression was agreed on */
	char	   *message;		/* pieces of a message so far, as they came */
	size_t		message_len;
	size_t		message_size;
	uint64_t	remaining;		/* of the frame's payload */
	uint8_t		head[WS_MAX_HEAD];
	uint8_t		head_len;		/* bytes of it that have come */
	bool		in_payload;
	bool		final;
	bool		compressed;		/* the message under way is */
	uint8_t		opcode;			/* of the frame */
	uint8_t		message_opcode; /* of the message under way, 0: none */
	uint8_t		mask_at;
	ws_utf8		utf8;
	uint8_t		control_len;
	uint8_t		control[WS_MAX_CONTROL];
} ws_decoder;

typedef enum ws_event
{
	WS_MORE,					/* all input is used up */
	WS_MESSAGE,
	WS_PING,
	WS_PONG,
	WS_CLOSE,
	WS_ERROR					/* the connection is to be failed with code */
} ws_event;

/* Valid until the next call. */
typedef struct ws_item
{
	int			code;			/* WS_CLOSE, WS_ERROR */
	bool		binary;			/* WS_MESSAGE */
	const char *data;			/* WS_MESSAGE, WS_PING, WS_PONG */
	size_t		len;
} ws_item;

/* key is the Sec-WebSocket-Key; false: it is not 16 bytes in base64. */
extern bool ws_accept_key(const char *key, char accept[WS_ACCEPT_SIZE]);

/* With an inflater, what the client has compressed is understood, too. */
extern void ws_decoder_init(ws_decoder *d, size_t max_message,
							inflater *inflater);
extern void ws_decoder_free(ws_decoder *d);

/* Is a message or a frame under way? */
extern bool ws_decoder_is_busy(const ws_decoder *d);

/*
 * Decode from *data, which is unmasked in place and moved past what was used,
 * up to the first event.  After WS_ERROR the decoder must not be used again.
 */
extern ws_event ws_decode(ws_decoder *d, uint8_t **data, size_t *len,
						  ws_item *item);

/*
 * Frames of a server; out has room for WS_MAX_CONTROL + 2 bytes.  A reason
 * that is too long is cut between characters.
 */
extern size_t ws_close_frame(uint8_t *out, int code, const char *reason);
extern size_t ws_pong_frame(uint8_t *out, const char *data, size_t len);

#endif							/* NET_WEBSOCKET_H */
