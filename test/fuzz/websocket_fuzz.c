/*-------------------------------------------------------------------------
 *
 * websocket_fuzz.c
 *	  Frames of a client out of arbitrary bytes.
 *
 * What is decoded must not depend on how the bytes were cut into pieces: each
 * input is decoded as a whole and in pieces of the size that its first byte
 * says, and both must come to the same events.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/websocket.h"

#define MAX_MESSAGE		1000

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool condition)
{
	if (!condition)
		abort();
}

static uint64_t
mix(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * UINT64_C(0x100000001b3);
}

/* What the server answers is a frame of its own, whole and not masked. */
static void
answer(ws_event event, const ws_item *item)
{
	uint8_t		frame[WS_MAX_CONTROL + 2];
	char		reason[300];
	size_t		len = 0;

	if (event == WS_PING)
		len = ws_pong_frame(frame, item->data, item->len);
	else if (event == WS_CLOSE || event == WS_ERROR)
		len = ws_close_frame(frame, item->code, "");
	else if (event == WS_MESSAGE)
	{
		len = item->len < sizeof(reason) ? item->len : sizeof(reason) - 1;
		memcpy(reason, item->data, len);
		reason[len] = '\0';
		len = ws_close_frame(frame, WS_CLOSE_NORMAL, reason);
	}
	expect(len == 0 || (len <= sizeof(frame) && frame[1] == len - 2));
}

/* One number for all that an event says. */
static uint64_t
digest(uint64_t sum, ws_event event, const ws_item *item)
{
	sum = mix(sum, event);
	if (event == WS_CLOSE || event == WS_ERROR)
	{
		expect(item->code >= 1000 && item->code <= 4999);
		return mix(sum, item->code);
	}

	expect(item->len <= (event == WS_MESSAGE ? MAX_MESSAGE : WS_MAX_CONTROL));
	sum = mix(sum, item->len);
	for (size_t i = 0; i < item->len; i++)
		sum = mix(sum, (uint8_t) item->data[i]);
	return event == WS_MESSAGE ? mix(sum, item->binary) : sum;
}

static uint64_t
decode(const uint8_t *data, size_t size, size_t piece, inflater *in)
{
	uint64_t	sum = UINT64_C(0xcbf29ce484222325);
	ws_event	event = WS_MORE;
	ws_decoder	d;

	ws_decoder_init(&d, MAX_MESSAGE, in);
	for (size_t at = 0; at < size && event != WS_ERROR; at += piece)
	{
		size_t		len = size - at < piece ? size - at : piece;
		uint8_t    *copy = malloc(len);
		uint8_t    *p = copy;
		ws_item		item;

		memcpy(copy, data + at, len);
		while ((event = ws_decode(&d, &p, &len, &item)) != WS_MORE)
		{
			sum = digest(sum, event, &item);
			answer(event, &item);
			if (event == WS_ERROR)
				break;
		}
		expect(event == WS_ERROR || len == 0);
		expect(d.message_size <= MAX_MESSAGE + (in ? MAX_MESSAGE / 4 : 0));
		free(copy);
	}
	if (event != WS_ERROR)
		sum = mix(sum, ws_decoder_is_busy(&d));
	ws_decoder_free(&d);
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static inflater *in;

	if (in == NULL)
		in = inflater_new();
	if (size < 2)
		return 0;

	/* With compression and without; one inflater serves all. */
	for (int i = 0; i < 2; i++)
		expect(decode(data + 1, size - 1, size, i ? in : NULL) ==
			   decode(data + 1, size - 1, (size_t) data[0] + 1,
					  i ? in : NULL));
	return 0;
}
