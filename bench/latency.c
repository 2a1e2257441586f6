/* SPDX-License-Identifier: Apache-2.0 */
#include "latency.h"

#include <string.h>

#define CLOCK_CALLS 1000
#define CLOCK_ROUNDS 15

void latency_clear(struct latency *latency)
{
	memset(latency, 0, sizeof(*latency));
}

/* Below LATENCY_STEPS a bucket is 1 ns wide; above, a power of two has LATENCY_STEPS of them. */
static unsigned int bucket_of(uint64_t ns)
{
	unsigned int power, bucket;

	if (ns < LATENCY_STEPS)
		return (unsigned int)ns;
	power = 63 - (unsigned int)__builtin_clzll(ns) - LATENCY_STEP_BITS;
	bucket = (power + 1) * LATENCY_STEPS + (unsigned int)((ns >> power) - LATENCY_STEPS);
	return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The middle of the bucket. */
static double bucket_ns(unsigned int bucket)
{
	unsigned int power;

	if (bucket < LATENCY_STEPS)
		return bucket;
	power = bucket / LATENCY_STEPS - 1;
	return ((double)(bucket % LATENCY_STEPS + LATENCY_STEPS) + 0.5) *
	       (double)((uint64_t)1 << power);
}

void latency_add(struct latency *latency, uint64_t ns)
{
	latency->count++;
	latency->sum_ns += ns;
	if (ns > latency->max_ns)
		latency->max_ns = ns;
	latency->buckets[bucket_of(ns)]++;
}

void latency_merge(struct latency *into, const struct latency *from)
{
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t latency_count_from(const struct latency *latency, uint64_t ns_min)
{
	uint64_t count = 0;

	for (unsigned int i = bucket_of(ns_min); i < LATENCY_BUCKETS; i++)
		count += latency->buckets[i];
	return count;
}

double latency_percentile(const struct latency *latency, double fraction, uint64_t ns_min)
{
	uint64_t count = latency_count_from(latency, ns_min);
	uint64_t seen = 0;

	if (!count)
		return 0;
	for (unsigned int i = bucket_of(ns_min); i < LATENCY_BUCKETS; i++) {
		seen += latency->buckets[i];
		if ((double)seen >= fraction * (double)count && latency->buckets[i])
			return bucket_ns(i);
	}
	return (double)latency->max_ns;
}

double latency_clock_cost_ns(void)
{
	uint64_t best_ns = UINT64_MAX;

	/* The least of several rounds: an interrupted round says nothing about the clock. */
	for (unsigned int round = 0; round < CLOCK_ROUNDS; round++) {
		uint64_t start_ns = latency_now_ns(), end_ns = start_ns;

		for (unsigned int i = 0; i < CLOCK_CALLS; i++)
			end_ns = latency_now_ns();
		if (end_ns - start_ns < best_ns)
			best_ns = end_ns - start_ns;
	}
	return (double)best_ns / CLOCK_CALLS;
}
