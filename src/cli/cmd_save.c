/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/option.h"
#include "cli/agent_call.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "kernel/agent_client.h"

struct save_options {
	const char *folder;
	bool rehearse;
	bool json;
};

static int take_folder(void *target, const char *text, struct error *why)
{
	((struct save_options *)target)->folder = text;
	return 0;
}

static int take_rehearse(void *target, const char *text, struct error *why)
{
	((struct save_options *)target)->rehearse = true;
	return 0;
}

static int take_json(void *target, const char *text, struct error *why)
{
	((struct save_options *)target)->json = true;
	return 0;
}

static const struct option_spec specs[] = {
	{ "folder", "DIR", "the agent's folder of regions (default: " AGENT_FOLDER ")",
	  take_folder },
	{ "rehearse", NULL, "say what a power cut would have cost, and whether all is armed",
	  take_rehearse },
	{ "json", NULL, "print the result as JSON", take_json },
};

static void print_save(const json_t *save)
{
	char bytes[TEXT_AMOUNT_BYTES], rate[TEXT_AMOUNT_BYTES], real[TEXT_AMOUNT_BYTES];
	char stopped[TEXT_AMOUNT_BYTES], predicted[TEXT_AMOUNT_BYTES], budget[TEXT_AMOUNT_BYTES];
	uint64_t save_ns = agent_number(save, "save_ns"),
		 budget_ns = agent_number(save, "budget_ns");

	printf("saved      %" PRIu64 " pages of %" PRIu64 " regions, %sB written\n",
	       agent_number(save, "pages"), agent_number(save, "regions"),
	       text_bytes(agent_number(save, "bytes"), bytes));
	printf("rate       %sB/s\n",
	       text_bytes(save_ns ? agent_number(save, "bytes") * 1000000000ull / save_ns : 0,
			  rate));
	printf("time       %s, of which %s until all writers were stopped\n",
	       text_time_ns(save_ns, real), text_time_ns(agent_number(save, "stop_ns"), stopped));
	if (json_object_get(save, "predicted_ns"))
		printf("predicted  %s\n",
		       text_time_ns(agent_number(save, "predicted_ns"), predicted));
	if (budget_ns)
		printf("margin     %s of the %s that the battery pays for\n",
		       text_time_ns(budget_ns > save_ns ? budget_ns - save_ns : 0, real),
		       text_time_ns(budget_ns, budget));
}

/* How many regions are not armed, each with its reason. */
static size_t print_unarmed(const char *folder, struct error *why)
{
	struct agent_request request;
	json_t *status = NULL, *region;
	size_t index, unarmed = 0;

	agent_request_make(&request, AGENT_STATUS, NULL, NULL);
	if (agent_call_json(folder, &request, AGENT_LIMIT_MS, &status, why))
		return 1;
	json_array_foreach(json_object_get(status, "regions"), index, region)
	{
		if (json_is_true(json_object_get(region, "armed")))
			continue;
		fprintf(stderr, "perdure save: region \"%s\" is NOT armed: %s\n",
			agent_text(region, "name"), agent_text(region, "why_not_armed"));
		unarmed++;
	}
	json_decref(status);
	return unarmed;
}

int cmd_save(int argc, char **argv)
{
	struct save_options options = { .folder = agent_client_folder() };
	struct agent_request request;
	struct error why;
	json_t *save;
	size_t unarmed = 0;
	int code;

	if (!command_line_read("Saves all persistent regions, as a power cut would.", specs,
			       ARRAY_COUNT(specs), argc, argv, &options, &code))
		return code;
	agent_request_make(&request, AGENT_SAVE, NULL, NULL);
	/* Before the save, which takes away what there was to be saved. */
	if (options.rehearse) {
		request.flags = AGENT_SAVE_REHEARSE;
		unarmed = print_unarmed(options.folder, &why);
	}
	if (agent_call_json(options.folder, &request, -1, &save, &why)) {
		fprintf(stderr, "perdure save: %s\n", why.text);
		return EXIT_FAILED;
	}
	if (options.json) {
		json_dumpf(save, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_save(save);
	}
	json_decref(save);
	return fflush(stdout) || unarmed ? EXIT_FAILED : EXIT_DONE;
}
