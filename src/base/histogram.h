/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

/*
 * A histogram of times: HISTOGRAM_STEPS equal buckets to each power of two of nanoseconds, from
 * 2^HISTOGRAM_FIRST ns on. What is shorter counts in the first bucket, what is longer in the last.
 * A quantile is at most 1/32 off, whatever the magnitude, and histograms add up bucket by bucket.
 *
 * histogram_add() is for the memory path: no allocation, no call, one relaxed atomic add; any
 * number of threads. Readers that run beside it see each count late at worst.
 */

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_FIRST 7 /* 128 ns: less than any fault takes */
#define HISTOGRAM_STEPS_SHIFT 4
#define HISTOGRAM_STEPS (1 << HISTOGRAM_STEPS_SHIFT)
#define HISTOGRAM_OCTAVES 28 /* up to 34 s: longer than any wait's limit */
#define HISTOGRAM_BUCKETS (HISTOGRAM_OCTAVES * HISTOGRAM_STEPS)

static inline uint32_t histogram_bucket(uint64_t ns)
{
	uint32_t octave, step, bucket;

	if (ns < (uint64_t)1 << HISTOGRAM_FIRST)
		return 0;
	octave = 63 - (uint32_t)__builtin_clzll(ns);
	step = (uint32_t)(ns >> (octave - HISTOGRAM_STEPS_SHIFT)) & (HISTOGRAM_STEPS - 1);
	bucket = (octave - HISTOGRAM_FIRST) * HISTOGRAM_STEPS + step;
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(_Atomic uint64_t *buckets, uint64_t ns)
{
	atomic_fetch_add_explicit(&buckets[histogram_bucket(ns)], 1, memory_order_relaxed);
}

/*
 * The time that `permille` of the counted ones do not exceed, as its bucket's middle, in ns; 0 when
 * nothing was counted. 500 is the median; `permille` is 1 to 1000.
 */
uint64_t histogram_quantile_ns(const uint64_t *buckets, uint32_t permille);

#endif
