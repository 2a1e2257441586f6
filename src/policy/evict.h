/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_EVICT_H
#define POLICY_EVICT_H

/*
 * When to evict. Room is what a fault can have at once: pages under the limit that are not in use,
 * and victims, which can be dropped. Eviction begins when room falls below `low` and goes on, batch
 * by batch, to `high`: far enough ahead that a fault finds room while a batch is being stored, and
 * that a page evicted too early is still at hand (the victims are the second chance).
 *
 * Pure: numbers in, a number out.
 */

#include <stdint.h>

#define EVICT_BATCH_PAGES 32 /* a frame group: one store, one lock */

struct evict_policy {
	uint64_t low; /* pages of room */
	uint64_t high;
};

/* A 16th of the limit as victims, at least four batches and at most 16 MiB. */
struct evict_policy evict_policy_for(uint64_t limit_pages);

/* How many batches to evict now. */
uint32_t evict_batches(const struct evict_policy *policy, uint64_t limit_pages,
		       uint64_t local_pages, uint64_t victim_pages);

#endif
