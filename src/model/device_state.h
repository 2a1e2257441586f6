/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_DEVICE_STATE_H
#define MODEL_DEVICE_STATE_H

/* What the parts of the device share: device.c, device_fetch.c and device_store.c. */

#include "base/bytes.h"
#include "model/device.h"

static inline uint64_t device_entry(const struct device *device, uint32_t page)
{
	return page_table_peek(&device->table, page);
}

static inline void device_set_entry(struct device *device, uint32_t page, uint64_t entry)
{
	atomic_store_explicit(&device->table.entries[page], entry, memory_order_relaxed);
}

static inline void device_tell(struct device *device, enum device_event event, uint32_t page)
{
	if (device->observe)
		device->observe(device->observe_context, event, page, device->bus->now_ns);
}

static inline uint64_t device_first_line(const struct device *device, uint32_t page)
{
	return (uint64_t)device->frame_of[page] * BUS_PAGE_LINES;
}

/* device_store.c */

int device_store_create(struct device_store *ret_store, uint64_t slot_count);
void device_store_destroy(struct device_store *store);

/* Reserves a slot; a page leaves for it when there is no empty one. */
uint32_t device_reserve(struct device *device);
void device_unreserve(struct device *device, uint32_t slot);

/* The page is in the slot from now on, with the bytes of the other host, and present. */
void device_place(struct device *device, uint32_t page, uint32_t slot, uint8_t marks);

/* The entry has changed: no cache holds its line, and no TLB what it said. */
void device_entry_changed(struct device *device, uint32_t page);

/* Sends back what was modified, wherever it is. */
void device_scan(struct device *device);

/* device_fetch.c */

/* Starts a fetch that may use the bus's time. False when too many are under way. */
bool device_start_ahead(struct device *device, uint32_t page);

/* Waits on the bus until the page is here. False: it is absent. */
bool device_bring(struct device *device, uint32_t page);

/* The time at which a page comes whose transfer is asked for now; the link is busy till then. */
uint64_t device_use_link(struct device *device);

#endif
