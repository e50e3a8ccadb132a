/*-------------------------------------------------------------------------
 *
 * buf.c
 *	  Text under construction.
 *
 *-------------------------------------------------------------------------
 */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_SIZE	256
#define BUF_KEEP_SIZE	65536

void
buf_init(buf *b)
{
	memset(b, 0, sizeof(*b));
}

void
buf_free(buf *b)
{
	free(b->data);
	buf_init(b);
}

void
buf_reset(buf *b)
{
	if (b->size > BUF_KEEP_SIZE)
		buf_free(b);
	b->len = 0;
	b->failed = false;
}

/* Room for more bytes and a terminator. */
static bool
buf_reserve(buf *b, size_t more)
{
	size_t		size = b->size > 0 ? b->size : BUF_FIRST_SIZE;
	char	   *data;

	if (b->failed || more > SIZE_MAX / 4)
	{
		b->failed = true;
		return false;
	}
	if (b->len + more < b->size)
		return true;
	while (size <= b->len + more)
		size *= 2;
	data = realloc(b->data, size);
	if (data == NULL)
	{
		b->failed = true;
		return false;
	}
	b->data = data;
	b->size = size;
	return true;
}

void
buf_bytes(buf *b, const char *data, size_t len)
{
	if (len == 0 || !buf_reserve(b, len))
		return;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void
buf_part(buf *b, const void *data, size_t len)
{
	static const char zeroes[8] = {0};

	if (len > 0)
		buf_bytes(b, data, len);
	buf_bytes(b, zeroes, -len % 8);
}

void
buf_text(buf *b, const char *text)
{
	buf_bytes(b, text, strlen(text));
}

/* Much faster than buf_printf(). */
void
buf_number(buf *b, uint32_t n)
{
	char		digits[10];
	size_t		at = sizeof(digits);

	do
		digits[--at] = (char) ('0' + n % 10);
	while ((n /= 10) > 0);
	buf_bytes(b, digits + at, sizeof(digits) - at);
}

void
buf_printf(buf *b, const char *format,...)
{
	va_list		args;
	int			len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0 || !buf_reserve(b, (size_t) len))
	{
		b->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf(b->data + b->len, (size_t) len + 1, format, args);
	va_end(args);
	b->len += (size_t) len;
}

void
buf_json(buf *b, const char *text, size_t len)
{
	size_t		start = 0;

	buf_bytes(b, "\"", 1);
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_bytes(b, text + start, i - start);
		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else
			buf_printf(b, "\\u%04x", c);
		start = i + 1;
	}
	buf_bytes(b, text + start, len - start);
	buf_bytes(b, "\"", 1);
}

char *
buf_detach(buf *b)
{
	char	   *data = NULL;

	if (buf_reserve(b, 0))
	{
		data = b->data;
		data[b->len] = '\0';
		b->data = NULL;
	}
	buf_free(b);
	return data;
}
