/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdint.h>

/* The first run of ones in `word`, which is not 0: where it begins and how long it is. */
static inline uint32_t bits_first_run(uint64_t word, uint32_t *ret_first)
{
	uint64_t rest;

	*ret_first = (uint32_t)__builtin_ctzll(word);
	rest = ~(word >> *ret_first);
	return rest ? (uint32_t)__builtin_ctzll(rest) : 64;
}

/* `count` ones from bit `first` on: 1 to 64 of them, and none beyond the word. */
static inline uint64_t bits_mask(uint32_t first, uint32_t count)
{
	return ~0ull >> (64 - count) << first;
}

#endif
