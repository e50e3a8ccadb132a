/*-------------------------------------------------------------------------
 *
 * filter_fuzz.c
 *	  A filter up to the first NUL, and behind it a record that it is tried
 *	  on.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "realtime/filter.h"

#define COLUMNS \
	"[{\"name\":\"u\",\"type\":\"uuid\"},{\"name\":\"t\",\"type\":\"text\"}," \
	"{\"name\":\"i\",\"type\":\"int4\"},{\"name\":\"b\",\"type\":\"bool\"}," \
	"{\"name\":\"ts\",\"type\":\"timestamptz\"}," \
	"{\"name\":\"n\",\"type\":\"numeric\"},{\"name\":\"f\",\"type\":\"float8\"}," \
	"{\"name\":\"j\",\"type\":\"jsonb\"},{\"name\":\"e\",\"type\":\"mood\"}]"

#define RECORD \
	"{\"u\":\"6f1b3c1e-8a55-4d0e-9c3a-0123456789ab\",\"t\":\"a \\\"b\\\" c\"," \
	"\"i\":42,\"b\":true,\"ts\":\"2025-11-03T09:32:55.123456+00:00\"," \
	"\"n\":1.10,\"f\":-1.5e3,\"j\":{\"a\":[1]},\"e\":\"happy\"}"

static void
try_on(const filter *f, const table *t, const char *record, size_t len)
{
	event_header *e = calloc(1, sizeof(event_header) + len);
	uint32_t	effort = 10000;
	change		c;

	e->action = EVENT_INSERT;
	e->record_len = (uint32_t) len;
	memcpy(e + 1, record, len);
	change_init(&c);
	change_set(&c, e, t);
	filter_matches(f, &c, &effort);
	if (effort > 10000)
		abort();
	change_free(&c);
	free(e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t		len = strnlen((const char *) data, size);
	char	   *text = malloc(len + 1);
	table	   *t = table_new(EVENT_MESSAGES, "public", COLUMNS,
							  strlen(COLUMNS));
	buf			problem;
	filter	   *f;

	memcpy(text, data, len);
	text[len] = '\0';
	buf_init(&problem);
	f = filter_parse(text, len, &problem);
	if (f != NULL)
	{
		filter_describe(f, &problem);
		buf_reset(&problem);
		if (filter_bind(f, t, &problem))
		{
			try_on(f, t, RECORD, strlen(RECORD));
			if (size > len)
				try_on(f, t, (const char *) data + len + 1, size - len - 1);
		}
		else if (problem.len == 0)
			abort();
	}
	filter_free(f);
	buf_free(&problem);
	table_free(t);
	free(text);
	return 0;
}
