/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_PAGE_DIGEST_H
#define MEMORY_PAGE_DIGEST_H

/*
 * A keyed 64-bit digest of a page, by which an evicted page is known to equal its far copy without
 * write-protecting it (docs/decisions/0040-digest-not-write-protect.md).
 *
 * It is the NH family of universal hashes (Black, Halevi, Krawczyk, Krovetz, Rogaway: UMAC, 1999)
 * over 64-bit words, folded to 64 bits by a multilinear step: for two pages that were chosen
 * without knowledge of the key the digests are equal with a probability of about 2^-63, whatever
 * the pages are. The key is random, of one process family, and never leaves it.
 */

#include <stdint.h>

#include "base/bytes.h"

struct page_digest_key {
	uint64_t words[512];
	unsigned __int128 fold[3];
};

/* `page` is aligned to 8 bytes. Pure; no alignment to a page is needed. */
uint64_t page_digest(const struct page_digest_key *key, const void *page);

/* True if all bytes of the page are zero. */
int page_is_zero(const void *page);

#endif
