/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "model/device_state.h"

int device_store_create(struct device_store *ret_store, uint64_t slot_count)
{
	*ret_store = (struct device_store){
		.slots = malloc(slot_count * sizeof(*ret_store->slots)),
		.empty = malloc(slot_count * sizeof(*ret_store->empty)),
		.slot_count = (uint32_t)slot_count,
		.empty_count = (uint32_t)slot_count,
	};
	if (!ret_store->slots || !ret_store->empty) {
		device_store_destroy(ret_store);
		return -ENOMEM;
	}
	for (uint32_t slot = 0; slot < slot_count; slot++) {
		ret_store->slots[slot] = DEVICE_NO_PAGE;
		ret_store->empty[slot] = (uint32_t)slot_count - 1 - slot;
	}
	return 0;
}

void device_store_destroy(struct device_store *store)
{
	free(store->slots);
	free(store->empty);
	*store = (struct device_store){ 0 };
}

void device_entry_changed(struct device *device, uint32_t page)
{
	bus_invalidate(device->bus, bus_leaf_line(page));
	bus_shoot_down(device->bus, tables_vpn_of(device->tables, page));
}

/* The lines go to the other host. */
static void send_back(struct device *device, uint32_t page, uint64_t lines)
{
	uint64_t first = device_first_line(device, page);

	device->bus->counts.pages_back += lines != 0;
	device->bus->counts.lines_back += (uint64_t)__builtin_popcountll(lines);
	for (; lines; lines &= lines - 1) {
		uint64_t line = first + (uint64_t)__builtin_ctzll(lines);

		device->remote[line] = device->newest[line];
	}
}

/* Takes the page's lines from the processor; those that come back modified are in the map then. */
static void recall(struct device *device, uint32_t page)
{
	uint64_t first = device_first_line(device, page);

	for (uint64_t held = device->held[page]; held; held &= held - 1) {
		uint32_t line = (uint32_t)__builtin_ctzll(held);

		if (bus_invalidate(device->bus, first + line))
			device_take_back(device, first + line, true);
	}
	device->held[page] = 0;
}

/*
 * The page leaves for the other host. Its translation leaves the TLBs and its line of the page
 * table the caches: the next touch walks, and the walk is what the device can see. Its count is
 * halved, so that counts tell of the recent past.
 */
static void evict(struct device *device, uint32_t page)
{
	uint64_t entry = device_entry(device, page);
	uint64_t count = page_entry_count(entry) / 2;

	recall(device, page);
	send_back(device, page, tracker_take(&device->tracker, page));
	entry = page_entry_with_state(entry, PAGE_FAR) & ~PAGE_ENTRY_COUNT;
	device_set_entry(device, page, entry | count << PAGE_ENTRY_COUNT_SHIFT);
	if (device->marks[page] & DEVICE_MARK_UNUSED)
		device->bus->counts.prefetches_wasted++;
	device->marks[page] = 0;
	device_entry_changed(device, page);
	device->bus->counts.evictions++;
}

uint32_t device_reserve(struct device *device)
{
	struct device_store *store = &device->store;

	if (store->empty_count)
		return store->empty[--store->empty_count];
	/* Fetches reserve at most half of the slots, so that a page is found in two rounds. */
	for (;;) {
		uint32_t slot = store->hand, page = store->slots[slot];

		store->hand = slot + 1 < store->slot_count ? slot + 1 : 0;
		if (page == DEVICE_NO_PAGE)
			continue;
		if (!(device->marks[page] & DEVICE_MARK_ASKED)) {
			store->slots[slot] = DEVICE_NO_PAGE;
			evict(device, page);
			return slot;
		}
		device->marks[page] &= (uint8_t)~DEVICE_MARK_ASKED;
	}
}

void device_unreserve(struct device *device, uint32_t slot)
{
	device->store.empty[device->store.empty_count++] = slot;
}

static uint64_t count_stale(const struct device *device, uint32_t page)
{
	uint64_t first = device_first_line(device, page), stale = 0;

	for (uint64_t line = first; line < first + BUS_PAGE_LINES; line++)
		stale += device->remote[line] != device->newest[line];
	return stale;
}

void device_place(struct device *device, uint32_t page, uint32_t slot, uint8_t marks)
{
	uint64_t entry = device_entry(device, page) & ~PAGE_ENTRY_BUSY;

	assert(page_entry_state(entry) != PAGE_LOCAL);
	device->bus->counts.stale_lines += count_stale(device, page);
	device->store.slots[slot] = page;
	device->marks[page] = marks;
	device_set_entry(device, page, page_entry_with_state(entry, PAGE_LOCAL));
}

/* The lines that caches hold modified come back, and stay there to be read. */
static void clean(struct device *device, uint32_t page, uint64_t lines)
{
	uint64_t first = device_first_line(device, page);

	for (lines &= device->held[page]; lines; lines &= lines - 1)
		bus_clean(device->bus, first + (uint64_t)__builtin_ctzll(lines));
}

/*
 * The bits are taken before the lines are cleaned: a store behind that is an upgrade on the bus,
 * and sets its bit anew.
 */
void device_scan(struct device *device)
{
	struct tracker *tracker = &device->tracker;
	uint64_t expected = tracker_scan_flat(tracker), found = 0;
	uint64_t page = tracker_next(tracker, 0);

	for (; page != LINE_MAP_NONE; page = tracker_next(tracker, page + 1)) {
		uint64_t lines = tracker_take(tracker, page);

		clean(device, (uint32_t)page, lines);
		send_back(device, (uint32_t)page, lines);
		found++;
	}
	assert(found == expected);
	(void)expected;
	device->bus->counts.scans++;
}
