/*-------------------------------------------------------------------------
 *
 * gateway_tables.c
 *	  What a gateway must know of our tables before it serves anybody: their
 *	  schema and columns.  Later changes come with the events.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway_tables.h"

#include "utils/timestamp.h"

#define RETRY	5000			/* milliseconds */

static uint32 extension_asked;	/* of msg_shared->extension_changes */
static bool known = false;
static bool asking = false;
static TimestampTz next_time = 0;

void
msg_tables_forget(uint32 extension)
{
	extension_asked = extension;
	known = false;
	next_time = 0;
}

bool
msg_tables_known(void)
{
	return known;
}

/* The ticket tells of which state of the extension the answer speaks. */
void
msg_tables_ask(TimestampTz now)
{
	if (known || asking || now < next_time)
		return;
	asking = msg_calls_ask(extension_asked, MSG_CALL_DESCRIBE, NULL);
	next_time = TimestampTzPlusMilliseconds(now, RETRY);
}

void
msg_tables_hurry(void)
{
	next_time = 0;
}

/* Long ago, when it is to be asked at once. */
TimestampTz
msg_tables_due(void)
{
	if (known || asking)
		return 0;
	return Max(next_time, 1);
}

/* Give the hub our tables, as MSG_CALL_DESCRIBE tells them. */
static bool
take(hub *h, const char *payload, Size len)
{
	const char *end = payload + len;
	const char *schema = payload;

	payload += strnlen(payload, len) + 1;
	for (int table = 0; table < EVENT_TABLES; table++)
	{
		uint32		columns_len;

		if (payload + sizeof(columns_len) > end)
			return false;
		memcpy(&columns_len, payload, sizeof(columns_len));
		payload += sizeof(columns_len);
		if (columns_len > end - payload ||
			!hub_set_table(h, table, schema, payload, columns_len))
			return false;
		payload += columns_len;
	}
	return true;
}

void
msg_tables_answered(hub *h, const MsgCall *call, bool success,
					const char *payload, Size len)
{
	asking = false;
	if (call->ticket != extension_asked)
		next_time = 0;
	else if (success)
		known = take(h, payload, len);
}
