/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

/*
 * Numbers that look random and come again from the same seed: for tests, simulation and fault
 * injection, never for keys. SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
 * Generators, OOPSLA 2014): any seed is good, each 64-bit number comes once in its period of 2^64.
 * One generator is used by one thread at a time.
 */

#include <stddef.h>
#include <stdint.h>

#define RANDOM_STEP 0x9e3779b97f4a7c15ull

struct random_source {
	uint64_t state;
};

/* The 64-bit mixer alone: turns a counter into a random-looking number. */
static inline uint64_t random_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline struct random_source random_from_seed(uint64_t seed)
{
	return (struct random_source){.state = seed};
}

static inline uint64_t random_next(struct random_source *source)
{
	return random_mix(source->state += RANDOM_STEP);
}

/* From 0 to limit - 1, limit > 0; its bias of limit / 2^64 does not matter to a test. */
static inline uint64_t random_below(struct random_source *source, uint64_t limit)
{
	return (uint64_t)(((unsigned __int128)random_next(source) * limit) >> 64);
}

void random_fill(struct random_source *source, void *bytes, size_t byte_count);

#endif
