/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_LENT_H
#define NODE_LENT_H

/*
 * The memory that one worker lends: reserved as addresses up to the quota, made usable as it is
 * granted. What is not granted cannot be touched through the fabric either: the pages are not
 * there. In front of the first slot lies one page, the door, which holds the session's key; reading
 * it shows a client that a transport leads to its own worker.
 */

#include <stdint.h>

struct lent {
	void *reserved;
	uint64_t reserved_bytes;
	char *door;  /* what the fabric lends begins here */
	char *slots; /* one page behind the door, on a huge page's border */
	uint64_t quota_bytes;
	uint64_t usable_bytes;
};

int lent_open(struct lent *lent, uint64_t quota_bytes, uint64_t key);

/*
 * Makes `bytes` usable in all: present, zero, and locked in memory as far as that is permitted. In
 * steps of NODE_GRANT_BYTES, with `between(context)` after each, for the fabric must not wait long.
 * -ENOMEM when the host has no memory after all; what was usable before stays so.
 */
int lent_extend(struct lent *lent, uint64_t bytes, void (*between)(void *context), void *context);

#endif
