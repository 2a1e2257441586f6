/* SPDX-License-Identifier: Apache-2.0 */
#include "model/device.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/random.h"
#include "model/device_state.h"
#include "policy/prefetch.h"

_Static_assert(PREFETCH_LINE_PAGES == BUS_LINE_ENTRIES, "a line of the page table is one of both");

/* Frames in a random order, so that neighbours by address are no neighbours of the program. */
static void choose_frames(struct device *device, const struct model_config *config)
{
	struct random_source random = random_from_seed(config->seed);
	uint32_t count = (uint32_t)device->table.page_count;

	for (uint32_t page = 0; page < count; page++)
		device->frame_of[page] = page;
	for (uint32_t i = count; i > 1 && config->frames == MODEL_FRAMES_SCATTERED; i--) {
		uint32_t other = (uint32_t)random_below(&random, i);
		uint32_t frame = device->frame_of[i - 1];

		device->frame_of[i - 1] = device->frame_of[other];
		device->frame_of[other] = frame;
	}
	for (uint32_t page = 0; page < count; page++)
		device->page_of[device->frame_of[page]] = page;
}

static int allocate(struct device *device, const struct model_config *config)
{
	uint64_t pages = device->table.page_count;

	device->table.entries = calloc(pages, sizeof(*device->table.entries));
	device->frame_of = malloc(pages * sizeof(*device->frame_of));
	device->page_of = malloc(pages * sizeof(*device->page_of));
	device->marks = calloc(pages, sizeof(*device->marks));
	device->held = calloc(pages, sizeof(*device->held));
	device->newest = calloc(pages * BUS_PAGE_LINES, sizeof(*device->newest));
	device->remote = calloc(pages * BUS_PAGE_LINES, sizeof(*device->remote));
	if (!device->table.entries || !device->frame_of || !device->page_of || !device->marks ||
	    !device->held || !device->newest || !device->remote)
		return -ENOMEM;
	if (device_store_create(&device->store,
				model_config_local_pages(config, device->tables->touched_pages)))
		return -ENOMEM;
	return tracker_create(&device->tracker, pages, config->bitmap_bytes, &device->bus->counts);
}

int device_create(struct device *ret_device, struct interconnect *bus, const struct tables *tables)
{
	const struct model_config *config = bus->config;

	*ret_device = (struct device){
		.bus = bus,
		.tables = tables,
		.table.page_count = tables_page_count(tables),
		.next_scan_ns = config->scan_ns ? config->scan_ns : UINT64_MAX,
	};
	ret_device->next_event_ns = ret_device->next_scan_ns;
	if (allocate(ret_device, config) < 0) {
		device_destroy(ret_device);
		return -ENOMEM;
	}
	choose_frames(ret_device, config);
	return 0;
}

void device_destroy(struct device *device)
{
	free(device->table.entries);
	free(device->frame_of);
	free(device->page_of);
	free(device->marks);
	free(device->held);
	free(device->newest);
	free(device->remote);
	device_store_destroy(&device->store);
	tracker_destroy(&device->tracker);
	*device = (struct device){ 0 };
}

bool device_is_present(const struct device *device, uint32_t page)
{
	return page_entry_state(device_entry(device, page)) != PAGE_UNTOUCHED &&
	       !(device->marks[page] & DEVICE_MARK_ABSENT);
}

/*
 * A read of a line of the page table: its entries are decoded, and the far pages that they point at
 * are fetched, those with most accesses first. Which of them is wanted the address does not tell.
 */
static void decode_line(struct device *device, uint64_t line)
{
	uint64_t pages[PREFETCH_LINE_PAGES];
	uint32_t count = prefetch_whole_line(&device->table, line - BUS_LEAF_LINES, pages);

	for (uint32_t i = 0; i < count; i++)
		if (!(device->marks[pages[i]] & DEVICE_MARK_ABSENT))
			device_start_ahead(device, (uint32_t)pages[i]);
}

static enum bus_answer read_table_line(struct device *device, uint64_t line)
{
	device->bus->counts.table_line_reads++;
	if (line < BUS_UPPER_LINES && device->bus->config->policy == MODEL_LINE)
		decode_line(device, line);
	device->bus->now_ns += MODEL_MEMORY_NS;
	return BUS_SHARED;
}

/* A line becomes modified: nothing is done when the map has it. */
static void note_modified(struct device *device, uint32_t page, uint32_t line)
{
	if (tracker_set(&device->tracker, page, line))
		device->bus->counts.lines_set++;
	else
		device->bus->counts.lines_repeated++;
}

/* The page is asked for and here. */
static void note_asked(struct device *device, uint32_t page)
{
	if (device->marks[page] & DEVICE_MARK_UNUSED)
		device->bus->counts.prefetches_used++;
	device->marks[page] = DEVICE_MARK_ASKED;
	device_set_entry(device, page, page_entry_counted(device_entry(device, page)));
}

static enum bus_answer read_data_line(struct device *device, uint64_t line, bool own)
{
	uint32_t page = device->page_of[line / BUS_PAGE_LINES];
	uint32_t line_of_page = line % BUS_PAGE_LINES;

	if (page_entry_state(device_entry(device, page)) != PAGE_LOCAL &&
	    !device_bring(device, page))
		return BUS_RETRY;
	device->bus->now_ns += MODEL_MEMORY_NS;
	note_asked(device, page);
	device->held[page] |= 1ull << line_of_page;
	if (own)
		note_modified(device, page, line_of_page);
	/* Granted to be read only, the first store is a transaction, and so seen. */
	return own || device->bus->config->grant == MODEL_GRANT_EXCLUSIVE ? BUS_EXCLUSIVE
									  : BUS_SHARED;
}

enum bus_answer device_read(struct device *device, uint64_t line, bool own)
{
	device_advance(device);
	if (bus_is_table_line(line))
		return read_table_line(device, line);
	return read_data_line(device, line, own);
}

void device_upgrade(struct device *device, uint64_t line)
{
	device_advance(device);
	note_modified(device, device->page_of[line / BUS_PAGE_LINES], line % BUS_PAGE_LINES);
}

/* Modified as the line is, the map must have it; if it does not, it is a loss that was averted. */
void device_take_back(struct device *device, uint64_t line, bool modified)
{
	uint32_t page = device->page_of[line / BUS_PAGE_LINES];
	uint32_t line_of_page = line % BUS_PAGE_LINES;

	device->held[page] &= ~(1ull << line_of_page);
	if (!modified || tracker_has(&device->tracker, page, line_of_page))
		return;
	tracker_set(&device->tracker, page, line_of_page);
	device->bus->counts.lines_missed++;
}

static void fetch_ordinarily(struct device *device)
{
	struct interconnect *bus = device->bus;
	uint64_t arrives_ns = device_use_link(device);

	bus->counts.faults++;
	bus->counts.demand_misses++;
	bus->counts.wait_ns += arrives_ns - bus->now_ns;
	bus->now_ns = arrives_ns;
	device_advance(device);
}

void device_fault(struct device *device, uint32_t page)
{
	bool is_empty = page_entry_state(device_entry(device, page)) == PAGE_UNTOUCHED;
	uint32_t slot;

	assert(!device_is_present(device, page));
	device->bus->now_ns += MODEL_FAULT_NS;
	device_advance(device);
	slot = device_reserve(device);
	if (is_empty)
		device->bus->counts.first_touches++;
	else
		fetch_ordinarily(device);
	device_place(device, page, slot, DEVICE_MARK_ASKED);
	device_entry_changed(device, page);
	device_tell(device, DEVICE_FAULT_SERVED, page);
}

void device_finish(struct device *device)
{
	struct model_counts *counts = &device->bus->counts;

	for (uint32_t i = 0; i < device->fetch_count; i++)
		if (!device->fetches[i].expired)
			counts->fetches_cut++;
	counts->time_ns = device->bus->now_ns;
}
