/*-------------------------------------------------------------------------
 *
 * binding.c
 *	  One postgres_changes item of a join: what it asks for, and what is
 *	  wrong with it, in the words that clients know.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rooms.h"

#define ID_BITS		27

/* The parameters as given; absent ones are NULL. */
typedef struct request
{
	const json_t *params;
	const char *event;			/* as shown in messages */
	const char *schema;
	const char *table;
	const char *filter;
	const json_t *select;
	filter	   *parsed;			/* filter, taken apart */
} request;

/*
 * The same parameters give the same id in any channel of any gateway; in a
 * channel ids differ, whatever was asked for.
 */
uint32_t
binding_id(const json_t *params, const binding *others, int nothers)
{
	static const hash_seed fixed = {
		UINT64_C(0x6f70656e68725f6d), UINT64_C(0x73675f62696e6469)
	};
	char	   *text = json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS);
	uint64_t	hash = text != NULL ?
		seeded_hash(&fixed, text, strlen(text)) : 0;
	uint32_t	max = (UINT32_C(1) << ID_BITS) - 1;
	uint32_t	id = (uint32_t) (hash % max) + 1;

	free(text);
	for (int i = 0; i < nothers; i++)
	{
		/* One was taken: try the next, against all of them again. */
		if (others[i].id == id)
		{
			id = id % max + 1;
			i = -1;
		}
	}
	return id;
}

static uint8_t
request_actions(request *r)
{
	static const struct
	{
		const char *event;
		uint8_t		actions;
	}			known[] = {
		{"INSERT", BINDING_INSERT},
		{"UPDATE", BINDING_UPDATE},
		{"DELETE", BINDING_DELETE}
	};

	for (size_t i = 0; r->event != NULL && i < 3; i++)
	{
		if (strcasecmp(r->event, known[i].event) == 0)
		{
			r->event = known[i].event;
			return known[i].actions;
		}
	}
	r->event = "*";
	return BINDING_ALL;
}

static bool
is_wildcard(const char *name)
{
	return name == NULL || strcmp(name, "*") == 0;
}

static uint8_t
request_tables(const hub *h, const request *r)
{
	uint8_t		tables = 0;

	for (int i = 0; i < EVENT_TABLES; i++)
	{
		if ((is_wildcard(r->schema) ||
			 strcmp(r->schema, h->tables[i]->schema) == 0) &&
			(is_wildcard(r->table) ||
			 strcmp(r->table, table_name(i)) == 0))
			tables |= 1 << i;
	}
	return tables;
}

/* ----------
 * What is wrong
 * ----------
 */

static void
say_no_table(const request *r, buf *problem)
{
	const char *key;
	json_t	   *value;
	bool		first = true;

	buf_text(problem, "No subscription params provided. Please provide at "
			 "least a `schema` or `table` to subscribe to: %{");
	json_object_foreach((json_t *) r->params, key, value)
	{
		char	   *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

		buf_text(problem, first ? "" : ", ");
		buf_json(problem, key, strlen(key));
		buf_text(problem, " => ");
		buf_text(problem, text != NULL ? text : "nil");
		free(text);
		first = false;
	}
	buf_text(problem, "}");
}

static void
say_request(const request *r, buf *problem)
{
	char	   *select = NULL;

	if (r->select != NULL)
		select = json_dumps(r->select, 0);
	buf_printf(problem, "[event: %s, schema: %s, table: %s, filters: [",
			   r->event, r->schema, r->table != NULL ? r->table : "*");
	if (r->parsed != NULL)
		filter_describe(r->parsed, problem);
	buf_printf(problem, "], select: %s]", select != NULL ? select : "nil");
	free(select);
}

static void
say_no_such_table(const request *r, buf *problem)
{
	buf_text(problem, "Unable to subscribe to changes with given parameters. "
			 "Please check Realtime is enabled for the given connect "
			 "parameters: ");
	say_request(r, problem);
}

static void
say_exception(const request *r, const char *exception, buf *problem)
{
	buf_text(problem, "Unable to subscribe to changes with given parameters. "
			 "An exception happened so please check your connect "
			 "parameters: ");
	say_request(r, problem);
	buf_printf(problem, ". Exception: ERROR %s", exception);
}

static void
say_bad_select(buf *problem)
{
	buf_text(problem, "Error parsing `select` params: expected a list of "
			 "column name strings, e.g. select: [\"col1\", \"col2\"]");
}

/* ----------
 * Taking it apart
 * ----------
 */

static bool
request_read(request *r, const json_t *params, buf *problem)
{
	const json_t *filter = json_object_get(params, "filter");
	const json_t *select = json_object_get(params, "select");

	r->params = params;
	r->event = json_string_value(json_object_get(params, "event"));
	r->schema = json_string_value(json_object_get(params, "schema"));
	r->table = json_string_value(json_object_get(params, "table"));
	r->filter = json_string_value(filter);

	if (filter != NULL && r->filter == NULL && !json_is_null(filter))
	{
		char	   *text = json_dumps(filter, JSON_ENCODE_ANY);

		buf_text(problem, "Error parsing `filter` params: ");
		buf_text(problem, text != NULL ? text : "nil");
		free(text);
		return false;
	}
	if (select == NULL || json_is_null(select) ||
		(json_is_array(select) && json_array_size(select) == 0))
		return true;
	if (!json_is_array(select))
	{
		say_bad_select(problem);
		return false;
	}
	r->select = select;
	return true;
}

static bool
request_parse_filter(request *r, buf *problem)
{
	buf			inner;
	bool		ok;

	if (r->filter == NULL)
		return true;
	buf_init(&inner);
	r->parsed = filter_parse(r->filter, strlen(r->filter), &inner);
	ok = r->parsed != NULL || (buf_ok(&inner) && inner.len == 0);
	if (!ok)
	{
		buf_text(problem, "Error parsing `filter` params: ");
		buf_bytes(problem, inner.data, inner.len);
	}
	buf_free(&inner);
	return ok;
}

static bool
bind_select(hub *h, binding *b, request *r, const table *t, buf *problem)
{
	const char *unknown = NULL;
	buf			exception;

	if (r->select == NULL)
		return true;
	if (is_wildcard(r->schema) || is_wildcard(r->table))
	{
		buf_text(problem, "Column selection is not supported for wildcard "
				 "subscriptions. Provide an explicit schema and table name.");
		return false;
	}
	switch (projection_get(&h->projections, t, r->select, &b->select,
						   &unknown))
	{
		case PROJECTION_OK:
			return true;
		case PROJECTION_MALFORMED:
			say_bad_select(problem);
			return false;
		case PROJECTION_UNKNOWN_COLUMN:
			buf_init(&exception);
			buf_printf(&exception, "P0001 (raise_exception) invalid column "
					   "for select %s", unknown);
			say_exception(r, buf_string(&exception), problem);
			buf_free(&exception);
			return false;
		case PROJECTION_NO_MEMORY:
			break;
	}
	problem->failed = true;
	return false;
}

/* Give the filter its types; the usual condition becomes the pin. */
static bool
bind_filter(binding *b, request *r, const table *t, buf *problem)
{
	buf			exception;
	bool		empty = false;
	bool		ok;

	if (r->parsed == NULL)
		return true;
	buf_init(&exception);
	ok = filter_bind(r->parsed, t, &exception);
	if (!ok && buf_ok(&exception) && exception.len > 0)
		say_exception(r, buf_string(&exception), problem);
	else if (!ok)
		problem->failed = true;
	buf_free(&exception);
	if (!ok)
		return false;
	b->pinned = filter_take_uuid(r->parsed, table_room_column(t->which),
								 b->room_id, &empty);
	if (!empty)
	{
		b->filter = r->parsed;
		r->parsed = NULL;
	}
	return true;
}

static bool
binding_fill(hub *h, binding *b, request *r, buf *problem)
{
	const table *t = NULL;

	b->actions = request_actions(r);
	if (!request_parse_filter(r, problem))
		return false;
	if ((r->schema == NULL && r->table == NULL) ||
		(r->parsed != NULL && is_wildcard(r->table)))
	{
		say_no_table(r, problem);
		return false;
	}
	if (r->schema == NULL)
		r->schema = "public";
	b->tables = request_tables(h, r);
	if (b->tables == 0)
	{
		say_no_such_table(r, problem);
		return false;
	}
	for (int i = 0; i < EVENT_TABLES; i++)
	{
		if (b->tables == 1 << i)
			t = h->tables[i];
	}
	return bind_select(h, b, r, t, problem) &&
		bind_filter(b, r, t, problem);
}

/* False: problem tells what is wrong, or has failed for lack of memory. */
bool
binding_parse(hub *h, binding *b, const json_t *params, buf *problem)
{
	request		r;
	bool		ok;

	memset(&r, 0, sizeof(r));
	ok = request_read(&r, params, problem) &&
		binding_fill(h, b, &r, problem);
	filter_free(r.parsed);
	return ok && buf_ok(problem);
}

void
binding_clear(hub *h, binding *b)
{
	filter_free(b->filter);
	b->filter = NULL;
	projection_unref(&h->projections, b->select);
	b->select = NULL;
}
