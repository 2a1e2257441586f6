/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines instead of pages: a page that came from far memory is recorded, and when it leaves, only
 * the lines that differ from the record are stored, into the slot that it came from
 * (docs/design/line-stores.md; method M3, US 11,880,309, with digests as the source of changes).
 */
#include "pump/pager_state.h"

#include <assert.h>

#include "base/own_memory.h"
#include "base/raw_map.h"

#define SPARE_PAGES 4 /* of records, while they are of use */

_Static_assert(LINE_RECORDS_PER_PAGE *LINE_RECORD_DIGESTS * sizeof(uint64_t) == PAGE_BYTES,
	       "records fill their pages");

static uint32_t page_count_max(const struct pager *pager)
{
	uint64_t records = pager->limit_pages + 1;

	if (records > PAGE_ENTRY_FRAME_MAX)
		records = PAGE_ENTRY_FRAME_MAX;
	return (uint32_t)(records / LINE_RECORDS_PER_PAGE + 1);
}

int pager_lines_start(struct pager *pager, struct error *why)
{
	uint32_t count = page_count_max(pager);
	void *digests = pager->records.digests, *pages = pager->records.pages;
	int err = 0;

	if (digests)
		raw_madvise(digests, count * PAGE_BYTES, MADV_DONTNEED);
	else
		err = own_memory_map_lazily(count * PAGE_BYTES, &digests);
	if (!err && !pages)
		err = own_memory_map(count * sizeof(struct line_record_page), &pages);
	if (err)
		return error_set(why, err, "no memory for the records of lines");
	pthread_mutex_init(&pager->lines_lock, NULL);
	lines_policy_init(&pager->lines);
	line_records_init(&pager->records, digests, pages, count);
	return 0;
}

/* Under lines_lock. A page of records that is dropped is a physical page less (P1). */
static void put_record(struct pager *pager, uint32_t record)
{
	uint32_t spare = lines_policy_is_worth(&pager->lines) ? SPARE_PAGES : 0;
	uint32_t page = line_records_put(&pager->records, record, spare);

	if (page == LINE_RECORDS_NO_PAGE)
		return;
	raw_madvise((char *)pager->records.digests + page * PAGE_BYTES, PAGE_BYTES, MADV_DONTNEED);
	pager_unreserve(pager);
}

/* LINE_RECORD_NONE if it is not wanted, or there is no room for one more page of records. */
static uint32_t take_record(struct lane *lane)
{
	struct pager *pager = lane->pager;
	uint32_t record = LINE_RECORD_NONE;
	bool wanted;

	pthread_mutex_lock(&pager->lines_lock);
	wanted = lines_policy_wants(&pager->lines);
	if (wanted)
		record = line_records_take(&pager->records);
	pthread_mutex_unlock(&pager->lines_lock);
	if (!wanted || record != LINE_RECORD_NONE || !pager_reserve_at_once(lane))
		return record;
	pthread_mutex_lock(&pager->lines_lock);
	if (!line_records_add_page(&pager->records))
		pager_unreserve(pager);
	record = line_records_take(&pager->records);
	pthread_mutex_unlock(&pager->lines_lock);
	return record;
}

void pager_record(struct lane *lane, uint64_t *entry, const char *bytes)
{
	struct pager *pager = lane->pager;
	uint32_t slot = page_entry_slot(*entry), record;

	assert(!page_entry_frame(*entry));
	if (pager->whole_pages || atomic_load(&pager->still) || !slot ||
	    !far_takes_lines(lane->far, slot))
		return;
	record = take_record(lane);
	if (record == LINE_RECORD_NONE)
		return;
	line_digest_page(&pager->line_key, bytes, LINE_RECORD_BLOCK_LINES,
			 line_records_digests(&pager->records, record));
	*entry = page_entry_with_frame(*entry, record);
}

void pager_drop_record(struct pager *pager, uint64_t entry)
{
	uint32_t record = page_entry_frame(entry);

	assert(page_entry_state(entry) == PAGE_LOCAL);
	if (record == LINE_RECORD_NONE)
		return;
	pthread_mutex_lock(&pager->lines_lock);
	put_record(pager, record);
	pthread_mutex_unlock(&pager->lines_lock);
}

uint64_t pager_changed_lines(const struct pager *pager, uint32_t record, const char *bytes)
{
	return line_diff_digests(&pager->line_key, bytes, LINE_RECORD_BLOCK_LINES,
				 line_records_digests(&pager->records, record));
}

uint16_t pager_store_lines(struct lane *lane, struct departure *out, uint32_t count, uint32_t group)
{
	struct pager *pager = lane->pager;
	struct far_changed changed[EVICT_BATCH_PAGES];
	uint32_t frame = group * FRAME_GROUP_FRAMES, wanted = 0;
	uint16_t stores;

	for (uint32_t i = 0; i < count; i++)
		if (out[i].kind == DEPARTURE_LINES)
			changed[wanted++] = (struct far_changed){
				.page = i,
				.slot = page_entry_slot(out[i].entry),
				.crc = pager->checksums[out[i].page],
				.lines = out[i].lines,
			};
	if (!wanted)
		return 0;
	stores = (uint16_t)far_store_lines(lane->far, pager_frame(pager, frame), changed, wanted,
					   frame);
	for (uint32_t i = 0; i < wanted; i++) {
		if (!changed[i].stored) {
			out[changed[i].page].kind = DEPARTURE_WHOLE;
			continue;
		}
		pager_count(&pager->counters->pages_written, 1);
		pager_count(&pager->counters->pages_by_line, 1);
		pager_count(&pager->counters->lines_written,
			    (uint32_t)__builtin_popcountll(changed[i].lines));
	}
	return stores;
}

/* Pages that change go whole or as lines only below: those that had a slot have it still. */
void pager_end_records(struct pager *pager, const struct departure *out, uint32_t count)
{
	pthread_mutex_lock(&pager->lines_lock);
	for (uint32_t i = 0; i < count; i++) {
		bool changed = out[i].kind != DEPARTURE_CLEAN;
		uint32_t lines = out[i].kind == DEPARTURE_LINES
					 ? (uint32_t)__builtin_popcountll(out[i].lines)
					 : PAGE_LINES;

		if (page_entry_slot(out[i].entry))
			lines_policy_note(&pager->lines, changed);
		if (out[i].record == LINE_RECORD_NONE)
			continue;
		if (changed)
			lines_policy_note_lines(&pager->lines, lines);
		put_record(pager, out[i].record);
	}
	pthread_mutex_unlock(&pager->lines_lock);
}
