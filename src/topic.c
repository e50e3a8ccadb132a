/*-------------------------------------------------------------------------
 *
 * topic.c
 *	  Names of topics, and whose they are.
 *
 * Backends and gateways must agree on it, so it is here once, for both.
 *
 *-------------------------------------------------------------------------
 */
#include "topic.h"

#include <string.h>

#define UUID_TEXT	36

static bool
is_word(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			  (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.'))
			return false;
	}
	return len > 0;
}

/* -1: no hexadecimal digit */
static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
read_uuid(const char *text, uint8_t uuid[16])
{
	for (int i = 0; i < 16; i++)
	{
		int			high;
		int			low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return false;
		high = hex_digit(*text++);
		low = hex_digit(*text++);
		if (high < 0 || low < 0)
			return false;
		uuid[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}

bool
topic_conversation(const char *topic, size_t len, uint8_t conversation_id[16])
{
	const char *id = topic + len - UUID_TEXT;

	return len > UUID_TEXT + 1 && id[-1] == ':' &&
		is_word(topic, len - UUID_TEXT - 1) && read_uuid(id, conversation_id);
}
