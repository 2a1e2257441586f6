/* SPDX-License-Identifier: Apache-2.0 */

/*
 * mem: pages compressed with LZ4 in this host's memory, shared by a family of forked processes.
 *
 * One 8-byte entry a slot says where the page is. The low two bits are the kind:
 *
 *   EMPTY   0          nothing stored
 *   OBJECT  1          bits 2-13 length - 1, bits 14-63 offset into the pool / MEM_OBJECT_ALIGN;
 *                      a length of PAGE_BYTES is the page as it is, a smaller one is LZ4
 *   WORD    2          all 8-byte words of the page are the number in bits 2-63
 *   HALVES  3          all 4-byte words of the page are the number in bits 2-33
 *
 * A store writes an object that nobody else knows and then publishes it in the entry with a
 * release; a fetch reads the entry with an acquire. The caller's promises (one store of a slot at a
 * time, no fetch during it) do the rest.
 */

#include "backing/backing.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <lz4.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "backing/mem_pool.h"
#include "backing/uri.h"
#include "base/clock.h"
#include "base/own_memory.h"
#include "base/units.h"

/* A page that does not shrink to this is kept as it is: fetching it is then one copy. */
#define COMPRESSED_BYTES_MAX 3072

/* The fastest that loses next to nothing: docs/decisions/0021-lz4-acceleration.md. */
#define LZ4_ACCELERATION 2

/* Slots cost 8 bytes of table each when used, and none until then: room for pages that compress
 * well or are all zero. */
#define SLOTS_PER_POOL_PAGE 64

enum entry_kind { ENTRY_EMPTY, ENTRY_OBJECT, ENTRY_WORD, ENTRY_HALVES };

struct mem_backing {
	struct backing base;
	struct mem_pool pool;
	_Atomic uint64_t *entries; /* shared by the family */
	uint64_t slot_count_max;
	uint64_t bytes_max;
};

struct mem_channel {
	struct backing_channel base;
	char compressed[COMPRESSED_BYTES_MAX];
	_Alignas(16) char lz4_state[sizeof(LZ4_stream_t)];
};

static struct mem_backing *mem_of(struct backing *backing)
{
	return (struct mem_backing *)backing;
}

static enum entry_kind entry_kind(uint64_t entry)
{
	return (enum entry_kind)(entry & 3);
}

static uint64_t object_entry(uint64_t offset, uint32_t length)
{
	return ENTRY_OBJECT | (uint64_t)(length - 1) << 2 | offset / MEM_OBJECT_ALIGN << 14;
}

static uint32_t object_length(uint64_t entry)
{
	return (uint32_t)(entry >> 2 & (PAGE_BYTES - 1)) + 1;
}

static uint64_t object_offset(uint64_t entry)
{
	return (entry >> 14) * MEM_OBJECT_ALIGN;
}

/* The table is in the program's reach; a wild store into it must not become a wild read. */
static bool object_in_pool(const struct mem_backing *mem, uint64_t entry)
{
	return object_offset(entry) + object_length(entry) <= mem->pool.arena_bytes;
}

/* The entry of a page that needs no bytes, or ENTRY_EMPTY when it does. */
static uint64_t entry_without_bytes(const uint64_t *words)
{
	uint64_t word = words[0];

	for (size_t i = 1; i < PAGE_BYTES / sizeof(word); i++) {
		if (words[i] != word)
			return ENTRY_EMPTY;
	}
	if (word >> 62 == 0)
		return ENTRY_WORD | word << 2;
	if (word >> 32 == (uint32_t)word)
		return ENTRY_HALVES | (uint64_t)(uint32_t)word << 2;
	return ENTRY_EMPTY;
}

static void fill_words(uint64_t *words, uint64_t word)
{
	for (size_t i = 0; i < PAGE_BYTES / sizeof(word); i++)
		words[i] = word;
}

static void free_entry(struct mem_backing *mem, uint64_t entry)
{
	if (entry_kind(entry) == ENTRY_OBJECT && object_in_pool(mem, entry))
		mem_pool_free(&mem->pool, object_offset(entry));
}

/* Frees what the entry named after nothing names it any more. */
static void replace_entry(struct mem_backing *mem, uint64_t slot, uint64_t entry)
{
	free_entry(mem, atomic_exchange_explicit(&mem->entries[slot], entry, memory_order_acq_rel));
}

/*
 * Where to put `length` bytes for a slot. The room of the object that the slot has is used again
 * when it fits without waste: a slot that is being stored holds nothing that anybody may fetch.
 */
static int room_for(struct mem_backing *mem, uint64_t slot, uint32_t length, uint64_t *ret_offset)
{
	uint64_t old = atomic_load_explicit(&mem->entries[slot], memory_order_acquire);
	int err;

	if (entry_kind(old) == ENTRY_OBJECT && object_in_pool(mem, old)) {
		uint32_t bytes = mem_pool_object_bytes(&mem->pool, object_offset(old));

		if (length <= bytes && length > bytes - bytes / 4) {
			*ret_offset = object_offset(old);
			return 0;
		}
	}
	err = mem_pool_alloc(&mem->pool, length, ret_offset);
	if (err != -ENOSPC || entry_kind(old) != ENTRY_OBJECT)
		return err;
	/* A full pool still takes a page in exchange for the one that it replaces. */
	replace_entry(mem, slot, ENTRY_EMPTY);
	return mem_pool_alloc(&mem->pool, length, ret_offset);
}

static int store_page(struct mem_channel *channel, uint64_t slot, const void *page)
{
	struct mem_backing *mem = mem_of(channel->base.backing);
	uint64_t entry = entry_without_bytes(page);
	const void *bytes = channel->compressed;
	uint64_t offset, old;
	int length, err;

	if (entry != ENTRY_EMPTY) {
		replace_entry(mem, slot, entry);
		return 0;
	}
	/* Outside of any lock, into the channel's own buffer. */
	length =
		LZ4_compress_fast_extState(channel->lz4_state, page, channel->compressed,
					   (int)PAGE_BYTES, COMPRESSED_BYTES_MAX, LZ4_ACCELERATION);
	if (length <= 0) {
		bytes = page;
		length = (int)PAGE_BYTES;
	}
	err = room_for(mem, slot, (uint32_t)length, &offset);
	if (err)
		return err;
	memcpy(mem->pool.arena + offset, bytes, (size_t)length);
	old = atomic_exchange_explicit(&mem->entries[slot], object_entry(offset, (uint32_t)length),
				       memory_order_acq_rel);
	if (entry_kind(old) != ENTRY_OBJECT || object_offset(old) != offset)
		free_entry(mem, old);
	return 0;
}

static int fetch_object(struct mem_backing *mem, uint64_t entry, void *page)
{
	const uint8_t *bytes = mem->pool.arena + object_offset(entry);
	uint32_t length = object_length(entry);

	if (!object_in_pool(mem, entry))
		return -EIO;
	if (length == PAGE_BYTES) {
		memcpy(page, bytes, PAGE_BYTES);
		return 0;
	}
	if (LZ4_decompress_safe((const char *)bytes, page, (int)length, (int)PAGE_BYTES) !=
	    (int)PAGE_BYTES)
		return -EIO;
	return 0;
}

static int fetch_page(struct mem_backing *mem, uint64_t slot, void *page)
{
	uint64_t entry = atomic_load_explicit(&mem->entries[slot], memory_order_acquire);
	uint64_t half = (uint32_t)(entry >> 2);

	switch (entry_kind(entry)) {
	case ENTRY_OBJECT:
		return fetch_object(mem, entry, page);
	case ENTRY_WORD:
		fill_words(page, entry >> 2);
		return 0;
	case ENTRY_HALVES:
		fill_words(page, half << 32 | half);
		return 0;
	case ENTRY_EMPTY:
		break;
	}
	return -ENODATA;
}

static int mem_submit(struct backing_channel *channel, struct backing_io *io)
{
	struct mem_backing *mem = mem_of(channel->backing);
	uint8_t *page = io->pages;
	int result = 0;

	assert(io->page_count > 0 && io->page_count <= BACKING_IO_PAGES_MAX && !io->lines);
	assert(io->slot + io->page_count <= mem->slot_count_max);
	for (uint32_t i = 0; !result && i < io->page_count; i++, page += PAGE_BYTES) {
		if (io->verb == BACKING_FETCH)
			result = fetch_page(mem, io->slot + i, page);
		else
			result = store_page((struct mem_channel *)channel, io->slot + i, page);
	}
	io->result = result;
	return 0;
}

static void mem_poll(struct backing_channel *channel)
{
	/* Everything was done in submit. */
}

static void mem_discard(struct backing *backing, uint64_t slot, uint32_t slot_count)
{
	struct mem_backing *mem = mem_of(backing);

	assert(slot + slot_count <= mem->slot_count_max);
	for (uint32_t i = 0; i < slot_count; i++)
		replace_entry(mem, slot + i, ENTRY_EMPTY);
}

static uint64_t mem_bytes_held(struct backing *backing)
{
	return mem_pool_bytes_held(&mem_of(backing)->pool);
}

static int mem_reserve(struct backing *backing, uint64_t slot_count, struct error *why)
{
	const struct mem_backing *mem = mem_of(backing);
	char wanted[UNITS_TEXT_BYTES], limit[UNITS_TEXT_BYTES];

	if (slot_count <= mem->slot_count_max)
		return 0;
	return error_set(why, -ENOSPC,
			 "no room for %" PRIu64 " pages in \"%s\": a pool of %s takes at most "
			 "%" PRIu64 " (%s)",
			 slot_count, backing->uri, format_size(mem->bytes_max, limit),
			 mem->slot_count_max,
			 format_size(mem->slot_count_max * PAGE_BYTES, wanted));
}

static uint64_t default_bytes_max(void)
{
	struct sysinfo host;
	uint64_t bytes;

	if (sysinfo(&host))
		return GIB;
	bytes = (uint64_t)host.totalram * host.mem_unit / 2;
	return bytes < MEM_POOL_BYTES_MIN ? MEM_POOL_BYTES_MIN : bytes;
}

static int parse_bytes_max(const char *rest, uint64_t *ret_bytes, struct error *why)
{
	struct error reason;

	if (!*rest) {
		*ret_bytes = default_bytes_max();
		return 0;
	}
	if (parse_size(rest, ret_bytes, &reason))
		return uri_bad(why, "mem", rest, "%s", reason.text);
	if (*ret_bytes < MEM_POOL_BYTES_MIN || *ret_bytes > MEM_POOL_BYTES_MAX)
		return uri_bad(why, "mem", rest, "a pool has 4M to 64T");
	return 0;
}

static int mem_check(const char *rest, struct error *why)
{
	uint64_t bytes;

	return parse_bytes_max(rest, &bytes, why);
}

static void mem_close(struct backing *backing)
{
	struct mem_backing *mem = mem_of(backing);

	own_memory_unmap(mem->entries, mem->slot_count_max * sizeof(mem->entries[0]));
	if (mem->pool.shared)
		mem_pool_destroy(&mem->pool);
	own_memory_unmap(mem, sizeof(*mem));
}

static int map_entries(struct mem_backing *mem, struct error *why)
{
	void *memory;
	int err;

	mem->slot_count_max = mem->pool.arena_bytes / PAGE_BYTES * SLOTS_PER_POOL_PAGE;
	err = own_memory_map_shared(mem->slot_count_max * sizeof(mem->entries[0]), &memory);
	if (err)
		return error_set(why, err, "cannot map the table of a memory pool: %s",
				 strerror(-err));
	mem->entries = memory;
	return 0;
}

static int mem_open(const char *rest, const struct backing_options *options,
		    struct backing **ret_backing, struct error *why)
{
	struct mem_backing *mem;
	uint64_t bytes_max;
	void *memory;
	int err = parse_bytes_max(rest, &bytes_max, why);

	if (err)
		return err;
	if (options->ticket)
		return error_set(why, -ENOTSUP,
				 "\"mem:%s\" cannot be joined: its pages are shared by forked "
				 "processes only",
				 rest);
	err = own_memory_map(sizeof(*mem), &memory);
	if (err)
		return error_set(why, err, "cannot open \"mem:%s\": %s", rest, strerror(-err));
	mem = memory;
	mem->base.ops = &backing_mem_ops;
	mem->bytes_max = bytes_max;
	snprintf((char *)mem->base.ticket, sizeof(mem->base.ticket), "mem %ld %" PRIu64,
		 (long)getpid(), clock_now_ns());
	err = mem_pool_create(bytes_max, &mem->pool, why);
	if (!err)
		err = map_entries(mem, why);
	if (err) {
		mem_close(&mem->base);
		return err;
	}
	*ret_backing = &mem->base;
	return 0;
}

static int mem_reattach(struct backing *backing, const uint8_t *ticket, struct error *why)
{
	if (!ticket || !memcmp(ticket, backing->ticket, sizeof(backing->ticket)))
		return 0;
	return error_set(
		why, -ENOTSUP,
		"\"%s\" of another process cannot be joined: its pages are shared by forked "
		"processes only",
		backing->uri);
}

static int mem_channel_open(struct backing *backing, struct backing_channel **ret_channel,
			    struct error *why)
{
	void *memory;
	int err = own_memory_map(sizeof(struct mem_channel), &memory);

	if (err)
		return error_set(why, err, "cannot open a channel of \"%s\": %s", backing->uri,
				 strerror(-err));
	*ret_channel = memory;
	(*ret_channel)->ops = &backing_mem_ops;
	(*ret_channel)->backing = backing;
	return 0;
}

static void mem_channel_close(struct backing_channel *channel)
{
	own_memory_unmap(channel, sizeof(struct mem_channel));
}

const struct backing_ops backing_mem_ops = {
	.scheme = "mem",
	.check = mem_check,
	.open = mem_open,
	.close = mem_close,
	.reserve = mem_reserve,
	.reattach = mem_reattach,
	.channel_open = mem_channel_open,
	.channel_close = mem_channel_close,
	.submit = mem_submit,
	.poll = mem_poll,
	.discard = mem_discard,
	.bytes_held = mem_bytes_held,
};
