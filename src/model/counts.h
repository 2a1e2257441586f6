/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_COUNTS_H
#define MODEL_COUNTS_H

/* Everything that a run of the model counts. Times are of the modelled clock. */

#include <stdint.h>

/* Accesses of a way to keep the modified lines (M3), counted by the word in fast memory and by the
 * line of 64 bytes in slow memory.
 */
struct model_tracking {
	uint64_t fast_reads;
	uint64_t fast_writes;
	uint64_t slow_reads;
	uint64_t slow_writes;
};

struct model_counts {
	uint64_t references;
	uint64_t accesses; /* of lines, by the program: a reference may have several */
	uint64_t time_ns;

	/* The processor. */
	uint64_t private_hits;
	uint64_t shared_hits;
	uint64_t silent_stores; /* to lines that are modified already: no transaction */
	uint64_t tlb_misses;
	uint64_t first_touches;
	uint64_t faults; /* by the ordinary path: the entry was not present */

	/* The bus. */
	uint64_t bus_reads;
	uint64_t bus_upgrades;
	uint64_t bus_write_backs;
	uint64_t bus_timeouts;
	uint64_t table_line_reads;	     /* that the device saw */
	uint64_t table_line_reads_elsewhere; /* that the processor's own memory answered */

	/* Fetches: started = stored + expired + cut, where cut were under way at the end. */
	uint64_t fetches_started;
	uint64_t fetches_stored;
	uint64_t fetches_expired;
	uint64_t fetches_cut;
	uint64_t arrivals_dropped; /* bytes that came after the timer */
	uint64_t bytes_fetched;
	uint64_t wait_ns; /* for pages, by the program */
	uint64_t evictions;
	uint64_t stale_lines; /* fetched, and not what was stored last: 0 */

	/*
	 * Demand misses are accesses that found no fetch of the page under way but their own.
	 * A prefetch is used when the page is asked for before it leaves; late, when that is while
	 * it is under way. Wasted prefetches expired or left unused.
	 */
	uint64_t demand_misses;
	uint64_t prefetches;
	uint64_t prefetches_used;
	uint64_t prefetches_late;
	uint64_t prefetches_wasted;

	/* Modified lines. */
	uint64_t lines_set;	 /* not modified to modified */
	uint64_t lines_repeated; /* were in the map already: nothing was done */
	uint64_t lines_missed;	 /* came back modified, and the map did not know */
	uint64_t lines_back;
	uint64_t pages_back; /* that had at least one line to send */
	uint64_t scans;
	struct model_tracking hierarchy;
	struct model_tracking flat;
};

/* Of the misses that there would have been, the share that prefetches were under way for. */
static inline double model_coverage(const struct model_counts *counts)
{
	uint64_t misses = counts->prefetches_used + counts->demand_misses;

	return misses ? (double)counts->prefetches_used / (double)misses : 0;
}

/* Of the prefetches, the share that was used. */
static inline double model_accuracy(const struct model_counts *counts)
{
	return counts->prefetches ? (double)counts->prefetches_used / (double)counts->prefetches
				  : 0;
}

/* Of the used ones, the share that the program had to wait for. */
static inline double model_lateness(const struct model_counts *counts)
{
	return counts->prefetches_used
		       ? (double)counts->prefetches_late / (double)counts->prefetches_used
		       : 0;
}

#endif
