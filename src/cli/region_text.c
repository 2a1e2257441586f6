/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/region_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/agent_call.h"
#include "cli/text.h"

void region_text_print(const json_t *regions)
{
	char bytes[TEXT_AMOUNT_BYTES], unflushed[TEXT_AMOUNT_BYTES];
	const json_t *region;
	size_t index;

	if (!json_array_size(regions)) {
		puts("no regions; `perdure region create NAME SIZE --persist` makes one");
		return;
	}
	printf("%-20s %8s %-10s %10s %-10s %10s  %s\n", "NAME", "SIZE", "STATE", "UNFLUSHED",
	       "TRACKED", "GENERATION", "ARMED");
	json_array_foreach(regions, index, region)
	{
		bool armed = json_is_true(json_object_get(region, "armed"));

		printf("%-20s %7sB %-10s %9sB %-10s %10" PRIu64 "  %s%s\n",
		       agent_text(region, "name"), text_bytes(agent_number(region, "bytes"), bytes),
		       agent_text(region, "state"),
		       text_bytes(agent_number(region, "unflushed_bytes"), unflushed),
		       agent_text(region, "tracked"), agent_number(region, "generation"),
		       armed ? "yes" : "NO: ", armed ? "" : agent_text(region, "why_not_armed"));
	}
}
