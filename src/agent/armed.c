/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the promise can be kept (S6): what the battery pays for is weighed against what could be
 * unflushed, and a region for which it cannot be kept is shown as not armed, with the reason.
 */

#include "agent/agent_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define COMMIT_NS 50000000u /* writers stopped and three syncs, besides the writing */

static uint64_t commit_bytes(const struct agent *agent)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		const struct region *region = agent->regions[i].region;

		if (region && region->image)
			bytes += image_commit_bytes(region->image);
	}
	return bytes;
}

/* What cannot be known exactly counts whole. */
static uint64_t unknown_bytes(const struct agent_region *place)
{
	const struct region *region = place->region;

	if (!region->watched || region_is_exact(region))
		return 0;
	return region->bytes - watcher_marked(region->watched) * PAGE_BYTES;
}

uint64_t agent_save_bytes(const struct agent *agent)
{
	uint64_t bytes = watcher_unflushed(agent->watcher) * PAGE_BYTES;

	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		if (agent->regions[i].region)
			bytes += unknown_bytes(&agent->regions[i]);
	}
	return bytes;
}

static void set_terms(struct agent *agent)
{
	const struct agent_options *options = agent->options;
	const struct power_ups *ups = &agent->power.ups;

	agent->terms = (struct budget_terms){
		.has_ups = options->has_ups,
		.runtime_s = ups->runtime_s == POWER_ABSENT ? BUDGET_ABSENT : ups->runtime_s,
		.charge_percent =
			ups->charge_percent == POWER_ABSENT ? BUDGET_ABSENT : ups->charge_percent,
		.full_runtime_s = options->ups_runtime_s ? options->ups_runtime_s : BUDGET_ABSENT,
		.bytes_per_s = agent->moved.write_bytes_s,
		.ride_through_ns = options->ride_through_ns,
		.reserve_ns = options->reserve_ns,
		.safety_percent = options->safety_percent,
		.commit_bytes = commit_bytes(agent),
		.commit_ns = COMMIT_NS,
		.bound_bytes_max = options->dirty_bytes_max,
	};
}

/* 0, or why the promise cannot be kept for the region now; `bytes` are what a save would have. */
static int check(const struct agent *agent, const struct agent_region *place, uint64_t bytes,
		 struct error *why)
{
	const struct region *region = place->region;
	int err;

	if (region->state == REGION_DAMAGED)
		return error_set(why, -EBADMSG, "%s", region->trouble.text);
	if (!agent->options->has_ups)
		return error_set(why, -ENODEV, "no UPS: --no-ups");
	err = power_check(&agent->power, why);
	if (err)
		return err;
	if (!agent->budget.is_paid)
		return error_set(why, -ENOSPC, "%s", agent->budget.why_not.text);
	if (agent->last_save.result)
		return error_set(why, agent->last_save.result, "the last save failed: %s",
				 agent->last_save.why.text);
	if (agent->moved.last_error)
		return error_set(why, agent->moved.last_error, "the images cannot be written: %s",
				 strerror(-agent->moved.last_error));
	if (bytes > agent->budget.bound_bytes)
		return error_set(
			why, -ENOSPC,
			"%" PRIu64 " MiB may be unflushed%s, the battery pays for %" PRIu64 " MiB",
			bytes >> 20,
			unknown_bytes(place) ? ", as others than tracked writers have it open" : "",
			agent->budget.bound_bytes >> 20);
	return 0;
}

static void show(const struct agent *agent, struct agent_region *place, uint64_t bytes)
{
	struct error why = { "" };
	bool armed = !check(agent, place, bytes, &why);

	if (armed != place->armed)
		log_line("region \"%s\" is %s%s%s", place->region->name,
			 armed ? "armed" : "NOT armed", armed ? "" : ": ", why.text);
	place->armed = armed;
	place->why_not = why;
}

void agent_weigh(struct agent *agent)
{
	uint64_t armed = 0, bytes;

	/* It has its counters to itself then, and this thread others to answer. */
	if (!agent->saving)
		mover_count(agent->mover, &agent->moved);
	set_terms(agent);
	budget_make(&agent->terms, &agent->budget);
	if (!agent->saving)
		mover_set_bound(agent->mover, agent->budget.bound_bytes / PAGE_BYTES);
	bytes = agent_save_bytes(agent);
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		struct agent_region *place = &agent->regions[i];

		if (!place->region)
			continue;
		show(agent, place, bytes);
		armed |= (uint64_t)place->armed << i;
	}
	atomic_store_explicit(&agent->pulse->armed, armed, memory_order_relaxed);
}
