/*-------------------------------------------------------------------------
 *
 * websocket.c
 *	  RFC 6455 and 7692 as bytes.
 *
 * libwebsockets has a decoder of its own.  It takes frames that are not
 * masked and does not tell, knows no limit to a message, drops a connection
 * without a close frame where the RFC asks for one, and in Debian's build
 * checks itself with assert(), which would take the whole database down.  So
 * it carries the bytes, and this file says what they mean.
 *
 * The decoder takes its input in pieces of any size.  A message that comes in
 * one piece is handed on where it lies, without a copy; only one that is split
 * is collected, and never more of it than max_message: a frame is refused when
 * its head is read, before any of its payload is kept.
 *
 * A compressed message is collected as it came, and inflated when it is
 * complete: so what a connection keeps is bounded by what was sent to it.
 *
 *-------------------------------------------------------------------------
 */
#include "websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define GUID	"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define KEY_LEN	24				/* 16 bytes in base64 */

#define FINAL		0x80
#define RESERVED	0x70
#define COMPRESSED	0x40
#define OPCODE		0x0f
#define MASKED		0x80
#define LENGTH		0x7f
#define LENGTH_16	126
#define LENGTH_64	127
#define MASK_SIZE	4

enum
{
	OP_CONTINUATION = 0x0,
	OP_TEXT = 0x1,
	OP_BINARY = 0x2,
	OP_CLOSE = 0x8,
	OP_PING = 0x9,
	OP_PONG = 0xa
};

#define is_control(opcode)	(((opcode) & 0x8) != 0)

static bool take_head(ws_decoder *d, uint8_t **data, size_t *len);
static size_t head_size(const ws_decoder *d);
static size_t length_size(const ws_decoder *d);
static int	begin_frame(ws_decoder *d);
static uint8_t allowed_bits(const ws_decoder *d);
static bool take_length(ws_decoder *d);
static size_t most_to_keep(const ws_decoder *d);
static ws_event take_payload(ws_decoder *d, uint8_t **data, size_t *len,
							 ws_item *item);
static ws_event take_control(ws_decoder *d, const uint8_t *data, size_t len,
							 ws_item *item);
static ws_event take_close(ws_decoder *d, ws_item *item);
static ws_event take_data(ws_decoder *d, const uint8_t *data, size_t len,
						  ws_item *item);
static ws_event unpack(ws_decoder *d, ws_item *item);
static bool collect(ws_decoder *d, const uint8_t *data, size_t len);
static void drop_message(ws_decoder *d);
static bool utf8_feed(ws_utf8 *state, const uint8_t *data, size_t len);

bool
ws_accept_key(const char *key, char accept[WS_ACCEPT_SIZE])
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"abcdefghijklmnopqrstuvwxyz0123456789+/";
	char		text[KEY_LEN + sizeof(GUID)];
	uint8_t		digest[SHA_DIGEST_LENGTH];

	/* 16 bytes end with two signs of padding, and have no other. */
	if (strlen(key) != KEY_LEN || strspn(key, base64) != KEY_LEN - 2 ||
		strcmp(key + KEY_LEN - 2, "==") != 0)
		return false;

	memcpy(text, key, KEY_LEN);
	memcpy(text + KEY_LEN, GUID, sizeof(GUID));
	SHA1((const uint8_t *) text, KEY_LEN + sizeof(GUID) - 1, digest);
	EVP_EncodeBlock((uint8_t *) accept, digest, sizeof(digest));
	return true;
}

void
ws_decoder_init(ws_decoder *d, size_t max_message, inflater *inflater)
{
	memset(d, 0, sizeof(*d));
	d->max_message = max_message;
	d->inflater = inflater;
}

void
ws_decoder_free(ws_decoder *d)
{
	drop_message(d);
}

bool
ws_decoder_is_busy(const ws_decoder *d)
{
	return d->head_len > 0 || d->in_payload || d->message_opcode != 0;
}

ws_event
ws_decode(ws_decoder *d, uint8_t **data, size_t *len, ws_item *item)
{
	ws_event	event = WS_MORE;

	/* What was handed on by the last call has been used by now. */
	if (d->message_opcode == 0)
		drop_message(d);

	while (event == WS_MORE)
	{
		if (!d->in_payload)
		{
			if (!take_head(d, data, len))
				return WS_MORE;
			item->code = begin_frame(d);
			if (item->code != 0)
				return WS_ERROR;
		}
		if (*len == 0 && d->remaining > 0)
			return WS_MORE;
		event = take_payload(d, data, len, item);
	}
	return event;
}

/* Collect a frame's head; false when it has not come whole. */
static bool
take_head(ws_decoder *d, uint8_t **data, size_t *len)
{
	while (d->head_len < 2 || d->head_len < head_size(d))
	{
		if (*len == 0)
			return false;
		d->head[d->head_len++] = *(*data)++;
		(*len)--;
	}
	return true;
}

/* Bytes of the frame's head, as far as its first two bytes tell. */
static size_t
head_size(const ws_decoder *d)
{
	/* What is wrong already is refused before more of it is waited for. */
	if (!(d->head[1] & MASKED))
		return 2;
	return 2 + length_size(d) + MASK_SIZE;
}

/* Bytes of a length that does not fit into the second byte. */
static size_t
length_size(const ws_decoder *d)
{
	switch (d->head[1] & LENGTH)
	{
		case LENGTH_16:
			return 2;
		case LENGTH_64:
			return 8;
		default:
			return 0;
	}
}

/* Check a frame's complete head (5.2): 0, or the code to close with. */
static int
begin_frame(ws_decoder *d)
{
	d->final = (d->head[0] & FINAL) != 0;
	d->opcode = d->head[0] & OPCODE;

	/* 5.1: a client masks every frame. */
	if (!(d->head[1] & MASKED) ||
		(d->head[0] & RESERVED & ~allowed_bits(d)) || !take_length(d))
		return WS_CLOSE_PROTOCOL;

	switch (d->opcode)
	{
		case OP_TEXT:
		case OP_BINARY:
			if (d->message_opcode != 0)
				return WS_CLOSE_PROTOCOL;
			d->message_opcode = d->opcode;
			d->compressed = (d->head[0] & COMPRESSED) != 0;
			break;
		case OP_CONTINUATION:
			if (d->message_opcode == 0)
				return WS_CLOSE_PROTOCOL;
			break;
		case OP_CLOSE:
		case OP_PING:
		case OP_PONG:
			if (!d->final || d->remaining > WS_MAX_CONTROL)
				return WS_CLOSE_PROTOCOL;
			d->control_len = 0;
			break;
		default:
			return WS_CLOSE_PROTOCOL;
	}

	if (!is_control(d->opcode) &&
		d->remaining > most_to_keep(d) - d->message_len)
		return WS_CLOSE_TOO_BIG;

	d->mask_at = 0;
	d->in_payload = true;
	return 0;
}

/* The first frame of a message says that it is compressed (RFC 7692, 6). */
static uint8_t
allowed_bits(const ws_decoder *d)
{
	return d->inflater != NULL &&
		(d->opcode == OP_TEXT || d->opcode == OP_BINARY) ? COMPRESSED : 0;
}

/* What does not shrink may grow a little. */
static size_t
most_to_keep(const ws_decoder *d)
{
	return d->max_message + (d->compressed ? d->max_message / 8 + 64 : 0);
}

/* The payload's length; false when it is not in its shortest form. */
static bool
take_length(ws_decoder *d)
{
	size_t		size = length_size(d);
	uint64_t	len = 0;

	if (size == 0)
	{
		d->remaining = d->head[1] & LENGTH;
		return true;
	}

	for (size_t i = 0; i < size; i++)
		len = len << 8 | d->head[2 + i];
	d->remaining = len;
	return len >= LENGTH_16 &&
		(size == 2 || (len > UINT16_MAX && len <= INT64_MAX));
}

/* Unmask and use what has come of a frame's payload. */
static ws_event
take_payload(ws_decoder *d, uint8_t **data, size_t *len, ws_item *item)
{
	const uint8_t *mask = d->head + d->head_len - MASK_SIZE;
	uint8_t    *payload = *data;
	size_t		n = *len < d->remaining ? *len : (size_t) d->remaining;

	for (size_t i = 0; i < n; i++)
		payload[i] ^= mask[(d->mask_at + i) % MASK_SIZE];
	d->mask_at = (d->mask_at + n) % MASK_SIZE;
	*data += n;
	*len -= n;

	d->remaining -= n;
	if (d->remaining == 0)
	{
		d->in_payload = false;
		d->head_len = 0;
	}
	return is_control(d->opcode) ? take_control(d, payload, n, item)
		: take_data(d, payload, n, item);
}

static ws_event
take_control(ws_decoder *d, const uint8_t *data, size_t len, ws_item *item)
{
	/* begin_frame() has checked the length. */
	memcpy(d->control + d->control_len, data, len);
	d->control_len += len;
	if (d->remaining > 0)
		return WS_MORE;

	item->data = (const char *) d->control;
	item->len = d->control_len;
	if (d->opcode == OP_CLOSE)
		return take_close(d, item);
	return d->opcode == OP_PING ? WS_PING : WS_PONG;
}

/* A close frame (5.5.1, 7.4): does it have a code that may be sent? */
static ws_event
take_close(ws_decoder *d, ws_item *item)
{
	ws_utf8		utf8 = {0};
	int			code;

	item->code = WS_CLOSE_NO_CODE;
	if (d->control_len == 0)
		return WS_CLOSE;

	item->code = WS_CLOSE_PROTOCOL;
	if (d->control_len == 1)
		return WS_ERROR;

	code = d->control[0] << 8 | d->control[1];
	if (!((code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
		  (code >= 3000 && code <= 4999)))
		return WS_ERROR;

	item->code = WS_CLOSE_BAD_DATA;
	if (!utf8_feed(&utf8, d->control + 2, d->control_len - 2) ||
		utf8.missing > 0)
		return WS_ERROR;

	item->code = code;
	return WS_CLOSE;
}

static ws_event
take_data(ws_decoder *d, const uint8_t *data, size_t len, ws_item *item)
{
	bool		last = d->final && d->remaining == 0;

	if (d->message_opcode == OP_TEXT && !d->compressed &&
		(!utf8_feed(&d->utf8, data, len) || (last && d->utf8.missing > 0)))
	{
		item->code = WS_CLOSE_BAD_DATA;
		return WS_ERROR;
	}

	if (!last || d->message_len > 0)
	{
		if (!collect(d, data, len))
		{
			item->code = WS_CLOSE_INTERNAL;
			return WS_ERROR;
		}
		if (!last)
			return WS_MORE;
		item->data = d->message;
		item->len = d->message_len;
	}
	else
	{
		item->data = (const char *) data;
		item->len = len;
	}

	item->binary = d->message_opcode == OP_BINARY;
	d->message_opcode = 0;
	return d->compressed ? unpack(d, item) : WS_MESSAGE;
}

/* A complete message that is compressed; its text is looked at only now. */
static ws_event
unpack(ws_decoder *d, ws_item *item)
{
	static const int codes[] = {
		[INFLATE_OK] = 0,
		[INFLATE_BAD_DATA] = WS_CLOSE_BAD_DATA,
		[INFLATE_TOO_BIG] = WS_CLOSE_TOO_BIG,
		[INFLATE_NO_MEMORY] = WS_CLOSE_INTERNAL
	};

	item->code = codes[inflater_run(d->inflater, (const uint8_t *) item->data,
									item->len, d->max_message,
									&item->data, &item->len)];
	if (item->code == 0 && !item->binary &&
		(!utf8_feed(&d->utf8, (const uint8_t *) item->data, item->len) ||
		 d->utf8.missing > 0))
		item->code = WS_CLOSE_BAD_DATA;
	return item->code == 0 ? WS_MESSAGE : WS_ERROR;
}

/* Keep a piece of a message; begin_frame() has checked the sum. */
static bool
collect(ws_decoder *d, const uint8_t *data, size_t len)
{
	size_t		need = d->message_len + len;

	if (len == 0)
		return true;

	if (need > d->message_size)
	{
		size_t		size = need * 2;
		char	   *message;

		if (size > most_to_keep(d))
			size = most_to_keep(d);
		message = realloc(d->message, size);
		if (message == NULL)
			return false;
		d->message = message;
		d->message_size = size;
	}

	memcpy(d->message + d->message_len, data, len);
	d->message_len = need;
	return true;
}

static void
drop_message(ws_decoder *d)
{
	free(d->message);
	d->message = NULL;
	d->message_len = d->message_size = 0;
}

/*
 * Is this the continuation of valid UTF-8 (RFC 3629)?  The first byte of a
 * character decides how many follow, and the range of the second.
 */
static bool
utf8_feed(ws_utf8 *s, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		uint8_t		c = data[i];

		if (s->missing > 0)
		{
			if (c < s->low || c > s->high)
				return false;
			s->missing--;
			s->low = 0x80;
			s->high = 0xbf;
		}
		else if (c >= 0x80)
		{
			if (c < 0xc2 || c > 0xf4)
				return false;
			s->missing = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
			s->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
			s->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
		}
	}
	return true;
}

size_t
ws_close_frame(uint8_t *out, int code, const char *reason)
{
	size_t		len = 0;

	out[0] = FINAL | OP_CLOSE;
	if (code != WS_CLOSE_NO_CODE)
	{
		size_t		reason_len = strlen(reason);

		if (reason_len > WS_MAX_CONTROL - 2)
		{
			reason_len = WS_MAX_CONTROL - 2;
			while (reason_len > 0 && (reason[reason_len] & 0xc0) == 0x80)
				reason_len--;
		}
		out[2] = code >> 8;
		out[3] = code & 0xff;
		memcpy(out + 4, reason, reason_len);
		len = 2 + reason_len;
	}
	out[1] = len;
	return 2 + len;
}

size_t
ws_pong_frame(uint8_t *out, const char *data, size_t len)
{
	out[0] = FINAL | OP_PONG;
	out[1] = len;
	memcpy(out + 2, data, len);
	return 2 + len;
}
