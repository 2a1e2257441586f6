/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

/*
 * Times of single touches, kept as a histogram of fixed size so that keeping them neither allocates
 * nor touches the memory that is being measured: a bench program holds its histograms in static
 * data, which no pager under test manages.
 *
 * A bucket is 1/128 of a power of two wide, so a percentile is right to 0.8 %.
 * One writer thread a histogram; merge when the writers have ended.
 */

#include <stdint.h>
#include <time.h>

#define LATENCY_STEP_BITS 7
#define LATENCY_STEPS (1 << LATENCY_STEP_BITS)
#define LATENCY_POWERS 36 /* up to 2^36 ns = 68 s, past any wait that a row survives */
#define LATENCY_BUCKETS (LATENCY_POWERS * LATENCY_STEPS)

struct latency {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t max_ns;
	uint64_t buckets[LATENCY_BUCKETS];
};

static inline uint64_t latency_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void latency_clear(struct latency *latency);
void latency_add(struct latency *latency, uint64_t ns);
void latency_merge(struct latency *into, const struct latency *from);

/* How many of the times are at least `ns_min` (to the resolution of a bucket). */
uint64_t latency_count_from(const struct latency *latency, uint64_t ns_min);

/*
 * The time that `fraction` (0 to 1) of the times do not exceed, among those of at least `ns_min`;
 * 0 when there are none.
 */
double latency_percentile(const struct latency *latency, double fraction, uint64_t ns_min);

/* The cost in ns of one latency_now_ns(): it is part of every time that is reported. */
double latency_clock_cost_ns(void);

#endif
