/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/page_digest.h"

#include <stddef.h>

uint64_t page_digest(const struct page_digest_key *key, const void *page)
{
	const uint64_t *words = page;
	unsigned __int128 even = 0, odd = 0;

	/* Two sums that do not wait for each other keep the multiplier busy. */
	for (size_t i = 0; i < 512; i += 4) {
		even += (unsigned __int128)(words[i] + key->words[i]) *
			(words[i + 1] + key->words[i + 1]);
		odd += (unsigned __int128)(words[i + 2] + key->words[i + 2]) *
		       (words[i + 3] + key->words[i + 3]);
	}
	even += odd;
	even = key->fold[0] + (uint64_t)even * key->fold[1] + (uint64_t)(even >> 64) * key->fold[2];
	return (uint64_t)(even >> 64);
}

int page_is_zero(const void *page)
{
	const uint64_t *words = page;

	for (size_t i = 0; i < 512; i += 8) {
		if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
		    words[i + 5] | words[i + 6] | words[i + 7])
			return 0;
	}
	return 1;
}
