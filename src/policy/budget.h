/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_BUDGET_H
#define POLICY_BUDGET_H

/*
 * How many bytes may be unflushed: as many as can be written in the time that the battery pays for
 * (method M5). Of the battery's runtime the ride-through and the reserve, in which the rest of
 * the host is shut down, are not for us; of what is left a share is kept for safety. The disk
 * counts with the worst rate of late (policy/rate.h). A save takes the time of its bytes, of what a
 * commit writes besides, and a fixed time (writers are stopped, the disk is synced).
 *
 * Pure: numbers in, numbers and words out.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define BUDGET_ABSENT UINT32_MAX       /* the UPS does not say */
#define BUDGET_BYTES_MIN (16ull << 20) /* with less, writers would wait for the disk always */

struct budget_terms {
	bool has_ups;		 /* else --no-ups: the bound is as configured, and not paid for */
	uint32_t runtime_s;	 /* as the UPS says it, with the battery as it is now */
	uint32_t charge_percent;
	uint32_t full_runtime_s; /* as configured, for a UPS that does not say; else absent */
	uint64_t bytes_per_s;	 /* the worst of the recent; 0: not measured */
	uint64_t ride_through_ns;
	uint64_t reserve_ns;
	uint32_t safety_percent; /* of the time that is left for the save; below 100 */
	uint64_t commit_bytes;	 /* of the tables and all else but pages */
	uint64_t commit_ns;	 /* besides the writing */
	uint64_t bound_bytes_max; /* as configured; 0: none. Without pay this is the bound */
};

struct budget {
	bool is_paid;		/* the battery pays for the bound, and one can work with it */
	uint64_t bound_bytes;	/* a multiple of the page; where it is not paid, as configured */
	uint64_t largest_bytes; /* the most that a full battery could pay for; 0: unknown */
	uint64_t save_ns_max;	/* the battery's time for a save, before the share for safety */
	struct error why_not;	/* in words; empty when it is paid */
};

/* Where nothing pays, bound_bytes is bound_bytes_max, or BUDGET_UNPAID_BYTES without one. */
#define BUDGET_UNPAID_BYTES (1ull << 30)
void budget_make(const struct budget_terms *terms, struct budget *ret_budget);

/* Predicted: how long a save of so many bytes takes. UINT64_MAX when no rate is known. */
uint64_t budget_save_ns(const struct budget_terms *terms, uint64_t bytes);

#endif
