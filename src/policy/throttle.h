/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_THROTTLE_H
#define POLICY_THROTTLE_H

/*
 * How long a writer waits before it may change one more page, while what was changed and not yet
 * copied away (flushed to a disk, sent to a replica) stays below a bound. Nothing up to a first
 * threshold, half of the bound; from there the delay grows without a step, and without limit
 * towards the bound, which is never passed (methods M5 and M7).
 *
 * With x the part of the way from the threshold to the bound that is used up, and t the time in
 * which the copier takes one page away, the delay is t * x / (1 - x). One writer that is faster
 * than the copier settles at x = 1/2, where it waits t for each page; n of them at n / (n + 1):
 * any number settles below the bound, at the copier's rate, and the copier always has work.
 *
 * Pure: numbers in, a number out.
 */

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_NEVER UINT64_MAX

struct throttle {
	uint64_t bound_pages; /* 0: nobody may write */
	uint64_t page_ns;     /* in which the copier takes one page away */
};

/*
 * `bytes_per_s` is what the copier did lately; 0, nothing is known yet, counts as THROTTLE_RATE_MIN
 * like all that is slower: the bound holds all the same.
 */
#define THROTTLE_RATE_MIN (1u << 20)
struct throttle throttle_for(uint64_t bound_pages, uint64_t bytes_per_s);

/* The first threshold: up to so many pages nobody waits. */
uint64_t throttle_first(const struct throttle *throttle);

/*
 * The delay of the next page of one writer when `pages` are uncopied: those that are changed and
 * those that others were admitted to change. THROTTLE_NEVER at the bound and above it.
 */
uint64_t throttle_delay_ns(const struct throttle *throttle, uint64_t pages);

/*
 * Whether a writer that has waited so long may go on now. To be asked again while it waits: the
 * delay is that of the moment, so it ends sooner when the copier has come on, later when not.
 */
bool throttle_admits(const struct throttle *throttle, uint64_t pages, uint64_t waited_ns);

#endif
