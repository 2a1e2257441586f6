/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_PAGE_TABLE_H
#define MEMORY_PAGE_TABLE_H

/*
 * Perdure's own page table of a region: one 8-byte entry a page, eight to a cache line, so that a
 * fault reads one line and finds its neighbours there (the candidates of a prefetcher, M1 in
 * PATENTS.md). It says for each page where its newest bytes are:
 *
 *   UNTOUCHED  nowhere: the page reads as zeros (never written, discarded, or evicted as zeros)
 *   LOCAL      in the region itself
 *   VICTIM     in a frame of the frame pool: evicted, but still at hand (a second chance)
 *   FAR        in a slot of the far store, and only there
 *   LOST       nowhere any more: no good copy is left
 *
 * FRAME is the frame of a VICTIM; of a LOCAL page it may name a record of its lines
 * (memory/line_records.h).
 *
 * In LOCAL and VICTIM a slot other than 0 names a far copy with the bytes of the last eviction; the
 * page's digest tells whether it is still the same.
 *
 * Whoever changes an entry owns it while its BUSY bit is set. Taking the bit is an acquire, giving
 * it back a release: what the owner did to the page, its digest and its checksum is seen by the
 * next owner. Reading without the bit gives a hint, no more.
 *
 * The table makes no system call: its memory is handed in, zeroed.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum page_state {
	PAGE_UNTOUCHED = 0,
	PAGE_LOCAL = 1,
	PAGE_VICTIM = 2,
	PAGE_FAR = 3,
	PAGE_LOST = 4,
};

#define PAGE_ENTRY_STATE 0x7ull
#define PAGE_ENTRY_BUSY 0x8ull
#define PAGE_ENTRY_LOCKED 0x10ull /* the program called mlock: never evicted */
#define PAGE_ENTRY_LOCKING 0x20ull /* by the call under way, which may yet fail */
#define PAGE_ENTRY_COUNT_SHIFT 6
#define PAGE_ENTRY_COUNT (0xffull << PAGE_ENTRY_COUNT_SHIFT) /* fetches of it, saturating */
#define PAGE_ENTRY_FRAME_SHIFT 14
#define PAGE_ENTRY_FRAME (0x3ffffull << PAGE_ENTRY_FRAME_SHIFT)
#define PAGE_ENTRY_FRAME_MAX 0x3ffffu
#define PAGE_ENTRY_SLOT_SHIFT 32

struct page_table {
	_Atomic uint64_t *entries;
	uint64_t page_count;
};

static inline enum page_state page_entry_state(uint64_t entry)
{
	return (enum page_state)(entry & PAGE_ENTRY_STATE);
}

static inline uint32_t page_entry_slot(uint64_t entry)
{
	return (uint32_t)(entry >> PAGE_ENTRY_SLOT_SHIFT);
}

static inline uint32_t page_entry_frame(uint64_t entry)
{
	return (uint32_t)((entry & PAGE_ENTRY_FRAME) >> PAGE_ENTRY_FRAME_SHIFT);
}

static inline uint64_t page_entry_with_state(uint64_t entry, enum page_state state)
{
	return (entry & ~PAGE_ENTRY_STATE) | (uint64_t)state;
}

static inline uint64_t page_entry_with_slot(uint64_t entry, uint32_t slot)
{
	return (entry & 0xffffffffull) | (uint64_t)slot << PAGE_ENTRY_SLOT_SHIFT;
}

static inline uint64_t page_entry_with_frame(uint64_t entry, uint32_t frame)
{
	return (entry & ~PAGE_ENTRY_FRAME) | (uint64_t)frame << PAGE_ENTRY_FRAME_SHIFT;
}

static inline uint32_t page_entry_count(uint64_t entry)
{
	return (uint32_t)((entry & PAGE_ENTRY_COUNT) >> PAGE_ENTRY_COUNT_SHIFT);
}

static inline uint64_t page_entry_counted(uint64_t entry)
{
	if ((entry & PAGE_ENTRY_COUNT) == PAGE_ENTRY_COUNT)
		return entry;
	return entry + (1ull << PAGE_ENTRY_COUNT_SHIFT);
}

/* A hint: the entry as it was a moment ago. */
static inline uint64_t page_table_peek(const struct page_table *table, uint64_t page)
{
	return atomic_load_explicit(&table->entries[page], memory_order_acquire);
}

/* Takes the page's BUSY bit. False when another has it. *ret_entry is the entry without the bit. */
static inline bool page_table_acquire(struct page_table *table, uint64_t page, uint64_t *ret_entry)
{
	uint64_t entry = atomic_load_explicit(&table->entries[page], memory_order_relaxed);

	do {
		if (entry & PAGE_ENTRY_BUSY)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&table->entries[page], &entry,
							entry | PAGE_ENTRY_BUSY,
							memory_order_acquire,
							memory_order_relaxed));
	*ret_entry = entry;
	return true;
}

/* Stores the entry and gives the BUSY bit back: publishes what its owner did to the next owner. */
static inline void page_table_release(struct page_table *table, uint64_t page, uint64_t entry)
{
	atomic_store_explicit(&table->entries[page], entry & ~PAGE_ENTRY_BUSY,
			      memory_order_release);
}

#endif
