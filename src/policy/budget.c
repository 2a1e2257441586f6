/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/budget.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/units.h"
#include "policy/rate.h"

#define SECOND_NS ((uint64_t)1000000000)
#define CHARGE_FULL 100u
#define RUNTIME_S_MAX 10000000u /* no battery lasts four months; keeps the products in range */

static uint64_t seconds(uint32_t runtime_s)
{
	return (runtime_s < RUNTIME_S_MAX ? runtime_s : RUNTIME_S_MAX) * SECOND_NS;
}

/* The battery's runtime in ns, as it is now or when it is full. 0: nobody says. */
static uint64_t runtime_ns(const struct budget_terms *terms, bool full)
{
	uint32_t charge = terms->charge_percent;
	uint64_t said = UINT64_MAX, configured = UINT64_MAX, least;

	if (charge == BUDGET_ABSENT || charge > CHARGE_FULL)
		charge = CHARGE_FULL;
	if (terms->runtime_s != BUDGET_ABSENT) {
		said = seconds(terms->runtime_s);
		if (full && charge)
			said = said * CHARGE_FULL / charge;
	}
	if (terms->full_runtime_s != BUDGET_ABSENT)
		configured = seconds(terms->full_runtime_s) / CHARGE_FULL *
			     (full ? CHARGE_FULL : charge);
	least = said < configured ? said : configured;
	return least == UINT64_MAX ? 0 : least;
}

static uint64_t time_for_save(const struct budget_terms *terms, bool full)
{
	uint64_t runtime = runtime_ns(terms, full);
	uint64_t kept = terms->ride_through_ns + terms->reserve_ns;

	return runtime > kept ? runtime - kept : 0;
}

/* How many bytes of pages can be saved in that time, with the share for safety kept back. */
static uint64_t bytes_in(const struct budget_terms *terms, uint64_t time_ns)
{
	uint64_t safe_ns = time_ns / 100 * (100 - terms->safety_percent), bytes;

	if (safe_ns <= terms->commit_ns)
		return 0;
	bytes = rate_bytes_in(safe_ns - terms->commit_ns, terms->bytes_per_s);
	return bytes > terms->commit_bytes ? (bytes - terms->commit_bytes) & ~(PAGE_BYTES - 1) : 0;
}

uint64_t budget_save_ns(const struct budget_terms *terms, uint64_t bytes)
{
	uint64_t ns = rate_ns_for(bytes + terms->commit_bytes, terms->bytes_per_s);

	return ns > UINT64_MAX - terms->commit_ns ? UINT64_MAX : ns + terms->commit_ns;
}

/* 0, or -errno in words: why the battery pays for nothing that one could work with. */
static int check(const struct budget_terms *terms, uint64_t bytes, struct error *why)
{
	uint64_t runtime = runtime_ns(terms, false), time_ns = time_for_save(terms, false);
	char text[UNITS_TEXT_BYTES], rate[UNITS_TEXT_BYTES];

	if (!terms->has_ups)
		return error_set(why, -ENODEV, "no UPS is configured");
	if (!terms->bytes_per_s)
		return error_set(why, -EAGAIN, "the disk's rate was not measured yet");
	if (terms->runtime_s == BUDGET_ABSENT && terms->full_runtime_s == BUDGET_ABSENT)
		return error_set(why, -ENODATA,
				 "the UPS does not say how long its battery lasts; "
				 "configure the runtime of the full battery");
	if (!time_ns)
		return error_set(why, -ENOSPC,
				 "the battery lasts %" PRIu64 " s, and %" PRIu64
				 " s ride-through and %" PRIu64
				 " s reserve leave no time for a save",
				 runtime / SECOND_NS, terms->ride_through_ns / SECOND_NS,
				 terms->reserve_ns / SECOND_NS);
	if (bytes < BUDGET_BYTES_MIN)
		return error_set(
			why, -ENOSPC,
			"the battery pays for %s only: %" PRIu64 ".%" PRIu64
			" s for a save, at %s/s; a longer runtime or a faster disk is needed",
			format_size(bytes, text), time_ns / SECOND_NS,
			time_ns / (SECOND_NS / 10) % 10, format_size(terms->bytes_per_s, rate));
	return 0;
}

void budget_make(const struct budget_terms *terms, struct budget *ret_budget)
{
	uint64_t bytes, max = terms->bound_bytes_max;

	assert(terms->safety_percent < 100);
	*ret_budget = (struct budget){ .is_paid = false };
	bytes = terms->has_ups ? bytes_in(terms, time_for_save(terms, false)) : 0;
	if (terms->has_ups) {
		ret_budget->save_ns_max = time_for_save(terms, false);
		ret_budget->largest_bytes = bytes_in(terms, time_for_save(terms, true));
	}
	if (check(terms, bytes, &ret_budget->why_not)) {
		ret_budget->bound_bytes = (max ? max : BUDGET_UNPAID_BYTES) & ~(PAGE_BYTES - 1);
		return;
	}
	ret_budget->is_paid = true;
	ret_budget->bound_bytes = max && max < bytes ? max & ~(PAGE_BYTES - 1) : bytes;
}
