/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

#include <assert.h>

static uint64_t bucket_middle_ns(uint32_t bucket)
{
	uint32_t octave = bucket / HISTOGRAM_STEPS + HISTOGRAM_FIRST;
	uint64_t width_ns = (uint64_t)1 << (octave - HISTOGRAM_STEPS_SHIFT);

	return ((uint64_t)1 << octave) + width_ns * (bucket % HISTOGRAM_STEPS) + width_ns / 2;
}

uint64_t histogram_quantile_ns(const uint64_t *buckets, uint32_t permille)
{
	uint64_t total = 0, seen = 0, rank;
	uint32_t i;

	assert(permille >= 1 && permille <= 1000);
	for (i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += buckets[i];
	if (total == 0)
		return 0;
	/* The rank counts from 1 and is rounded up; split so that no count can overflow it. */
	rank = total / 1000 * permille + (total % 1000 * permille + 999) / 1000;
	for (i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		seen += buckets[i];
		if (seen >= rank)
			break;
	}
	return bucket_middle_ns(i);
}
