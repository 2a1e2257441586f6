/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERDURE_LINE_MAP_H
#define PERDURE_LINE_MAP_H

/*
 * Which 64-byte lines of an area of memory were changed, kept so that a scan costs what is changed
 * and not what exists. Link with `pkg-config --cflags --libs perdure`; pd_line_map(3) has an
 * example.
 *
 * A page is 64 lines of 64 bytes, 4096 bytes; pages and lines are counted from 0 at the beginning
 * of the area. Above the bitmap of lines stand a bit a page and a bit for 512 pages, each the OR of
 * what is below it. The map takes 8 bytes a page, its summaries a sixty-fourth of that; what was
 * never set in a large map takes address space only.
 *
 * The caller tells what was changed; the map does not find it out. Tracking cache lines by such a
 * hierarchy is described in US 11,880,309; see PATENTS.md of the project.
 *
 * Threads: each call says which threads may make it. "Any" means any number at a time, with any
 * other call but pd_line_map_destroy(). No call blocks; only create and destroy allocate and free.
 * A fork() while calls are under way may copy the map in the middle of one of them.
 *
 * Errors: calls that can fail return 0 or a negative errno. A page, line or mask that is out of its
 * bounds is a bug of the caller, and ends the program by abort().
 */

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PD_LINE_BYTES 64
#define PD_PAGE_LINES 64
#define PD_LINE_MAP_PAGES_MAX (1ull << 36) /* as much as 48 bits address */
#define PD_LINE_MAP_NONE UINT64_MAX

struct pd_line_map;

/*
 * A map of `page_count` pages, 1 to PD_LINE_MAP_PAGES_MAX, with nothing changed. It is the
 * caller's, to end by pd_line_map_destroy(). -EINVAL: page_count is out of bounds; -ENOMEM.
 */
int pd_line_map_create(uint64_t page_count, struct pd_line_map **ret_map);

/* No other call is under way. NULL is allowed. */
void pd_line_map_destroy(struct pd_line_map *map);

uint64_t pd_line_map_page_count(const struct pd_line_map *map);

/*
 * The lines of `mask` (bit 0 is the page's first line; not 0) of the page were changed; called
 * after the change was stored. Returns those that were not marked before. For lines that are marked
 * nothing is written (US 11,880,309: only changes of state act). Any thread.
 */
uint64_t pd_line_map_set(struct pd_line_map *map, uint64_t page, uint64_t mask);

/* The same for one line, by its number from the beginning of the area. True if it was not marked.
 */
bool pd_line_map_set_line(struct pd_line_map *map, uint64_t line);

/* Whether the line is marked at this moment. Any thread. */
bool pd_line_map_test_line(const struct pd_line_map *map, uint64_t line);

/* The page's marked lines at this moment; they stay marked. Any thread. */
uint64_t pd_line_map_peek(const struct pd_line_map *map, uint64_t page);

/*
 * The first page from `page` on (at most page_count) with marked lines, or PD_LINE_MAP_NONE.
 * Descends the levels (US 11,880,309), reading 8 bytes for 128 MiB in which nothing is marked. What
 * was set before the call began is found; of what is set meanwhile it may or may not be. A page may
 * come whose lines were taken a moment ago. One thread at a time, the scanner.
 */
uint64_t pd_line_map_next(struct pd_line_map *map, uint64_t page);

/*
 * Takes the page's marked lines out of the map and returns them, 0 if there are none. Each mark is
 * returned to one caller; a change that races with this is either seen by a read of the page after
 * this call, or marked anew, or both: never neither. Any thread; while another than the scanner
 * takes, a pd_line_map_next() at the same moment may pass over pages of the same 512, which the
 * following scan finds.
 */
uint64_t pd_line_map_take(struct pd_line_map *map, uint64_t page);

/*
 * Marks in `into` what is marked in `from`, which keeps its marks. -EINVAL: the maps are not of the
 * same page_count, or the same map. Any thread.
 */
int pd_line_map_merge(struct pd_line_map *into, const struct pd_line_map *from);

/* Marked lines in all; exact if nothing sets or takes meanwhile. Any thread. */
uint64_t pd_line_map_count(const struct pd_line_map *map);

#ifdef __cplusplus
}
#endif

#endif
