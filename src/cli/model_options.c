/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/model_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/option.h"
#include "base/units.h"

static struct model_config *config_of(void *target)
{
	return &((struct model_options *)target)->config;
}

static int take_count(const char *text, unsigned long max, uint32_t *ret_count, struct error *why)
{
	unsigned long number;
	int ret = option_parse_number(text, 1, max, &number, why);

	if (!ret)
		*ret_count = (uint32_t)number;
	return ret;
}

/* One of two words. */
static int take_choice(const char *text, const char *zero, const char *one, bool *ret_one,
		       struct error *why)
{
	if (strcmp(text, zero) != 0 && strcmp(text, one) != 0)
		return error_set(why, -EINVAL, "\"%s\" is neither %s nor %s", text, zero, one);
	*ret_one = strcmp(text, one) == 0;
	return 0;
}

static int take_time_or_off(const char *text, uint64_t *ret_ns, struct error *why)
{
	uint64_t ns = 0;
	int ret = strcmp(text, "off") == 0 ? 0 : parse_duration(text, &ns, why);

	if (!ret)
		*ret_ns = ns;
	return ret;
}

static int take_local(void *target, const char *text, struct error *why)
{
	struct model_config *config = config_of(target);
	size_t length = strlen(text);
	char number[8];

	config->local_bytes = 0;
	if (length == 0 || text[length - 1] != '%') {
		int ret = parse_size(text, &config->local_bytes, why);

		if (!ret && !config->local_bytes)
			ret = error_set(why, -EINVAL, "\"%s\" is no memory at all", text);
		return ret;
	}
	snprintf(number, sizeof(number), "%.*s", (int)length - 1, text);
	return take_count(number, 100, &config->local_percent, why);
}

static int take_policy(void *target, const char *text, struct error *why)
{
	struct model_config *config = config_of(target);

	if (strncmp(text, "next-", 5) == 0) {
		config->policy = MODEL_NEXT;
		return take_count(text + 5, MODEL_NEXT_MAX, &config->next_pages, why);
	}
	if (strcmp(text, "none") != 0 && strcmp(text, "line") != 0)
		return error_set(why, -EINVAL, "\"%s\" is none of none, line and next-N", text);
	config->policy = strcmp(text, "line") == 0 ? MODEL_LINE : MODEL_NONE;
	return 0;
}

static int take_timer(void *target, const char *text, struct error *why)
{
	return take_time_or_off(text, &config_of(target)->timer_ns, why);
}

static int take_bus_timeout(void *target, const char *text, struct error *why)
{
	return parse_duration(text, &config_of(target)->bus_timeout_ns, why);
}

static int take_link_latency(void *target, const char *text, struct error *why)
{
	return parse_duration(text, &config_of(target)->link_latency_ns, why);
}

static int take_link_bandwidth(void *target, const char *text, struct error *why)
{
	return parse_size(text, &config_of(target)->link_bytes_per_s, why);
}

static int take_scan(void *target, const char *text, struct error *why)
{
	return take_time_or_off(text, &config_of(target)->scan_ns, why);
}

static int take_cores(void *target, const char *text, struct error *why)
{
	return take_count(text, MODEL_CORES_MAX, &config_of(target)->core_count, why);
}

static int take_slice(void *target, const char *text, struct error *why)
{
	return take_count(text, UINT32_MAX, &config_of(target)->slice_references, why);
}

static int take_private(void *target, const char *text, struct error *why)
{
	return parse_size(text, &config_of(target)->private_bytes, why);
}

static int take_shared(void *target, const char *text, struct error *why)
{
	return parse_size(text, &config_of(target)->shared_bytes, why);
}

static int take_bitmap_cache(void *target, const char *text, struct error *why)
{
	return parse_size(text, &config_of(target)->bitmap_bytes, why);
}

static int take_tlb(void *target, const char *text, struct error *why)
{
	return take_count(text, 1u << 20, &config_of(target)->tlb_entries, why);
}

static int take_frames(void *target, const char *text, struct error *why)
{
	bool ordered = false;
	int ret = take_choice(text, "scattered", "ordered", &ordered, why);

	config_of(target)->frames = ordered ? MODEL_FRAMES_ORDERED : MODEL_FRAMES_SCATTERED;
	return ret;
}

static int take_tables(void *target, const char *text, struct error *why)
{
	bool processor = false;
	int ret = take_choice(text, "device", "processor", &processor, why);

	config_of(target)->tables = processor ? MODEL_TABLES_IN_PROCESSOR : MODEL_TABLES_IN_DEVICE;
	return ret;
}

static int take_grant(void *target, const char *text, struct error *why)
{
	bool exclusive = false;
	int ret = take_choice(text, "shared", "exclusive", &exclusive, why);

	config_of(target)->grant = exclusive ? MODEL_GRANT_EXCLUSIVE : MODEL_GRANT_SHARED;
	return ret;
}

static int take_seed(void *target, const char *text, struct error *why)
{
	unsigned long seed;
	int ret = option_parse_number(text, 0, UINT32_MAX, &seed, why);

	if (!ret)
		config_of(target)->seed = seed;
	return ret;
}

static int take_json(void *target, const char *text, struct error *why)
{
	((struct model_options *)target)->json = true;
	return 0;
}

static const struct option_spec specs[] = {
	{ "policy", "WAY", "what is fetched ahead: none, line or next-N (default: line)",
	  take_policy },
	{ "local", "SIZE",
	  "data pages kept here, also as a share such as 25% of what the trace "
	  "touches (default: 25%)",
	  take_local },
	{ "timer", "TIME", "how long a fetch may take; off for ever (default: 10us)", take_timer },
	{ "bus-timeout", "TIME", "after which the bus gives up (default: 50us)", take_bus_timeout },
	{ "link-latency", "TIME", "from the other host (default: 2us)", take_link_latency },
	{ "link-bandwidth", "SIZE", "bytes a second from the other host (default: 10G)",
	  take_link_bandwidth },
	{ "scan", "TIME", "from one scan for modified lines to the next, or off (default: 1ms)",
	  take_scan },
	{ "cores", "N", "1 to 8 (default: 1)", take_cores },
	{ "slice", "N",
	  "references after which the program goes on on the next core "
	  "(default: 10000)",
	  take_slice },
	{ "private", "SIZE", "each core's cache (default: 64K)", take_private },
	{ "shared", "SIZE", "the cache of all cores (default: 1M)", take_shared },
	{ "tlb", "N", "entries of each core's TLB (default: 1024)", take_tlb },
	{ "bitmap-cache", "SIZE", "the cache for the bitmap of modified lines (default: 4K)",
	  take_bitmap_cache },
	{ "frames", "ORDER", "scattered or, as a control, ordered as the pages are", take_frames },
	{ "tables", "WHERE",
	  "page tables in the memory of the device or, as a control, of the "
	  "processor",
	  take_tables },
	{ "grant", "STATE", "a lone reader gets a line shared or, as a control, exclusive",
	  take_grant },
	{ "seed", "N", "of the order of frames (default: 1)", take_seed },
	{ "json", NULL, "print JSON (perdure-model(1) names its members)", take_json },
};

static int take_trace(struct model_options *options, const char *path, struct error *why)
{
	if (options->trace_path)
		return error_set(why, -EINVAL, "\"%s\" is too much; one trace is read", path);
	options->trace_path = path;
	return 0;
}

int model_options_read(int argc, char **argv, struct model_options *ret_options, bool *ret_help,
		       struct error *why)
{
	int first, ret = 0;

	*ret_options = (struct model_options){ .config = model_config_default() };
	do {
		ret = option_parse(specs, ARRAY_COUNT(specs), argc, argv, ret_options, &first,
				   ret_help, why);
		if (ret < 0 || *ret_help)
			return ret;
		argc -= first;
		argv += first;
		if (argc > 0)
			ret = take_trace(ret_options, argv[0], why);
	} while (argc > 0 && !ret);
	if (!ret)
		ret = model_config_check(&ret_options->config, why);
	if (!ret && !ret_options->trace_path)
		ret = error_set(why, -EINVAL,
				"a trace is missing; `perdure model record` makes "
				"one");
	return ret;
}

void model_options_print_help(void)
{
	puts("usage: perdure model [OPTIONS] TRACE\n"
	     "       perdure model record [--output FILE] [--] COMMAND [ARGUMENT]...\n\n"
	     "Runs a modelled coherent machine on a recorded trace.\n");
	option_print(specs, ARRAY_COUNT(specs), stdout);
}

const char *model_policy_name(enum model_policy policy, uint32_t next_pages, char text[static 16])
{
	if (policy == MODEL_NEXT)
		snprintf(text, 16, "next-%u", next_pages);
	else
		snprintf(text, 16, "%s", policy == MODEL_LINE ? "line" : "none");
	return text;
}
