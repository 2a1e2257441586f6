/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_TABLES_H
#define MODEL_TABLES_H

/*
 * The modelled program's page tables: four levels of 512 entries, as on x86-64. The three upper
 * levels are here, made once for a trace and only read by its runs. The entries of the lowest level
 * are the device's own page table (memory/page_table.h): entry 512 * L + i is entry i of leaf table
 * L, so that eight entries in a row are one line on the bus.
 *
 * A "page" of the model is the number of its entry in that table.
 */

#include <stdint.h>

#include "base/error.h"
#include "format/trace.h"

#define TABLES_ENTRIES 512
#define TABLES_INDEX_BITS 9
#define TABLES_UPPER_LEVELS 3
#define TABLES_NONE UINT32_MAX

struct tables {
	uint32_t (*upper)[TABLES_ENTRIES]; /* table 0 is the root; entries are numbers of tables */
	uint32_t upper_count;
	uint64_t *leaf_vpn; /* the first virtual page number of each leaf table */
	uint32_t leaf_count;
	uint8_t (*touched)[TABLES_ENTRIES]; /* by the trace, an entry each */
	uint64_t touched_pages;
};

/* Where the walk for a virtual page leads. */
struct tables_path {
	uint32_t upper_entries[TABLES_UPPER_LEVELS]; /* table number * 512 + index, root first */
	uint32_t page;
};

/*
 * Reads the whole trace and makes the tables for what it touches: -EBADMSG when the trace is
 * damaged, -E2BIG when it needs more than MODEL_PAGES_MAX entries, -ENOMEM, all in words.
 */
int tables_create(struct tables *ret_tables, const struct trace *trace, struct error *why);
void tables_destroy(struct tables *tables); /* also half-made or zeroed */

/* The virtual page has a leaf table: the trace touches one of its 512 pages. */
struct tables_path tables_find(const struct tables *tables, uint64_t vpn);

static inline uint64_t tables_vpn_of(const struct tables *tables, uint32_t page)
{
	return tables->leaf_vpn[page / TABLES_ENTRIES] + page % TABLES_ENTRIES;
}

static inline uint32_t tables_page_count(const struct tables *tables)
{
	return tables->leaf_count * TABLES_ENTRIES;
}

#endif
