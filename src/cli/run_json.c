/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_json.h"

#include <string.h>

#include "base/bytes.h"
#include "cli/run_counters.h"
#include "cli/text.h"

#define TEXT_BYTES_MAX 1024 /* longer than any text field of the segment */

json_t *run_json_text(const char *text, size_t bytes)
{
	json_t *string = json_stringn(text, strnlen(text, bytes));
	char harmless[TEXT_BYTES_MAX];

	if (string)
		return string;
	text_harmless(text, bytes, harmless, sizeof(harmless));
	return json_string(harmless);
}

static void set_number(json_t *object, const char *name, uint64_t number)
{
	json_object_set_new(object, name, json_integer((json_int_t)number));
}

/*
 * The counters under their own names, but for two: "region_bytes" is the most that was mapped, and
 * what is mapped and resident at this instant is "..._now".
 */
static void set_counters(json_t *object, const struct run_counters *counters)
{
	const struct counter_field *field;
	const char *name;
	uint32_t i;

	for (i = 0; i < RUN_COUNTER_FIELDS; i++) {
		field = &run_counter_fields[i];
		name = field->name;
		if (strcmp(name, "region_bytes") == 0)
			name = "region_bytes_now";
		else if (strcmp(name, "region_bytes_max") == 0)
			name = "region_bytes";
		else if (strcmp(name, "local_bytes") == 0)
			name = "local_bytes_now";
		set_number(object, name, run_counter_get(counters, field));
	}
	set_number(object, "fault_ns_p50", run_counters_fault_ns(counters, 500));
	set_number(object, "fault_ns_p99", run_counters_fault_ns(counters, 990));
}

static json_t *backings_json(const struct run_segment *segment, const struct run_counters *counters)
{
	json_t *list = json_array(), *one;
	uint32_t b, i;

	for (b = 0; b < segment->backing_count && b < RUN_BACKINGS_MAX; b++) {
		one = json_object();
		json_object_set_new(one, "uri",
				    run_json_text(segment->backing_uri[b], RUN_URI_BYTES));
		for (i = 0; i < RUN_BACKING_FIELDS; i++) {
			const char *name = run_backing_fields[i].name;

			set_number(one, strcmp(name, "bytes_held") == 0 ? "bytes" : name,
				   run_counter_get(&counters->backings[b], &run_backing_fields[i]));
		}
		json_array_append_new(list, one);
	}
	return list;
}

json_t *run_json(const struct run_segment *segment)
{
	json_t *object = json_object();
	struct run_counters total;
	uint32_t live = run_counters_total(segment, &total);

	json_object_set_new(object, "command", run_json_text(segment->command, RUN_COMMAND_BYTES));
	set_number(object, "pid", (uint64_t)segment->launcher_pid);
	set_number(object, "local_bytes_limit", segment->local_bytes_limit);
	set_number(object, "mirror", segment->mirror);
	set_number(object, "started_unix_ms", segment->started_unix_ms);
	set_number(object, "processes_now", live);
	set_counters(object, &total);
	json_object_set_new(object, "backings", backings_json(segment, &total));
	return object;
}

json_t *run_json_member(const struct run_member *member)
{
	json_t *object = json_object();

	json_object_set_new(object, "command", run_json_text(member->command, RUN_COMMAND_BYTES));
	set_number(object, "pid", (uint64_t)atomic_load(&member->pid));
	set_number(object, "region_start", atomic_load(&member->region_start));
	set_number(object, "region_end", atomic_load(&member->region_end));
	set_number(object, "pool_start", atomic_load(&member->pool_start));
	set_number(object, "pool_end", atomic_load(&member->pool_end));
	set_counters(object, &member->counters);
	return object;
}

json_t *run_json_members(const struct run_segment *segment)
{
	json_t *list = json_array();
	uint32_t i;

	for (i = 0; i < RUN_MEMBERS_MAX; i++)
		if (atomic_load_explicit(&segment->members[i].state, memory_order_acquire) ==
		    RUN_MEMBER_LIVE)
			json_array_append_new(list, run_json_member(&segment->members[i]));
	return list;
}
