/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_LINE_RECORDS_H
#define MEMORY_LINE_RECORDS_H

/*
 * Records of pages as they are in far memory: the digests of a page's lines (memory/line_diff.h),
 * by which it is found out later which lines were changed (docs/decisions/0060-line-digests.md).
 *
 * A record has 256 bytes, so 16 of them take a page of memory; a page of memory is there as long as
 * one of its records is in use, and a few more. The pool makes no system call: it says which page
 * is to be dropped, and takes one only when the caller has room for it.
 *
 * The caller serialises all calls with one pool. The digests of a record are its owner's.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define LINE_RECORD_BLOCK_LINES 2
#define LINE_RECORD_DIGESTS (PAGE_LINES / LINE_RECORD_BLOCK_LINES)
#define LINE_RECORDS_PER_PAGE 16
#define LINE_RECORD_NONE 0u
#define LINE_RECORDS_NO_PAGE UINT32_MAX

struct line_record_page {
	uint16_t free; /* a bit a record; 0xffff where the page is not there either */
	bool present;
	uint32_t prev, next; /* + 1: of pages with a free record, or (next) of absent ones */
};

struct line_records {
	uint64_t *digests;
	struct line_record_page *pages;
	uint32_t page_count;
	uint32_t spare_count; /* present, without a record in use */
	uint32_t open;	      /* + 1: the first page with a free record */
	uint32_t absent;      /* + 1 */
};

/*
 * `digests` are page_count pages of memory, of which the caller populates what it is told to;
 * `pages` as many structs. Nothing is present at first. At most 2^14 pages are used, so that a
 * record's number fits 18 bits.
 */
void line_records_init(struct line_records *records, uint64_t *digests,
		       struct line_record_page *pages, uint32_t page_count);

/* A record, 1 and up; LINE_RECORD_NONE when all of those present are in use. */
uint32_t line_records_take(struct line_records *records);
/* One more page is present, for which the caller has room. False: there is none left. */
bool line_records_add_page(struct line_records *records);
/*
 * The record is free. Returns a page that is absent from now on, which the caller drops, or
 * LINE_RECORDS_NO_PAGE. At most `spare_max` pages without a record in use stay.
 */
uint32_t line_records_put(struct line_records *records, uint32_t record, uint32_t spare_max);

static inline uint64_t *line_records_digests(const struct line_records *records, uint32_t record)
{
	return records->digests + (uint64_t)record * LINE_RECORD_DIGESTS;
}

#endif
