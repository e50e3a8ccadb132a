/*-------------------------------------------------------------------------
 *
 * map.c
 *	  Hash tables whose links live in the members.
 *
 * Putting a member in cannot fail: when there is no memory for more buckets
 * the chains grow longer, which is slower but right.
 *
 *-------------------------------------------------------------------------
 */
#include "map.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAP_FIRST_SIZE	64

#define entry_key(entry)	((const void *) ((entry) + 1))

void
hash_seed_init(hash_seed *seed)
{
	/* Without the kernel's random bytes the tables still work. */
	if (getentropy(seed, sizeof(*seed)) != 0)
	{
		seed->k0 = (uint64_t) time(NULL);
		seed->k1 = (uint64_t) (uintptr_t) seed;
	}
}

/* Both halves of a 64 x 64 bit product, folded. */
static inline uint64_t
fold_product(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t) a * b;

	return (uint64_t) product ^ (uint64_t) (product >> 64);
}

uint64_t
seeded_hash(const hash_seed *seed, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t	h = seed->k0 ^ len;
	uint64_t	word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word))
	{
		memcpy(&word, p, sizeof(word));
		h = fold_product(h ^ word, seed->k1 ^ UINT64_C(0x9e3779b97f4a7c15));
	}
	word = 0;
	memcpy(&word, p, len);
	h = fold_product(h ^ word, seed->k1 ^ UINT64_C(0xd1b54a32d192ed03));
	return fold_product(h ^ seed->k1, UINT64_C(0xa0761d6478bd642f));
}

bool
map_init(map *m, size_t key_len, const hash_seed *seed)
{
	m->buckets = calloc(MAP_FIRST_SIZE, sizeof(map_entry *));
	m->nbuckets = m->buckets != NULL ? MAP_FIRST_SIZE : 0;
	m->count = 0;
	m->key_len = key_len;
	m->seed = *seed;
	return m->buckets != NULL;
}

void
map_free(map *m)
{
	free(m->buckets);
	m->buckets = NULL;
	m->nbuckets = 0;
	m->count = 0;
}

static map_entry **
map_bucket(const map *m, const void *key)
{
	return &m->buckets[seeded_hash(&m->seed, key, m->key_len) &
					   (m->nbuckets - 1)];
}

void *
map_get(const map *m, const void *key)
{
	for (map_entry *e = *map_bucket(m, key); e != NULL; e = e->next)
	{
		if (memcmp(entry_key(e), key, m->key_len) == 0)
			return e;
	}
	return NULL;
}

static void
map_grow(map *m)
{
	map_entry **old = m->buckets;
	size_t		nold = m->nbuckets;
	map_entry **new = calloc(nold * 2, sizeof(map_entry *));

	if (new == NULL)
		return;
	m->buckets = new;
	m->nbuckets = nold * 2;
	for (size_t i = 0; i < nold; i++)
	{
		map_entry  *next;

		for (map_entry *e = old[i]; e != NULL; e = next)
		{
			map_entry **bucket = map_bucket(m, entry_key(e));

			next = e->next;
			e->next = *bucket;
			*bucket = e;
		}
	}
	free(old);
}

void
map_put(map *m, map_entry *entry)
{
	map_entry **bucket;

	if (m->count >= m->nbuckets)
		map_grow(m);
	bucket = map_bucket(m, entry_key(entry));
	entry->next = *bucket;
	*bucket = entry;
	m->count++;
}

void
map_remove(map *m, map_entry *entry)
{
	map_entry **link = map_bucket(m, entry_key(entry));

	while (*link != NULL && *link != entry)
		link = &(*link)->next;
	if (*link == entry)
	{
		*link = entry->next;
		m->count--;
	}
}
