/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_PROCESSOR_H
#define MODEL_PROCESSOR_H

/*
 * The modelled processor: cores with a private cache under MESI, a TLB and a page walker each, and
 * one shared cache. The shared cache includes the private ones and knows who holds what; towards
 * the bus the processor is one agent, which has a line shared, exclusive or modified.
 *
 * The walker reads the lines of the page tables through the caches, as any load: the device sees
 * such a read when no cache has the line.
 *
 * Invariants, which processor_check() asserts: a line that a private cache has is in the shared
 * one, with the core among its sharers; when one has it exclusive or modified, no other has it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model/cache.h"
#include "model/interconnect.h"
#include "model/tables.h"

enum line_state { LINE_SHARED = 1, LINE_EXCLUSIVE = 2, LINE_MODIFIED = 3 };

struct core {
	struct cache private; /* a value is an enum line_state */
	struct cache tlb;     /* virtual page number to frame */
	struct cache walks;   /* the leaf tables that were walked to lately */
	uint64_t last_vpn;    /* the translation used last, in front of the TLB */
	uint32_t last_frame;
};

struct processor {
	struct interconnect *bus;
	const struct tables *tables;
	const uint32_t *frame_of; /* what stands in the entries: the frame of each page */
	struct cache shared;	  /* a value is sharers << 8 | the processor's enum line_state */
	uint32_t core_count;
	struct core cores[MODEL_CORES_MAX];
};

/* -ENOMEM. `frame_of` and `tables` stay the caller's. */
int processor_create(struct processor *ret_processor, struct interconnect *bus,
		     const struct tables *tables, const uint32_t *frame_of);
void processor_destroy(struct processor *processor); /* also half-made or zeroed */

/* The slow ways of the two calls below. */
bool processor_miss(struct processor *processor, uint32_t core, uint64_t line, bool store);
void processor_make_modified(struct processor *processor, uint32_t core, uint64_t line);
uint32_t processor_walk(struct processor *processor, uint32_t core, uint64_t vpn);

/* Snoops, see interconnect.h. */
bool processor_invalidate(struct processor *processor, uint64_t line);
bool processor_clean(struct processor *processor, uint64_t line);
void processor_shoot_down(struct processor *processor, uint64_t vpn);

/* Asserts the invariants above; reads all caches. */
void processor_check(const struct processor *processor);

/* A core loads from or stores to a line. False: the page is not present any more, walk again. */
static inline bool processor_access(struct processor *processor, uint32_t core, uint64_t line,
				    bool store)
{
	uint64_t *slot = cache_use(&processor->cores[core].private, line);
	uint32_t state;

	if (!slot)
		return processor_miss(processor, core, line, store);
	processor->bus->counts.private_hits++;
	state = cache_value(*slot);
	if (store && state == LINE_SHARED)
		processor_make_modified(processor, core, line);
	else if (store && state == LINE_EXCLUSIVE)
		cache_set_value(slot, LINE_MODIFIED);
	else if (store)
		processor->bus->counts.silent_stores++;
	return true;
}

/* The frame of a virtual page: from the TLB, or by a walk and the faults that it takes. */
static inline uint32_t processor_translate(struct processor *processor, uint32_t core_index,
					   uint64_t vpn)
{
	struct core *core = &processor->cores[core_index];
	uint64_t *slot;

	if (core->last_vpn == vpn)
		return core->last_frame;
	slot = cache_use(&core->tlb, vpn);
	core->last_frame = slot ? cache_value(*slot) : processor_walk(processor, core_index, vpn);
	core->last_vpn = vpn;
	return core->last_frame;
}

#endif
