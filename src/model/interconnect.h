/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_INTERCONNECT_H
#define MODEL_INTERCONNECT_H

/*
 * The modelled coherent bus between a processor and a device, and the only way between the two:
 * the device learns line addresses and transactions, never which instruction, core or virtual
 * address is behind them. All data and all page tables are in the device's memory (M1.6), in this
 * order of line numbers:
 *
 *   data lines	frame * 64 + line of the page
 *   leaf lines	eight entries each of the page tables' lowest level, in the order of the entries
 *   upper lines	those of the levels above
 *
 * The clock stands here as well: a transaction takes its time on it. One thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"
#include "model/counts.h"

#define BUS_PAGE_LINES 64
#define BUS_LINE_ENTRIES 8 /* of a page table */
#define BUS_LEAF_LINES (MODEL_PAGES_MAX * BUS_PAGE_LINES)
#define BUS_UPPER_LINES (2 * BUS_LEAF_LINES)

struct device;
struct processor;

struct interconnect {
	const struct model_config *config;
	struct device *device;
	struct processor *processor;
	uint64_t now_ns;
	struct model_counts counts;
};

enum bus_answer {
	BUS_SHARED,    /* the line, to be read */
	BUS_EXCLUSIVE, /* the line, and nobody else has it */
	BUS_RETRY,     /* the page is not present any more: walk again */
};

static inline bool bus_is_table_line(uint64_t line)
{
	return line >= BUS_LEAF_LINES;
}

static inline uint64_t bus_leaf_line(uint64_t page)
{
	return BUS_LEAF_LINES + page / BUS_LINE_ENTRIES;
}

/* Transactions, from the processor. */

/* Reads a line; `own` to store to it, which makes it modified. */
enum bus_answer bus_read(struct interconnect *bus, uint64_t line, bool own);

/* The processor has the line shared and is going to store to it. */
void bus_upgrade(struct interconnect *bus, uint64_t line);

/* The processor gives the line up, modified or not. Takes no time: there are buffers for it. */
void bus_give_up(struct interconnect *bus, uint64_t line, bool modified);

/* Snoops, from the device. Both return whether the line came back modified. */

/* No cache holds the line afterwards. */
bool bus_invalidate(struct interconnect *bus, uint64_t line);

/* Caches may go on holding the line to read it. */
bool bus_clean(struct interconnect *bus, uint64_t line);

/* The operating system's part: no TLB holds the page's translation afterwards. */
void bus_shoot_down(struct interconnect *bus, uint64_t vpn);

#endif
