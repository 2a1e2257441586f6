/* SPDX-License-Identifier: Apache-2.0 */
#include "model/processor.h"

#include <assert.h>

#include "model/device.h"

#define STATE_MASK 0xffu
#define SHARERS_SHIFT 8
#define NOBODY UINT64_MAX

static uint32_t state_of(uint64_t slot)
{
	return cache_value(slot) & STATE_MASK;
}

static uint32_t sharers_of(uint64_t slot)
{
	return cache_value(slot) >> SHARERS_SHIFT;
}

static void set_shared(uint64_t *slot, uint32_t sharers, uint32_t state)
{
	cache_set_value(slot, sharers << SHARERS_SHIFT | state);
}

static int create_core(struct core *core, const struct model_config *config)
{
	core->last_vpn = NOBODY;
	if (cache_create(&core->private, config->private_bytes / LINE_BYTES, MODEL_PRIVATE_WAYS) ||
	    cache_create(&core->tlb, config->tlb_entries, MODEL_TLB_WAYS) ||
	    cache_create(&core->walks, MODEL_WALK_ENTRIES, MODEL_WALK_WAYS))
		return -ENOMEM;
	return 0;
}

int processor_create(struct processor *ret_processor, struct interconnect *bus,
		     const struct tables *tables, const uint32_t *frame_of)
{
	const struct model_config *config = bus->config;
	int ret;

	*ret_processor = (struct processor){
		.bus = bus, .tables = tables, .frame_of = frame_of, .core_count = config->core_count
	};
	ret = cache_create(&ret_processor->shared, config->shared_bytes / LINE_BYTES,
			   MODEL_SHARED_WAYS);
	for (uint32_t i = 0; i < config->core_count && !ret; i++)
		ret = create_core(&ret_processor->cores[i], config);
	if (ret)
		processor_destroy(ret_processor);
	return ret;
}

void processor_destroy(struct processor *processor)
{
	for (uint32_t i = 0; i < MODEL_CORES_MAX; i++) {
		cache_destroy(&processor->cores[i].private);
		cache_destroy(&processor->cores[i].tlb);
		cache_destroy(&processor->cores[i].walks);
	}
	cache_destroy(&processor->shared);
}

/* Takes the line from the private caches of `sharers`. Whether one of them had it modified. */
static bool take_from(struct processor *processor, uint32_t sharers, uint64_t line)
{
	bool modified = false;

	for (; sharers; sharers &= sharers - 1) {
		struct core *core = &processor->cores[__builtin_ctz(sharers)];
		uint64_t slot = cache_remove(&core->private, line);

		assert(slot != CACHE_EMPTY);
		modified |= cache_value(slot) == LINE_MODIFIED;
	}
	return modified;
}

/* Leaves the line with `sharers` to read. Whether one of them had it modified. */
static bool share_with(struct processor *processor, uint32_t sharers, uint64_t line)
{
	bool modified = false;

	for (; sharers; sharers &= sharers - 1) {
		struct core *core = &processor->cores[__builtin_ctz(sharers)];
		uint64_t *slot = cache_peek(&core->private, line);

		assert(slot);
		modified |= cache_value(*slot) == LINE_MODIFIED;
		cache_set_value(slot, LINE_SHARED);
	}
	return modified;
}

/* The core's cache has to let a line go; it stays in the shared cache. */
static void leave_private(struct processor *processor, uint32_t core, uint64_t evicted)
{
	uint64_t *slot;
	bool modified = cache_value(evicted) == LINE_MODIFIED;

	if (evicted == CACHE_EMPTY)
		return;
	slot = cache_peek(&processor->shared, cache_key(evicted));
	assert(slot);
	set_shared(slot, sharers_of(*slot) & ~(1u << core),
		   modified ? LINE_MODIFIED : state_of(*slot));
}

static void leave_shared(struct processor *processor, uint64_t evicted)
{
	uint64_t line = cache_key(evicted);
	bool modified;

	if (evicted == CACHE_EMPTY)
		return;
	modified = take_from(processor, sharers_of(evicted), line);
	bus_give_up(processor->bus, line, modified || state_of(evicted) == LINE_MODIFIED);
}

/*
 * Gives the core the line that the shared cache has: takes it from the others for a store, else
 * lets them read. Everything that the bus has to be asked is settled.
 */
static void fill_private(struct processor *processor, uint32_t core, uint64_t line, bool store)
{
	uint64_t *slot = cache_peek(&processor->shared, line);
	uint32_t own = 1u << core, others = sharers_of(*slot) & ~own;
	uint32_t state = state_of(*slot), granted = LINE_SHARED;

	if (store) {
		take_from(processor, others, line);
		others = 0;
		state = granted = LINE_MODIFIED;
	} else if (others && share_with(processor, others, line)) {
		state = LINE_MODIFIED;
	} else if (!others && state != LINE_SHARED) {
		granted = LINE_EXCLUSIVE;
	}
	set_shared(slot, others | own, state);
	leave_private(processor, core,
		      cache_insert(&processor->cores[core].private, line, granted));
}

bool processor_miss(struct processor *processor, uint32_t core, uint64_t line, bool store)
{
	struct interconnect *bus = processor->bus;
	uint64_t *slot = cache_use(&processor->shared, line);
	enum bus_answer answer;
	uint32_t state;

	bus->now_ns += MODEL_SHARED_NS;
	if (slot) {
		bus->counts.shared_hits++;
		if (store && state_of(*slot) == LINE_SHARED)
			bus_upgrade(bus, line);
	} else {
		answer = bus_read(bus, line, store);
		if (answer == BUS_RETRY)
			return false;
		state = answer == BUS_EXCLUSIVE ? LINE_EXCLUSIVE : LINE_SHARED;
		leave_shared(processor, cache_insert(&processor->shared, line, state));
	}
	fill_private(processor, core, line, store);
	return true;
}

void processor_make_modified(struct processor *processor, uint32_t core, uint64_t line)
{
	uint64_t *slot = cache_peek(&processor->shared, line);

	assert(slot);
	if (state_of(*slot) == LINE_SHARED)
		bus_upgrade(processor->bus, line);
	/* The device may have cleaned lines meanwhile, but takes none away in an upgrade. */
	slot = cache_peek(&processor->shared, line);
	assert(slot);
	take_from(processor, sharers_of(*slot) & ~(1u << core), line);
	set_shared(slot, 1u << core, LINE_MODIFIED);
	slot = cache_peek(&processor->cores[core].private, line);
	assert(slot);
	cache_set_value(slot, LINE_MODIFIED);
}

/* Table lines are in no page that could be away, so that reading them is never to be repeated. */
static void read_table_line(struct processor *processor, uint32_t core, uint64_t line)
{
	bool there = processor_access(processor, core, line, false);

	assert(there);
	(void)there;
}

static void read_upper_lines(struct processor *processor, uint32_t core, uint64_t vpn,
			     const struct tables_path *path)
{
	struct cache *walks = &processor->cores[core].walks;

	if (cache_use(walks, vpn / TABLES_ENTRIES))
		return;
	for (unsigned i = 0; i < TABLES_UPPER_LEVELS; i++)
		read_table_line(processor, core,
				BUS_UPPER_LINES + path->upper_entries[i] / BUS_LINE_ENTRIES);
	cache_insert(walks, vpn / TABLES_ENTRIES, 0);
}

uint32_t processor_walk(struct processor *processor, uint32_t core, uint64_t vpn)
{
	struct tables_path path = tables_find(processor->tables, vpn);
	struct device *device = processor->bus->device;
	uint32_t frame = processor->frame_of[path.page];

	processor->bus->counts.tlb_misses++;
	for (;;) {
		read_upper_lines(processor, core, vpn, &path);
		read_table_line(processor, core, bus_leaf_line(path.page));
		/*
		 * The entry as it stands in the line just read: whoever changes an entry takes its
		 * line out of the caches first, so that it cannot be an older one.
		 */
		if (device_is_present(device, path.page))
			break;
		device_fault(device, path.page);
	}
	cache_insert(&processor->cores[core].tlb, vpn, frame);
	return frame;
}

bool processor_invalidate(struct processor *processor, uint64_t line)
{
	uint64_t slot = cache_remove(&processor->shared, line);
	bool modified;

	if (slot == CACHE_EMPTY)
		return false;
	modified = take_from(processor, sharers_of(slot), line);
	return modified || state_of(slot) == LINE_MODIFIED;
}

bool processor_clean(struct processor *processor, uint64_t line)
{
	uint64_t *slot = cache_peek(&processor->shared, line);
	bool modified;

	if (!slot)
		return false;
	modified =
		share_with(processor, sharers_of(*slot), line) || state_of(*slot) == LINE_MODIFIED;
	set_shared(slot, sharers_of(*slot), LINE_SHARED);
	return modified;
}

void processor_shoot_down(struct processor *processor, uint64_t vpn)
{
	for (uint32_t i = 0; i < processor->core_count; i++) {
		struct core *core = &processor->cores[i];

		cache_remove(&core->tlb, vpn);
		if (core->last_vpn == vpn)
			core->last_vpn = NOBODY;
	}
}

static void check_slot(const struct processor *processor, uint32_t core, uint64_t slot)
{
	const uint64_t *shared = cache_peek(&processor->shared, cache_key(slot));

	assert(shared && sharers_of(*shared) & 1u << core);
	if (cache_value(slot) != LINE_SHARED)
		assert(sharers_of(*shared) == 1u << core && state_of(*shared) != LINE_SHARED);
}

void processor_check(const struct processor *processor)
{
	for (uint32_t core = 0; core < processor->core_count; core++) {
		const struct cache *private = &processor->cores[core].private;
		uint64_t slots = (private->set_mask + 1) * private->ways;

		for (uint64_t i = 0; i < slots; i++)
			if (private->slots[i] != CACHE_EMPTY)
				check_slot(processor, core, private->slots[i]);
	}
}
