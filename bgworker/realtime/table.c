/*-------------------------------------------------------------------------
 *
 * table.c
 *	  Descriptions of the tables, as the server or an event gives them.
 *
 *-------------------------------------------------------------------------
 */
#include "table.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *const table_names[EVENT_TABLES] = {
	[EVENT_CONVERSATIONS] = "conversations",
	[EVENT_PARTICIPANTS] = "conversation_participants",
	[EVENT_MESSAGES] = "messages"
};

const char *
table_name(event_table which)
{
	return table_names[which];
}

const char *
table_room_column(event_table which)
{
	return which == EVENT_CONVERSATIONS ? "id" : "conversation_id";
}

/* The string that a span of JSON stands for; NULL: none, or no memory. */
static char *
span_decode(span s)
{
	json_t	   *value = json_loadb(s.data, s.len, JSON_DECODE_ANY, NULL);
	char	   *text = NULL;

	if (json_is_string(value))
		text = strdup(json_string_value(value));
	json_decref(value);
	return text;
}

static bool
column_set(column *c, span item)
{
	static const span name_key = {"\"name\"", 6};
	static const span type_key = {"\"type\"", 6};
	scan		s;
	span		key;
	span		value;

	c->item = item;
	if (!scan_open(&s, item.data, item.len))
		return false;
	while (scan_next(&s, &key, &value))
	{
		if (c->name == NULL && span_equal(key, name_key))
		{
			c->name = span_decode(value);
			c->key = value;
		}
		else if (c->type == NULL && span_equal(key, type_key))
			c->type = span_decode(value);
	}
	return c->name != NULL && c->type != NULL;
}

static bool
table_set_columns(table *t)
{
	scan		s;
	span		key;
	span		item;

	if (!scan_open(&s, t->text, t->text_len) || s.object)
		return false;
	while (scan_next(&s, &key, &item))
	{
		column	   *columns = realloc(t->columns, sizeof(column) *
									  (size_t) (t->ncolumns + 1));

		if (columns == NULL)
			return false;
		t->columns = columns;
		memset(&columns[t->ncolumns], 0, sizeof(column));
		if (!column_set(&columns[t->ncolumns++], item))
			return false;
	}
	return t->ncolumns > 0;
}

table *
table_new(event_table which, const char *schema, const char *text, size_t len)
{
	table	   *t = calloc(1, sizeof(table));

	if (t == NULL)
		return NULL;
	t->which = which;
	t->schema = strdup(schema);
	t->text = malloc(len + 1);
	t->text_len = len;
	if (t->schema != NULL && t->text != NULL)
	{
		memcpy(t->text, text, len);
		t->text[len] = '\0';
		if (table_set_columns(t))
			return t;
	}
	table_free(t);
	return NULL;
}

void
table_free(table *t)
{
	if (t == NULL)
		return;
	for (int i = 0; i < t->ncolumns; i++)
	{
		free(t->columns[i].name);
		free(t->columns[i].type);
	}
	free(t->columns);
	free(t->schema);
	free(t->text);
	free(t);
}

const column *
table_column(const table *t, const char *name)
{
	for (int i = 0; i < t->ncolumns; i++)
	{
		if (strcmp(t->columns[i].name, name) == 0)
			return &t->columns[i];
	}
	return NULL;
}
