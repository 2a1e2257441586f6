/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include <errno.h>
#include <inttypes.h>

#include "base/units.h"

struct model_config model_config_default(void)
{
	return (struct model_config){
		.core_count = 1,
		.slice_references = 10000,
		.private_bytes = 64 * KIB,
		.shared_bytes = MIB,
		.tlb_entries = 1024,
		.local_percent = 25,
		.bitmap_bytes = 4 * KIB,
		.link_latency_ns = 2000,
		.link_bytes_per_s = 10 * GIB,
		.timer_ns = 10000,
		.bus_timeout_ns = 50000,
		.scan_ns = 1000000,
		.policy = MODEL_LINE,
		.next_pages = 7,
		.seed = 1,
	};
}

static bool is_power_of_two(uint64_t number)
{
	return number && !(number & (number - 1));
}

static int check_cache(const char *name, uint64_t bytes, uint32_t ways, struct error *why)
{
	char text[UNITS_TEXT_BYTES], least[UNITS_TEXT_BYTES];

	if (bytes <= MODEL_CACHE_BYTES_MAX && bytes % (ways * LINE_BYTES) == 0 &&
	    is_power_of_two(bytes / (ways * LINE_BYTES)))
		return 0;
	return error_set(why, -EINVAL,
			 "%s: %s does not divide into a power of two of sets of %u lines; %s does",
			 name, format_size(bytes, text), ways,
			 format_size((uint64_t)ways * LINE_BYTES, least));
}

static int check_times(const struct model_config *config, struct error *why)
{
	if (config->timer_ns >= config->bus_timeout_ns)
		return error_set(why, -EINVAL,
				 "--timer %" PRIu64 "ns is not below --bus-timeout %" PRIu64
				 "ns: the bus would give up first",
				 config->timer_ns, config->bus_timeout_ns);
	if (config->bus_timeout_ns > MODEL_TIME_NS_MAX ||
	    config->link_latency_ns > MODEL_TIME_NS_MAX)
		return error_set(why, -EINVAL,
				 "--bus-timeout and --link-latency: at most one second");
	if (config->link_bytes_per_s < MIB || config->link_bytes_per_s > 1024 * GIB)
		return error_set(why, -EINVAL, "--link-bandwidth: 1M to 1T bytes a second");
	return 0;
}

static int check_counts(const struct model_config *config, struct error *why)
{
	if (config->core_count < 1 || config->core_count > MODEL_CORES_MAX)
		return error_set(why, -EINVAL, "--cores: 1 to %u", MODEL_CORES_MAX);
	if (config->slice_references < 1)
		return error_set(why, -EINVAL, "--slice: at least one reference");
	if (config->tlb_entries % MODEL_TLB_WAYS ||
	    !is_power_of_two(config->tlb_entries / MODEL_TLB_WAYS))
		return error_set(why, -EINVAL,
				 "--tlb: %u does not divide into a power of two of sets of %u",
				 config->tlb_entries, MODEL_TLB_WAYS);
	if (config->next_pages < 1 || config->next_pages > MODEL_NEXT_MAX)
		return error_set(why, -EINVAL, "--policy next-N: N is 1 to %u", MODEL_NEXT_MAX);
	return 0;
}

static int check_local(const struct model_config *config, struct error *why)
{
	char text[UNITS_TEXT_BYTES], least[UNITS_TEXT_BYTES];

	if (!config->local_bytes) {
		if (config->local_percent >= 1 && config->local_percent <= 100)
			return 0;
		return error_set(why, -EINVAL, "--local: 1%% to 100%%");
	}
	if (config->local_bytes % PAGE_BYTES)
		return error_set(why, -EINVAL, "--local: %s does not divide into pages of 4K",
				 format_size(config->local_bytes, text));
	if (config->local_bytes < MODEL_LOCAL_PAGES_MIN * PAGE_BYTES)
		return error_set(why, -EINVAL, "--local: %s is too little; the least is %s",
				 format_size(config->local_bytes, text),
				 format_size(MODEL_LOCAL_PAGES_MIN * PAGE_BYTES, least));
	return 0;
}

int model_config_check(const struct model_config *config, struct error *why)
{
	int ret = check_counts(config, why);

	if (!ret)
		ret = check_cache("--private", config->private_bytes, MODEL_PRIVATE_WAYS, why);
	if (!ret)
		ret = check_cache("--shared", config->shared_bytes, MODEL_SHARED_WAYS, why);
	if (!ret)
		ret = check_cache("--bitmap-cache", config->bitmap_bytes, MODEL_BITMAP_WAYS, why);
	if (!ret)
		ret = check_local(config, why);
	if (!ret)
		ret = check_times(config, why);
	return ret;
}

uint64_t model_config_local_pages(const struct model_config *config, uint64_t touched_pages)
{
	uint64_t pages = config->local_bytes / PAGE_BYTES;

	if (!pages)
		pages = (touched_pages * config->local_percent + 99) / 100;
	return pages > MODEL_LOCAL_PAGES_MIN ? pages : MODEL_LOCAL_PAGES_MIN;
}
