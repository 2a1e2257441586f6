/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_PERSIST_STORES_H
#define BENCH_PERSIST_STORES_H

/*
 * One 64-byte store made safe, over and over, whoever makes it safe: the loop that all contenders
 * run. Lines are taken in order from a piece of memory that fits the processor's caches. A store
 * takes less than reading the clock, so STORES_A_TIME of them are timed together; percentiles are
 * of their means.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latency.h"

#define STORE_BYTES 64u
#define STORE_SET_BYTES (256u << 10)
#define STORES_A_TIME 100
#define STORES_WARM 1000000u

typedef int (*persist_store_fn)(const void *context, void *line);

static struct latency store_times; /* of STORES_A_TIME */

static inline __attribute__((always_inline)) uint64_t
store_some(uint8_t *memory, uint64_t first, persist_store_fn persist, const void *context)
{
	uint8_t line[STORE_BYTES];
	uint64_t failed = 0;

	memset(line, (int)first, sizeof(line));
	for (uint64_t i = first; i < first + STORES_A_TIME; i++) {
		uint8_t *at = memory + i * STORE_BYTES % STORE_SET_BYTES;

		memcpy(at, line, sizeof(line));
		/* The compiler must not join the stores of two rounds. */
		__asm__ volatile("" : : : "memory");
		failed += persist(context, at) != 0;
	}
	return failed;
}

/* Prints one JSON line; `memory` has STORE_SET_BYTES, `count` is of stores. */
static inline __attribute__((always_inline)) void
measure_stores(const char *phase, uint8_t *memory, uint64_t count, persist_store_fn persist,
	       const void *context)
{
	uint64_t failed = 0, i = 0;

	for (; i < STORES_WARM; i += STORES_A_TIME)
		store_some(memory, i, persist, context);
	latency_clear(&store_times);
	for (; i < STORES_WARM + count; i += STORES_A_TIME) {
		uint64_t start_ns = latency_now_ns();

		failed += store_some(memory, i, persist, context);
		latency_add(&store_times, latency_now_ns() - start_ns);
	}
	printf("{\"phase\": \"%s\", \"stores\": %" PRIu64 ", \"not_safe\": %" PRIu64
	       ", \"mean_ns\": %.2f, \"p50_ns\": %.2f, \"p99_ns\": %.2f}\n",
	       phase, store_times.count * STORES_A_TIME, failed,
	       (double)store_times.sum_ns / (double)store_times.count / STORES_A_TIME,
	       latency_percentile(&store_times, 0.50, 0) / STORES_A_TIME,
	       latency_percentile(&store_times, 0.99, 0) / STORES_A_TIME);
}

#endif
