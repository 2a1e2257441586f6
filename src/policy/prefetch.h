/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_PREFETCH_H
#define POLICY_PREFETCH_H

/*
 * What to fetch beside the page that was asked for. A demand reads one line of the page table,
 * eight entries; the far pages among them are the candidates (method M1, US 11,586,545 in
 * PATENTS.md), those that were asked for most first. Further lines, or pages at a steady distance,
 * are taken while a stream of demands proves right: its window doubles when the program comes to
 * its end and is lost with the stream. Demands that are near no earlier one start nothing, and
 * where streams end as soon as they are followed (objects of two pages, say, read at random) it
 * takes more demands in step before the next one is.
 *
 * Use is told by the demand that follows: whoever asks for the page behind a window, in step, or
 * for one of the next line, has used the window. A stream that is given up has wasted its last one.
 *
 * Pure: a table and a demand in, pages out. The caller serialises all calls with one struct.
 */

#include <stdbool.h>
#include <stdint.h>

#include "memory/page_table.h"

#define PREFETCH_LINE_PAGES 8 /* entries in a line of 64 bytes */
#define PREFETCH_PAGES_MAX 31 /* with the page demanded one io */
#define PREFETCH_STREAMS 16   /* as many walks through memory at a time */
#define PREFETCH_RECENT 32    /* demands that a new one is compared with */

enum prefetch_mode {
	PREFETCH_NONE,
	PREFETCH_LINE,	   /* the line's other pages, at each demand */
	PREFETCH_ADAPTIVE, /* what has proved right */
};

enum prefetch_source {
	PREFETCH_BY_LINE,   /* of the demand's own line */
	PREFETCH_BY_STREAM, /* the lines behind it, in either direction */
	PREFETCH_BY_STRIDE, /* single pages at a steady distance */
	PREFETCH_SOURCES,
};

/* Pages to fetch, in this order; none is the page demanded. */
struct prefetch_plan {
	enum prefetch_source source;
	uint32_t stream; /* that it is of, */
	uint32_t age;	 /* and which of its plans */
	uint32_t count;
	uint64_t pages[PREFETCH_PAGES_MAX];
};

/* What the demand told of earlier plans, in pages. */
struct prefetch_verdict {
	enum prefetch_source source;
	uint32_t used;
	uint32_t wasted;
};

enum prefetch_trust {
	PREFETCH_WAITS, /* nothing was fetched for it */
	PREFETCH_TRIED,
	PREFETCH_PROVED, /* a window of it came through */
};

struct prefetch_stream {
	uint64_t last;	/* the demand that was its latest */
	uint64_t end;	/* the first page, in step, that was not fetched: the demand it waits for */
	int64_t stride; /* pages; 0: no stream */
	enum prefetch_source source; /* of the last plan */
	enum prefetch_trust trust;
	uint32_t in_step; /* demands beyond those that showed it, while it waits */
	uint32_t window;  /* steps of the last plan */
	uint32_t issued;  /* pages of the last plan */
	uint32_t age;
};

struct prefetch {
	enum prefetch_mode mode;
	uint32_t clock;
	uint32_t patience; /* demands in step, beyond those that show a stream, to try it */
	uint32_t recent_next;
	uint64_t recent[PREFETCH_RECENT]; /* page + 1; 0: none yet */
	struct prefetch_stream streams[PREFETCH_STREAMS];
};

void prefetch_init(struct prefetch *prefetch, enum prefetch_mode mode);

/*
 * The far pages of the line that `page` stands in, without it, by their counts, most first, those
 * of equal counts in the order of their addresses. Returns how many (at most 7).
 */
uint32_t prefetch_line(const struct page_table *table, uint64_t page,
		       uint64_t ret_pages[PREFETCH_LINE_PAGES]);

/*
 * The same of line `line` (pages 8 * line to 8 * line + 7) for one who sees that the line was read,
 * but not for which page: all far pages of it, at most 8.
 */
uint32_t prefetch_whole_line(const struct page_table *table, uint64_t line,
			     uint64_t ret_pages[PREFETCH_LINE_PAGES]);

/* The program demands `page`, which is far. Fills the plan, and what is known now of earlier ones.
 */
void prefetch_demand(struct prefetch *prefetch, const struct page_table *table, uint64_t page,
		     struct prefetch_plan *ret_plan, struct prefetch_verdict *ret_verdict);

/* So many pages of the plan did not come: they are neither used nor wasted. */
void prefetch_lost(struct prefetch *prefetch, const struct prefetch_plan *plan, uint32_t count);

#endif
