/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/option.h"
#include "cli/agent_call.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/region_text.h"
#include "cli/run_counters.h"
#include "cli/run_json.h"
#include "cli/run_reader.h"
#include "cli/text.h"
#include "kernel/agent_client.h"

#define SHOWN_COMMAND_BYTES 25 /* what an 80-column line has left for it */
#define SHOWN_URI_BYTES 41

struct status_options {
	bool json;
	const char *folder;
};

static int take_json(void *target, const char *text, struct error *why)
{
	((struct status_options *)target)->json = true;
	return 0;
}

static int take_folder(void *target, const char *text, struct error *why)
{
	((struct status_options *)target)->folder = text;
	return 0;
}

static const struct option_spec specs[] = {
	{ "json", NULL,
	  "print a JSON array, one object a run (perdure-report(5)), then the agent's", take_json },
	{ "folder", "DIR", "the agent's folder of regions (default: " AGENT_FOLDER ")",
	  take_folder },
};

/* What the agent says of itself; NULL without one. One that does not answer is said. */
static json_t *ask_agent(const char *folder)
{
	struct agent_request request;
	json_t *status = NULL;
	struct error why;

	agent_request_make(&request, AGENT_STATUS, NULL, NULL);
	if (agent_is_there(folder) &&
	    agent_call_json(folder, &request, AGENT_LIMIT_MS, &status, &why))
		fprintf(stderr, "perdure status: %s\n", why.text);
	return status;
}

static void print_agent(const json_t *agent)
{
	char bound[TEXT_AMOUNT_BYTES], unflushed[TEXT_AMOUNT_BYTES];

	printf("\nregions of perdure serve (%d): power %s, %sB unflushed of at most %sB\n",
	       (int)agent_number(agent, "pid"),
	       agent_text(json_object_get(agent, "power"), "state"),
	       text_bytes(agent_number(agent, "unflushed_bytes"), unflushed),
	       text_bytes(agent_number(agent, "bound_bytes"), bound));
	region_text_print(json_object_get(agent, "regions"));
}

static void print_backings(const struct run_segment *segment, const struct run_counters *total)
{
	char uri[SHOWN_URI_BYTES], held[TEXT_AMOUNT_BYTES], pages[TEXT_AMOUNT_BYTES];
	const struct run_backing_counters *backing;
	uint32_t i;

	for (i = 0; i < segment->backing_count && i < RUN_BACKINGS_MAX; i++) {
		backing = &total->backings[i];
		text_harmless(segment->backing_uri[i], RUN_URI_BYTES, uri, sizeof(uri));
		printf("         %-40s %6s pages %7sB  %" PRIu64 " errors%s\n", uri,
		       text_count(count_of(&backing->pages), pages),
		       text_bytes(count_of(&backing->bytes_held), held), count_of(&backing->errors),
		       count_of(&backing->lost) == 0	? ""
		       : count_of(&backing->pages) == 0 ? "  LOST"
							: "  was lost");
	}
}

static void print_run(const struct run_segment *segment)
{
	char command[SHOWN_COMMAND_BYTES], amounts[8][TEXT_AMOUNT_BYTES];
	struct run_counters total;

	run_counters_total(segment, &total);
	text_harmless(segment->command, RUN_COMMAND_BYTES, command, sizeof(command));
	printf("%7d  %-24s %6s/%-6s %7s %7s %7s %7s %8s %8s\n", segment->launcher_pid, command,
	       text_bytes(count_of(&total.local_bytes), amounts[0]),
	       text_bytes(segment->local_bytes_limit, amounts[1]),
	       text_bytes(count_of(&total.region_bytes), amounts[2]),
	       text_count(count_of(&total.faults), amounts[3]),
	       text_time_ns(run_counters_fault_ns(&total, 500), amounts[4]),
	       text_time_ns(run_counters_fault_ns(&total, 990), amounts[5]),
	       text_count(count_of(&total.pages_fetched), amounts[6]),
	       text_count(count_of(&total.pages_written), amounts[7]));
	print_backings(segment, &total);
}

static void print_table(const struct run_reader *readers, uint32_t count)
{
	uint32_t i;

	if (count == 0) {
		puts("no `perdure run` is running here");
		return;
	}
	printf("%7s  %-24s %13s %7s %7s %7s %7s %8s %8s\n", "PID", "COMMAND", "LOCAL/LIMIT",
	       "REGION", "FAULTS", "P50", "P99", "FETCHED", "WRITTEN");
	for (i = 0; i < count; i++)
		print_run(readers[i].segment);
}

static void print_json(const struct run_reader *readers, uint32_t count, json_t *agent)
{
	json_t *list = json_array(), *one;
	uint32_t i;

	for (i = 0; i < count; i++) {
		one = run_json(readers[i].segment);
		json_object_set_new(one, "processes", run_json_members(readers[i].segment));
		json_array_append_new(list, one);
	}
	if (agent)
		json_array_append(list, agent);
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(list);
}

int cmd_status(int argc, char **argv)
{
	static struct run_reader readers[RUN_READ_MAX];
	struct status_options options = { .folder = agent_client_folder() };
	uint32_t count, mute;
	json_t *agent;
	int code;

	if (!command_line_read("Shows every `perdure run` of this host, and the agent's regions.",
			       specs, ARRAY_COUNT(specs), argc, argv, &options, &code))
		return code;
	count = run_reader_open_all(readers, &mute);
	agent = ask_agent(options.folder);
	if (options.json)
		print_json(readers, count, agent);
	else
		print_table(readers, count);
	if (agent && !options.json)
		print_agent(agent);
	json_decref(agent);
	run_reader_close_all(readers, count);
	if (mute)
		fprintf(stderr,
			"perdure status: %u more did not answer, or are of another version\n",
			mute);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}
