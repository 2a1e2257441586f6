/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/region_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/text.h"

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "-";
}

static uint64_t number_of(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

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

		printf("%-20s %7sB %-10s %9sB %-10s %10" PRIu64 "  %s%s\n", text_of(region, "name"),
		       text_bytes(number_of(region, "bytes"), bytes), text_of(region, "state"),
		       text_bytes(number_of(region, "unflushed_bytes"), unflushed),
		       text_of(region, "tracked"), number_of(region, "generation"),
		       armed ? "yes" : "NO: ", armed ? "" : text_of(region, "why_not_armed"));
	}
}
