/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_COUNTERS_H
#define CLI_RUN_COUNTERS_H

/*
 * The arithmetic of the counters in a run segment, and the table of their names from which the
 * report and `perdure status --json` are made. A counter of several processes is a sum, a maximum,
 * or what is there now.
 */

#include <stdatomic.h>
#include <stddef.h>

#include "format/run_segment.h"

enum counter_kind {
	COUNTER_SUM,  /* adds up over all processes, living and gone */
	COUNTER_MAX,  /* the largest of any one process: each process has its own bound */
	COUNTER_NOW,  /* adds up over the living; what is gone holds nothing */
	COUNTER_LAST, /* as NOW while a process lives; afterwards the most that one had at its end
		       */
};

struct counter_field {
	const char *name;
	size_t offset; /* in struct run_counters, or in struct run_backing_counters */
	enum counter_kind kind;
};

#define RUN_COUNTER_FIELDS (19 + 4 * RUN_PREFETCH_SOURCES)
#define RUN_BACKING_FIELDS 6

extern const struct counter_field run_counter_fields[RUN_COUNTER_FIELDS];
extern const struct counter_field run_backing_fields[RUN_BACKING_FIELDS];

static inline uint64_t count_of(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The counter that `field` names. `counters` is the struct that its offset counts in. */
uint64_t run_counter_get(const void *counters, const struct counter_field *field);

/* Adds a process that is gone to the sums of those before it. */
void run_counters_fold_ended(struct run_counters *sums, const struct run_counters *ended);

/* Writes all that the run has counted until now into *ret_total; returns the living processes. */
uint32_t run_counters_total(const struct run_segment *segment, struct run_counters *ret_total);

/* A quantile of the fault times, in ns (base/histogram.h). */
uint64_t run_counters_fault_ns(const struct run_counters *counters, uint32_t permille);

#endif
