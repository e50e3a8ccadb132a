/*-------------------------------------------------------------------------
 *
 * change.c
 *	  An event on its way to subscribers.
 *
 * The texts of the event are copied, never parsed and written anew: what the
 * server printed is what the client gets.
 *
 *-------------------------------------------------------------------------
 */
#include "change.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORD_FIRST_SIZE	32

void
change_init(change *c)
{
	memset(c, 0, sizeof(*c));
}

static void
record_set(record *r, const char *text, size_t len)
{
	for (int i = 0; i < r->nfields; i++)
		json_decref(r->fields[i].parsed);
	r->nfields = 0;
	r->scanned = r->failed = false;
	r->text = (span) {text, len};
}

void
change_free(change *c)
{
	record_set(&c->new, NULL, 0);
	record_set(&c->old, NULL, 0);
	free(c->new.fields);
	free(c->old.fields);
}

void
change_set(change *c, const event_header *e, const table *t)
{
	c->event = e;
	c->table = t;
	record_set(&c->new, event_record(e), e->record_len);
	record_set(&c->old, event_old_record(e), e->old_record_len);
}

static bool
record_grow(record *r)
{
	int			size = r->size > 0 ? r->size * 2 : RECORD_FIRST_SIZE;
	field	   *fields = realloc(r->fields, sizeof(field) * (size_t) size);

	if (fields == NULL)
		return false;
	r->fields = fields;
	r->size = size;
	return true;
}

/* Take the record apart, once. */
static void
record_scan(record *r)
{
	scan		s;
	span		key;
	span		value;

	if (r->scanned)
		return;
	r->scanned = true;
	if (!scan_open(&s, r->text.data, r->text.len) || !s.object)
		return;
	while (scan_next(&s, &key, &value))
	{
		if (r->nfields == r->size && !record_grow(r))
		{
			r->failed = true;
			return;
		}
		r->fields[r->nfields++] = (field) {key, value, NULL, false};
	}
}

field *
change_field(change *c, span key)
{
	record	   *r = c->event->action == EVENT_DELETE ? &c->old : &c->new;

	record_scan(r);
	for (int i = 0; i < r->nfields; i++)
	{
		if (span_equal(r->fields[i].key, key))
			return &r->fields[i];
	}
	return NULL;
}

bool
change_failed(const change *c)
{
	return c->new.failed || c->old.failed;
}

const json_t *
field_parsed(field *f)
{
	if (!f->tried)
	{
		f->tried = true;
		f->parsed = json_loadb(f->value.data, f->value.len,
							   JSON_DECODE_ANY, NULL);
	}
	return f->parsed;
}

/* 2026-11-22T01:02:03.456Z */
static void
render_timestamp(change *c, buf *out)
{
	int64_t		usec = c->event->commit_time;
	time_t		second = (time_t) (usec / 1000000);
	char		millis[] = ".000Z\"";
	struct tm	tm;

	if (second != c->second || c->second_text[0] == '\0')
	{
		if (gmtime_r(&second, &tm) == NULL ||
			strftime(c->second_text, sizeof(c->second_text),
					 "\"%Y-%m-%dT%H:%M:%S", &tm) == 0)
			strcpy(c->second_text, "\"1970-01-01T00:00:00");
		c->second = second;
	}
	millis[1] += (char) (usec / 100000 % 10);
	millis[2] += (char) (usec / 10000 % 10);
	millis[3] += (char) (usec / 1000 % 10);
	buf_text(out, c->second_text);
	buf_text(out, millis);
}

static void
render_columns(const change *c, const projection *p, buf *out)
{
	bool		first = true;

	if (p == NULL)
	{
		buf_bytes(out, event_columns(c->event), c->event->columns_len);
		return;
	}
	buf_text(out, "[");
	for (int i = 0; i < c->table->ncolumns; i++)
	{
		const column *column = &c->table->columns[i];

		if (!projection_has(p, column->key))
			continue;
		buf_text(out, first ? "" : ",");
		buf_bytes(out, column->item.data, column->item.len);
		first = false;
	}
	buf_text(out, "]");
}

static void
render_record(record *r, const projection *p, const char *key, buf *out)
{
	bool		first = true;

	buf_text(out, key);
	if (p == NULL)
	{
		buf_bytes(out, r->text.data, r->text.len);
		return;
	}
	record_scan(r);
	out->failed |= r->failed;
	buf_text(out, "{");
	for (int i = 0; i < r->nfields; i++)
	{
		const field *f = &r->fields[i];

		if (!projection_has(p, f->key))
			continue;
		buf_text(out, first ? "" : ",");
		buf_bytes(out, f->key.data, f->key.len);
		buf_text(out, ":");
		buf_bytes(out, f->value.data, f->value.len);
		first = false;
	}
	buf_text(out, "}");
}

void
change_render(change *c, const projection *p, buf *out)
{
	const event_header *e = c->event;
	const char *type = e->action == EVENT_INSERT ? "INSERT" :
		e->action == EVENT_UPDATE ? "UPDATE" : "DELETE";

	buf_text(out, "{\"schema\":");
	buf_json(out, c->table->schema, strlen(c->table->schema));
	buf_text(out, ",\"table\":\"");
	buf_text(out, table_name(c->table->which));
	buf_text(out, "\",\"type\":\"");
	buf_text(out, type);
	buf_text(out, "\",\"commit_timestamp\":");
	render_timestamp(c, out);
	buf_text(out, ",\"columns\":");
	render_columns(c, p, out);
	if (e->record_len > 0)
		render_record(&c->new, p, ",\"record\":", out);
	if (e->old_record_len > 0)
		render_record(&c->old, p, ",\"old_record\":", out);
	buf_text(out, ",\"errors\":");
	buf_text(out, e->flags & EVENT_TOO_LARGE ?
			 "[\"Error 413: Payload Too Large\"]}" : "null}");
}
