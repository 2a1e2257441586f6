/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/line_records.h"

#include <assert.h>

#define PAGES_MAX (1u << 14)
#define ALL_FREE 0xffffu
#define FIRST_PAGE_FREE (ALL_FREE & ~1u) /* record 0 is LINE_RECORD_NONE */

static uint16_t all_free(uint32_t page)
{
	return page ? ALL_FREE : FIRST_PAGE_FREE;
}

static void open_page(struct line_records *records, uint32_t page)
{
	records->pages[page].prev = 0;
	records->pages[page].next = records->open;
	if (records->open)
		records->pages[records->open - 1].prev = page + 1;
	records->open = page + 1;
}

static void close_page(struct line_records *records, uint32_t page)
{
	const struct line_record_page *p = &records->pages[page];

	if (p->prev)
		records->pages[p->prev - 1].next = p->next;
	else
		records->open = p->next;
	if (p->next)
		records->pages[p->next - 1].prev = p->prev;
}

static void leave(struct line_records *records, uint32_t page)
{
	records->pages[page].present = false;
	records->pages[page].next = records->absent;
	records->absent = page + 1;
}

void line_records_init(struct line_records *records, uint64_t *digests,
		       struct line_record_page *pages, uint32_t page_count)
{
	if (page_count > PAGES_MAX)
		page_count = PAGES_MAX;
	*records = (struct line_records){ .digests = digests,
					  .pages = pages,
					  .page_count = page_count };
	for (uint32_t page = page_count; page-- > 0;) {
		pages[page].free = all_free(page);
		leave(records, page);
	}
}

bool line_records_add_page(struct line_records *records)
{
	uint32_t page = records->absent - 1;

	if (!records->absent)
		return false;
	records->absent = records->pages[page].next;
	records->pages[page].present = true;
	records->spare_count++;
	open_page(records, page);
	return true;
}

uint32_t line_records_take(struct line_records *records)
{
	uint32_t page = records->open - 1, at;
	struct line_record_page *p;

	if (!records->open)
		return LINE_RECORD_NONE;
	p = &records->pages[page];
	at = (uint32_t)__builtin_ctz(p->free);
	if (p->free == all_free(page))
		records->spare_count--;
	p->free &= (uint16_t)(p->free - 1);
	if (!p->free)
		close_page(records, page);
	return page * LINE_RECORDS_PER_PAGE + at;
}

uint32_t line_records_put(struct line_records *records, uint32_t record, uint32_t spare_max)
{
	uint32_t page = record / LINE_RECORDS_PER_PAGE;
	struct line_record_page *p = &records->pages[page];
	uint16_t bit = (uint16_t)(1u << record % LINE_RECORDS_PER_PAGE);

	assert(record != LINE_RECORD_NONE && page < records->page_count);
	assert(p->present && !(p->free & bit));
	if (!p->free)
		open_page(records, page);
	p->free |= bit;
	if (p->free != all_free(page))
		return LINE_RECORDS_NO_PAGE;
	if (records->spare_count < spare_max) {
		records->spare_count++;
		return LINE_RECORDS_NO_PAGE;
	}
	close_page(records, page);
	leave(records, page);
	return page;
}
