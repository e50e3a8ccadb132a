/*-------------------------------------------------------------------------
 *
 * projection.c
 *	  Which columns a subscription asks for.
 *
 * A projection is known by two seeded hashes of its table and columns, in the
 * table's order: 128 bits that nobody outside can aim at.
 *
 *-------------------------------------------------------------------------
 */
#include "projection.h"

#include <stdlib.h>
#include <string.h>

#define PRIMARY_KEY		"id"

static bool
is_wanted(const json_t *names, const char *name)
{
	size_t		i;
	json_t	   *item;

	json_array_foreach((json_t *) names, i, item)
	{
		if (strcmp(json_string_value(item), name) == 0)
			return true;
	}
	return strcmp(name, PRIMARY_KEY) == 0;
}

static projection_status
check_names(const table *t, const json_t *names, const char **unknown)
{
	size_t		i;
	json_t	   *item;

	if (!json_is_array(names))
		return PROJECTION_MALFORMED;
	json_array_foreach((json_t *) names, i, item)
	{
		if (!json_is_string(item))
			return PROJECTION_MALFORMED;
		*unknown = json_string_value(item);
		if (table_column(t, *unknown) == NULL)
			return PROJECTION_UNKNOWN_COLUMN;
	}
	return PROJECTION_OK;
}

static projection *
projection_new(map *projections, const uint64_t digest[2], buf *keys)
{
	projection *p = calloc(1, sizeof(projection));

	if (p == NULL)
		return NULL;
	memcpy(p->digest, digest, sizeof(p->digest));
	p->keys_len = keys->len;
	p->keys = buf_detach(keys);
	if (p->keys == NULL)
	{
		free(p);
		return NULL;
	}
	map_put(projections, &p->entry);
	return p;
}

projection_status
projection_get(map *projections, const table *t, const json_t *names,
			   projection **p, const char **unknown)
{
	projection_status status = check_names(t, names, unknown);
	hash_seed	swapped = {projections->seed.k1, projections->seed.k0};
	uint64_t	digest[2];
	buf			keys;

	if (status != PROJECTION_OK)
		return status;

	/* Keys are JSON strings, so nothing needs to stand between them. */
	buf_init(&keys);
	for (int i = 0; i < t->ncolumns; i++)
	{
		if (is_wanted(names, t->columns[i].name))
			buf_bytes(&keys, t->columns[i].key.data, t->columns[i].key.len);
	}
	if (!buf_ok(&keys))
	{
		buf_free(&keys);
		return PROJECTION_NO_MEMORY;
	}
	digest[0] = seeded_hash(&projections->seed, keys.data, keys.len) ^ t->which;
	digest[1] = seeded_hash(&swapped, keys.data, keys.len);

	*p = map_get(projections, digest);
	if (*p == NULL)
		*p = projection_new(projections, digest, &keys);
	buf_free(&keys);
	if (*p == NULL)
		return PROJECTION_NO_MEMORY;
	(*p)->refs++;
	return PROJECTION_OK;
}

void
projection_unref(map *projections, projection *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	map_remove(projections, &p->entry);
	buf_free(&p->rendering.data);
	free(p->keys);
	free(p);
}

bool
projection_has(const projection *p, span key)
{
	scan		s = {p->keys, p->keys + p->keys_len, false};
	span		none;
	span		item;

	while (scan_next(&s, &none, &item))
	{
		if (span_equal(item, key))
			return true;
	}
	return false;
}
