/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's state as JSON, for those who ask; perdure-status(1) lists the fields. */

#include "agent/agent_state.h"

#include <string.h>
#include <unistd.h>

static void set(json_t *object, const char *name, uint64_t number)
{
	json_object_set_new(object, name, json_integer((json_int_t)number));
}

static void set_text(json_t *object, const char *name, const char *text)
{
	json_t *string = json_string(text);

	json_object_set_new(object, name, string ? string : json_string("?"));
}

static const char *state_text(const struct region *region)
{
	switch (region->state) {
	case REGION_RESTORING:
		return "restoring";
	case REGION_LIVE:
		return "live";
	default:
		return "damaged";
	}
}

static void set_image(json_t *object, const struct region *region)
{
	static const char *const reasons[] = { "created", "commanded", "rehearsed", "power",
					       "stopped" };
	const struct image_commit *commit = image_commit_record(region->image);
	uint32_t reason = le32_get(commit->reason);

	set(object, "generation", le64_get(commit->generation));
	set(object, "saved_unix_ms", le64_get(commit->saved_unix_ns) / 1000000u);
	set_text(object, "saved_by", reason < IMAGE_REASONS ? reasons[reason] : "?");
}

static json_t *region_json(const struct agent_region *place)
{
	const struct region *region = place->region;
	json_t *object = json_object();

	set_text(object, "name", region->name);
	set_text(object, "state", state_text(region));
	set(object, "bytes", region->bytes);
	json_object_set_new(object, "armed", json_boolean(place->armed));
	set_text(object, "why_not_armed", place->why_not.text);
	if (region->image)
		set_image(object, region);
	if (region->watched) {
		set(object, "unflushed_bytes", watcher_marked(region->watched) * PAGE_BYTES);
		set_text(object, "tracked", region_is_exact(region) ? "exactly" : "by digests");
		set(object, "writers", watcher_writers(region->watched));
	}
	if (region->loss.text[0])
		set_text(object, "missing", region->loss.text);
	return object;
}

static json_t *power_json(const struct agent *agent)
{
	static const char *const states[] = { "running", "saving", "saved", "failed" };
	const struct power_ups *ups = &agent->power.ups;
	json_t *object = json_object();

	set_text(object, "state", states[agent->power.state]);
	if (!agent->options->has_ups)
		return object;
	set_text(object, "ups", agent->options->ups.name);
	set_text(object, "host", agent->options->ups.host);
	set_text(object, "trouble", agent->view.words.text);
	json_object_set_new(object, "logged_in", json_boolean(agent->view.is_logged_in));
	json_object_set_new(object, "answers", json_boolean(ups->link == POWER_ANSWERS));
	json_object_set_new(object, "on_battery",
			    json_boolean((ups->flags & POWER_ON_BATTERY) != 0));
	if (ups->charge_percent != POWER_ABSENT)
		set(object, "charge_percent", ups->charge_percent);
	if (ups->runtime_s != POWER_ABSENT)
		set(object, "runtime_s", ups->runtime_s);
	return object;
}

static json_t *watched_json(const struct agent *agent)
{
	struct watcher_counters counters;
	json_t *object = json_object();

	watcher_count(agent->watcher, &counters);
	set(object, "write_faults", counters.write_faults);
	set(object, "fetch_faults", counters.fetch_faults);
	set(object, "pages_ahead", counters.pages_ahead);
	set(object, "delays", counters.delays);
	set(object, "delay_ns", counters.delay_ns);
	set(object, "delay_ns_max", counters.delay_ns_max);
	set(object, "pages_flushed", agent->moved.pages_flushed);
	set(object, "bytes_written", agent->moved.bytes_written);
	set(object, "flush_errors", agent->moved.flush_errors);
	return object;
}

json_t *agent_save_json(const struct agent *agent)
{
	const struct mover_save *save = &agent->last_save;
	json_t *object = json_object();

	set(object, "result", save->result ? 1 : 0);
	if (save->result)
		set_text(object, "why", save->why.text);
	set(object, "unix_ms", agent->last_saved_unix_ns / 1000000u);
	set(object, "regions", save->regions);
	set(object, "pages", save->pages);
	set(object, "bytes", save->bytes);
	set(object, "stop_ns", save->stop_ns);
	set(object, "save_ns", save->write_ns);
	if (agent->last_predicted_ns != UINT64_MAX)
		set(object, "predicted_ns", agent->last_predicted_ns);
	set(object, "budget_ns", agent->budget.save_ns_max);
	return object;
}

json_t *agent_status_json(const struct agent *agent)
{
	uint64_t bytes = agent_save_bytes(agent),
		 predicted_ns = budget_save_ns(&agent->terms, bytes);
	json_t *object = json_object(), *regions = json_array();

	set_text(object, "command", "perdure serve");
	set(object, "pid", (uint64_t)getpid());
	set_text(object, "folder", agent->place.folder);
	set_text(object, "images", agent->place.images);
	json_object_set_new(object, "power", power_json(agent));
	set(object, "bound_bytes", agent->budget.bound_bytes);
	set(object, "unflushed_bytes", watcher_unflushed(agent->watcher) * PAGE_BYTES);
	set(object, "save_bytes", bytes);
	if (predicted_ns != UINT64_MAX)
		set(object, "predicted_ns", predicted_ns);
	set(object, "budget_ns", agent->budget.save_ns_max);
	set(object, "write_bytes_s", agent->moved.write_bytes_s);
	set(object, "flush_bytes_s", agent->moved.flush_bytes_s);
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		if (agent->regions[i].region)
			json_array_append_new(regions, region_json(&agent->regions[i]));
	}
	json_object_set_new(object, "regions", regions);
	json_object_set_new(object, "counters", watched_json(agent));
	if (agent->last_saved_unix_ns)
		json_object_set_new(object, "last_save", agent_save_json(agent));
	return object;
}
