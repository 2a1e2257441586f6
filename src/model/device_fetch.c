/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "model/device_state.h"

/*
 * Fetches and their timers. A transfer is asked for at once; the link brings the pages one after
 * another, each after its latency and the transfers before it.
 */

#define NEVER UINT64_MAX

static uint64_t event_of(const struct fetch *fetch)
{
	if (fetch->expired || fetch->arrives_ns <= fetch->expires_ns)
		return fetch->arrives_ns;
	return fetch->expires_ns;
}

static struct fetch *earliest(struct device *device)
{
	struct fetch *first = NULL;

	for (uint32_t i = 0; i < device->fetch_count; i++)
		if (!first || event_of(&device->fetches[i]) < event_of(first))
			first = &device->fetches[i];
	return first;
}

static void plan_next_event(struct device *device)
{
	const struct fetch *first = earliest(device);

	device->next_event_ns = first ? event_of(first) : NEVER;
	if (device->next_scan_ns < device->next_event_ns)
		device->next_event_ns = device->next_scan_ns;
}

/* The fetch of a page that may still be stored. */
static struct fetch *find(struct device *device, uint32_t page)
{
	if (!(device_entry(device, page) & PAGE_ENTRY_BUSY))
		return NULL;
	for (uint32_t i = 0; i < device->fetch_count; i++)
		if (device->fetches[i].page == page && !device->fetches[i].expired)
			return &device->fetches[i];
	return NULL;
}

uint64_t device_use_link(struct device *device)
{
	const struct model_config *config = device->bus->config;
	uint64_t begins_ns = device->bus->now_ns + config->link_latency_ns;

	if (begins_ns < device->link_free_ns)
		begins_ns = device->link_free_ns;
	device->link_free_ns = begins_ns + PAGE_BYTES * 1000000000 / config->link_bytes_per_s;
	device->bus->counts.bytes_fetched += PAGE_BYTES;
	return device->link_free_ns;
}

/* The timer starts with the fetch. */
static void start(struct device *device, uint32_t page, enum fetch_kind kind)
{
	const struct model_config *config = device->bus->config;
	uint64_t now_ns = device->bus->now_ns;
	uint32_t slot = device_reserve(device);

	assert(device->fetch_count < MODEL_FETCHES_MAX);
	device->fetches[device->fetch_count++] = (struct fetch){
		.page = page,
		.slot = slot,
		.kind = kind,
		.reference = device->bus->counts.references,
		.started_ns = now_ns,
		.arrives_ns = device_use_link(device),
		.expires_ns = config->timer_ns ? now_ns + config->timer_ns : NEVER,
	};
	device_set_entry(device, page, device_entry(device, page) | PAGE_ENTRY_BUSY);
	device->bus->counts.fetches_started++;
	device_tell(device, DEVICE_FETCH_STARTED, page);
	plan_next_event(device);
}

bool device_start_ahead(struct device *device, uint32_t page)
{
	/* One place is left for a demand. */
	if (device->fetch_count >= MODEL_FETCHES_MAX - 1)
		return false;
	start(device, page, FETCH_AHEAD);
	return true;
}

static void remove_fetch(struct device *device, struct fetch *fetch)
{
	struct fetch *end = device->fetches + --device->fetch_count;

	memmove(fetch, fetch + 1, (size_t)(end - fetch) * sizeof(*fetch));
}

static void store(struct device *device, struct fetch *fetch)
{
	struct model_counts *counts = &device->bus->counts;
	uint32_t page = fetch->page;
	uint8_t marks = fetch->asked ? DEVICE_MARK_ASKED : 0;

	counts->fetches_stored++;
	counts->demand_misses += fetch->kind == FETCH_DEMAND;
	counts->prefetches += fetch->kind == FETCH_AHEAD;
	if (fetch->kind == FETCH_AHEAD && fetch->asked) {
		counts->prefetches_used++;
		counts->prefetches_late++;
	} else if (fetch->kind == FETCH_AHEAD) {
		marks |= DEVICE_MARK_UNUSED;
	}
	device_place(device, page, fetch->slot, marks);
	remove_fetch(device, fetch);
	device_tell(device, DEVICE_FETCH_STORED, page);
}

static void set_absent(struct device *device, uint32_t page)
{
	device_set_entry(device, page, device_entry(device, page) & ~PAGE_ENTRY_BUSY);
	device->marks[page] |= DEVICE_MARK_ABSENT;
	device_entry_changed(device, page);
}

/*
 * The timer came first: the entry is set to not present. What the link still brings is dropped when
 * it comes, so that the page has one outcome and never a second.
 */
static void expire(struct device *device, struct fetch *fetch)
{
	struct model_counts *counts = &device->bus->counts;
	uint32_t page = fetch->page;

	counts->fetches_expired++;
	counts->prefetches += fetch->kind == FETCH_AHEAD;
	counts->prefetches_wasted += fetch->kind == FETCH_AHEAD;
	fetch->expired = true;
	device_unreserve(device, fetch->slot);
	set_absent(device, page);
	device_tell(device, DEVICE_FETCH_EXPIRED, page);
}

static void drop(struct device *device, struct fetch *fetch)
{
	uint32_t page = fetch->page;

	device->bus->counts.arrivals_dropped++;
	remove_fetch(device, fetch);
	device_tell(device, DEVICE_ARRIVAL_DROPPED, page);
}

static void let_happen(struct device *device, struct fetch *fetch)
{
	if (fetch->expired)
		drop(device, fetch);
	else if (fetch->arrives_ns <= fetch->expires_ns)
		store(device, fetch);
	else
		expire(device, fetch);
}

static void scan_if_due(struct device *device)
{
	if (device->next_scan_ns > device->bus->now_ns)
		return;
	device_scan(device);
	device->next_scan_ns = device->bus->now_ns + device->bus->config->scan_ns;
}

void device_advance(struct device *device)
{
	struct fetch *first;

	if (device->bus->now_ns < device->next_event_ns)
		return;
	while ((first = earliest(device)) && event_of(first) <= device->bus->now_ns)
		let_happen(device, first);
	scan_if_due(device);
	plan_next_event(device);
}

static void wait_until(struct device *device, uint64_t end_ns)
{
	struct interconnect *bus = device->bus;

	if (end_ns > bus->now_ns) {
		bus->counts.wait_ns += end_ns - bus->now_ns;
		bus->now_ns = end_ns;
	}
	device_advance(device);
}

/* Holds the transaction till the fetch has ended; the bus gives up first if that takes too long. */
static void hold(struct device *device, uint32_t page)
{
	struct interconnect *bus = device->bus;
	struct fetch *fetch;

	while ((fetch = find(device, page))) {
		uint64_t gives_up_ns = bus->now_ns + bus->config->bus_timeout_ns;

		if (event_of(fetch) > gives_up_ns) {
			bus->counts.bus_timeouts++;
			wait_until(device, gives_up_ns);
		} else {
			wait_until(device, event_of(fetch));
		}
	}
}

/*
 * The program asks for what is on its way. A fetch that started with the very reference that asks,
 * by its walk, was not ahead of it: it counts as the demand's.
 */
static void ask(struct device *device, struct fetch *fetch)
{
	fetch->asked = true;
	if (fetch->reference == device->bus->counts.references)
		fetch->kind = FETCH_DEMAND;
}

/* The control: the next frames by address, whatever pages they are. */
static void start_next(struct device *device, uint32_t page)
{
	uint64_t frame = device->frame_of[page], end = frame + device->bus->config->next_pages;

	while (++frame <= end && frame < device->table.page_count) {
		uint32_t next = device->page_of[frame];

		if (page_entry_state(device_entry(device, next)) == PAGE_FAR &&
		    !(device_entry(device, next) & PAGE_ENTRY_BUSY) &&
		    !(device->marks[next] & DEVICE_MARK_ABSENT))
			device_start_ahead(device, next);
	}
}

static void start_demand(struct device *device, uint32_t page)
{
	/* As many as that are under way when most have expired: the ordinary path has no limit. */
	if (device->fetch_count == MODEL_FETCHES_MAX) {
		set_absent(device, page);
		return;
	}
	start(device, page, FETCH_DEMAND);
	if (device->bus->config->policy == MODEL_NEXT)
		start_next(device, page);
}

bool device_bring(struct device *device, uint32_t page)
{
	struct fetch *fetch = find(device, page);

	if (fetch)
		ask(device, fetch);
	else if (!(device->marks[page] & DEVICE_MARK_ABSENT))
		start_demand(device, page);
	hold(device, page);
	return page_entry_state(device_entry(device, page)) == PAGE_LOCAL;
}
