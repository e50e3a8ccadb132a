/*-------------------------------------------------------------------------
 *
 * map.h
 *	  Hash tables whose links live in the members, keyed by bytes, and the
 *	  seeded hash behind them.
 *
 * What clients choose (topics, profiles of their tokens) ends up in these
 * tables, so the hash is seeded at start: nobody can aim at one bucket.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_MAP_H
#define REALTIME_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hash_seed
{
	uint64_t	k0;
	uint64_t	k1;
} hash_seed;

extern void hash_seed_init(hash_seed *seed);
extern uint64_t seeded_hash(const hash_seed *seed, const void *data,
							size_t len);

/* First member of a struct; the key of map.key_len bytes follows at once. */
typedef struct map_entry
{
	struct map_entry *next;
} map_entry;

typedef struct map
{
	map_entry **buckets;
	size_t		nbuckets;		/* a power of two */
	size_t		count;
	size_t		key_len;
	hash_seed	seed;
} map;

/* False: no memory. */
extern bool map_init(map *m, size_t key_len, const hash_seed *seed);
extern void map_free(map *m);	/* the table, not the members */
extern void *map_get(const map *m, const void *key);
extern void map_put(map *m, map_entry *entry);	/* key must be absent */
extern void map_remove(map *m, map_entry *entry);

#endif							/* REALTIME_MAP_H */
