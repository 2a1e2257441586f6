/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_CACHE_H
#define MODEL_CACHE_H

/*
 * A set-associative cache of keys with a small value each, replaced by least recent use: the
 * processor's caches, TLBs, walkers and the cache for the bitmap are all of it. A set is an array
 * in the order of use, the latest first, so that most hits look at one word.
 *
 * A pointer to a slot is valid until the next call that changes the cache.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_KEY_SHIFT 24
#define CACHE_VALUE_MASK ((1ull << CACHE_KEY_SHIFT) - 1)
#define CACHE_EMPTY UINT64_MAX

struct cache {
	uint64_t *slots; /* key << CACHE_KEY_SHIFT | value, or CACHE_EMPTY behind all others */
	uint64_t set_mask;
	uint32_t ways;
};

/* `entries` is a power of two of sets. -ENOMEM. */
static inline int cache_create(struct cache *cache, uint64_t entries, uint32_t ways)
{
	cache->slots = malloc(entries * sizeof(*cache->slots));
	if (!cache->slots)
		return -ENOMEM;
	memset(cache->slots, 0xff, entries * sizeof(*cache->slots));
	cache->set_mask = entries / ways - 1;
	cache->ways = ways;
	return 0;
}

static inline void cache_destroy(struct cache *cache)
{
	free(cache->slots);
	cache->slots = NULL;
}

static inline uint64_t cache_key(uint64_t slot)
{
	return slot >> CACHE_KEY_SHIFT;
}

static inline uint32_t cache_value(uint64_t slot)
{
	return (uint32_t)(slot & CACHE_VALUE_MASK);
}

static inline void cache_set_value(uint64_t *slot, uint32_t value)
{
	*slot = (*slot & ~CACHE_VALUE_MASK) | value;
}

static inline uint64_t *cache_set_of(const struct cache *cache, uint64_t key)
{
	return cache->slots + (key & cache->set_mask) * cache->ways;
}

/* The key's slot or NULL; its place in the order of use stays. */
static inline uint64_t *cache_peek(const struct cache *cache, uint64_t key)
{
	uint64_t *set = cache_set_of(cache, key);

	for (uint32_t way = 0; way < cache->ways; way++)
		if (cache_key(set[way]) == key)
			return &set[way];
	return NULL;
}

/* The key's slot or NULL; it is the latest used now. */
static inline uint64_t *cache_use(struct cache *cache, uint64_t key)
{
	uint64_t *set = cache_set_of(cache, key), *slot, used;

	if (cache_key(set[0]) == key)
		return set;
	slot = cache_peek(cache, key);
	if (!slot)
		return NULL;
	used = *slot;
	memmove(set + 1, set, (size_t)(slot - set) * sizeof(*set));
	set[0] = used;
	return set;
}

/* The key is not there yet. Returns the slot that gave way, or CACHE_EMPTY. */
static inline uint64_t cache_insert(struct cache *cache, uint64_t key, uint32_t value)
{
	uint64_t *set = cache_set_of(cache, key);
	uint64_t evicted = set[cache->ways - 1];

	memmove(set + 1, set, (cache->ways - 1) * sizeof(*set));
	set[0] = key << CACHE_KEY_SHIFT | value;
	return evicted;
}

/* Returns what the slot was, CACHE_EMPTY when the key is not there. */
static inline uint64_t cache_remove(struct cache *cache, uint64_t key)
{
	uint64_t *slot = cache_peek(cache, key), *last;
	uint64_t removed;

	if (!slot)
		return CACHE_EMPTY;
	removed = *slot;
	last = cache_set_of(cache, key) + cache->ways - 1;
	memmove(slot, slot + 1, (size_t)(last - slot) * sizeof(*slot));
	*last = CACHE_EMPTY;
	return removed;
}

#endif
