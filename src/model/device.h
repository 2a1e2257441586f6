/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_DEVICE_H
#define MODEL_DEVICE_H

/*
 * The modelled device on the coherent bus. It has memory of its own, in which all data and all page
 * tables seem to lie; what data pages it does not hold there, up to a bound, is in another host's
 * memory behind a link. It practises three methods of PATENTS.md, with the product's own code:
 *
 *   M1  a read of a line of the page tables is detected by its address, the pages are listed that
 *	 its entries point at (policy/prefetch.h), and those that are far are fetched
 *   M2  a timer runs from the start of each fetch; when it ends first, the entry is set to not
 *	 present, and what waits for the page on the bus is told to try again
 *   M3  lines that become modified are kept in the line map (tracker.h), and only they are sent
 *	 back when their page has to leave or when the map is scanned
 *
 * A page is in one of these conditions; its entry in `table` says which:
 *
 *   PAGE_UNTOUCHED	empty entry: not present, nothing to fetch
 *   PAGE_FAR		in the other host's memory; present, so that an access comes over the bus
 *   PAGE_FAR + BUSY	the same, and a fetch is under way
 *   PAGE_FAR + absent	a fetch came too late: not present, the ordinary fault path brings it
 *   PAGE_LOCAL		in the device's memory
 *
 * Each fetch ends in exactly one way: stored, or expired. The bytes of an expired one are dropped.
 */

#include <stdbool.h>
#include <stdint.h>

#include "memory/page_table.h"
#include "model/interconnect.h"
#include "model/tables.h"
#include "model/tracker.h"

enum device_event {
	DEVICE_FETCH_STARTED,
	DEVICE_FETCH_STORED,
	DEVICE_FETCH_EXPIRED,
	DEVICE_ARRIVAL_DROPPED,
	DEVICE_FAULT_SERVED, /* by the ordinary path */
};

/* Told of each event, with the clock as it stands then; for tests. */
typedef void device_observe(void *context, enum device_event event, uint32_t page, uint64_t now_ns);

enum fetch_kind { FETCH_DEMAND, FETCH_AHEAD };

struct fetch {
	uint32_t page;
	uint32_t slot;
	enum fetch_kind kind;
	bool expired;
	bool asked;	    /* a demand came while it was under way */
	uint64_t reference; /* the one that it started with; statistics only */
	uint64_t started_ns;
	uint64_t arrives_ns;
	uint64_t expires_ns;
};

/* The pages held here. A slot is empty, reserved by a fetch, or holds a page. */
struct device_store {
	uint32_t *slots; /* page, or DEVICE_NO_PAGE */
	uint32_t *empty; /* a stack of slots */
	uint32_t slot_count;
	uint32_t empty_count;
	uint32_t hand; /* of the clock that chooses what leaves */
};

#define DEVICE_NO_PAGE UINT32_MAX

struct device {
	struct interconnect *bus;
	const struct tables *tables;
	struct page_table table; /* the lowest level of the page tables, in the device's memory */
	uint32_t *frame_of;	 /* the frame of each page, and back */
	uint32_t *page_of;
	uint8_t *marks; /* DEVICE_MARK_… of each page */
	uint64_t *held; /* the lines of each page that the processor has */
	struct device_store store;
	struct tracker tracker;
	struct fetch fetches[MODEL_FETCHES_MAX]; /* in the order of their start */
	uint32_t fetch_count;
	uint64_t link_free_ns;
	uint64_t next_event_ns;
	uint64_t next_scan_ns;
	/* In place of bytes, each line has the number of the store that wrote it last. */
	uint32_t *newest; /* by frame * 64 + line: as the program knows it */
	uint32_t *remote; /* as the other host has it */
	device_observe *observe;
	void *observe_context;
};

#define DEVICE_MARK_ASKED 0x1u	/* since the clock's hand came by */
#define DEVICE_MARK_UNUSED 0x2u /* fetched ahead, and not asked for yet */
#define DEVICE_MARK_ABSENT 0x4u /* the entry's presence bit is clear */

/* -ENOMEM. All pages are empty. `tables` stays the caller's. */
int device_create(struct device *ret_device, struct interconnect *bus, const struct tables *tables);
void device_destroy(struct device *device); /* also half-made or zeroed */

/* Transactions, see interconnect.h. */
enum bus_answer device_read(struct device *device, uint64_t line, bool own);
void device_upgrade(struct device *device, uint64_t line);
void device_take_back(struct device *device, uint64_t line, bool modified);

/* What a walker finds in the entry of a page: an empty or an absent one is not present. */
bool device_is_present(const struct device *device, uint32_t page);

/* The ordinary fault path, by the operating system: returns when the page is here and present. */
void device_fault(struct device *device, uint32_t page);

/* Lets everything happen that is due by the clock. */
void device_advance(struct device *device);

/* The end of a run: what is under way and what was never used is counted. */
void device_finish(struct device *device);

#endif
