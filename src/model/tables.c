/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "model/config.h"

#define LEAVES_MAX (MODEL_PAGES_MAX / TABLES_ENTRIES)
/* Each leaf table needs at most one table of each level above but the root. */
#define UPPER_MAX (LEAVES_MAX * (TABLES_UPPER_LEVELS - 1) + 1)

static uint32_t index_of(uint64_t vpn, unsigned level)
{
	return vpn >> level * TABLES_INDEX_BITS & (TABLES_ENTRIES - 1);
}

/* Capacities are powers of two, so that the count alone tells when to grow. */
static int grow(void *array, uint32_t count, size_t item_bytes)
{
	void *grown, *old;

	if (count & (count - 1))
		return 0;
	memcpy(&old, array, sizeof(old));
	grown = realloc(old, (count ? 2 * (size_t)count : 1) * item_bytes);
	if (!grown)
		return -ENOMEM;
	memcpy(array, &grown, sizeof(grown));
	return 0;
}

static int add_upper(struct tables *tables, uint32_t *ret_table)
{
	if (tables->upper_count == UPPER_MAX)
		return -E2BIG;
	if (grow(&tables->upper, tables->upper_count, sizeof(*tables->upper)) < 0)
		return -ENOMEM;
	memset(tables->upper[tables->upper_count], 0xff, sizeof(*tables->upper));
	*ret_table = tables->upper_count++;
	return 0;
}

static int add_leaf(struct tables *tables, uint64_t vpn, uint32_t *ret_leaf)
{
	uint32_t count = tables->leaf_count;

	if (count == LEAVES_MAX)
		return -E2BIG;
	if (grow(&tables->leaf_vpn, count, sizeof(*tables->leaf_vpn)) < 0 ||
	    grow(&tables->touched, count, sizeof(*tables->touched)) < 0)
		return -ENOMEM;
	tables->leaf_vpn[count] = vpn - vpn % TABLES_ENTRIES;
	memset(tables->touched[count], 0, sizeof(*tables->touched));
	*ret_leaf = tables->leaf_count++;
	return 0;
}

/* The leaf table of the virtual page, made with those above it when it is not there. */
static int make_leaf(struct tables *tables, uint64_t vpn, uint32_t *ret_leaf)
{
	uint32_t table = 0, next;
	int ret;

	for (unsigned level = TABLES_UPPER_LEVELS; level > 0; level--) {
		next = tables->upper[table][index_of(vpn, level)];
		if (next == TABLES_NONE) {
			ret = level > 1 ? add_upper(tables, &next) : add_leaf(tables, vpn, &next);
			if (ret < 0)
				return ret;
			tables->upper[table][index_of(vpn, level)] = next;
		}
		table = next;
	}
	*ret_leaf = table;
	return 0;
}

static int touch(struct tables *tables, uint64_t vpn)
{
	uint32_t leaf;
	uint8_t *touched;
	int ret = make_leaf(tables, vpn, &leaf);

	if (ret < 0)
		return ret;
	touched = &tables->touched[leaf][vpn % TABLES_ENTRIES];
	tables->touched_pages += !*touched;
	*touched = 1;
	return 0;
}

static int touch_block(struct tables *tables, const struct trace_reference *references,
		       uint32_t count, uint64_t *last)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t vpn = references[i].address >> PAGE_SHIFT;
		uint64_t end = references[i].address + references[i].bytes - 1;
		int ret = 0;

		if (vpn != *last)
			ret = touch(tables, vpn);
		if (!ret && end >> PAGE_SHIFT != vpn)
			ret = touch(tables, end >> PAGE_SHIFT);
		if (ret < 0)
			return ret;
		*last = vpn;
	}
	return 0;
}

static int touch_all(struct tables *tables, const struct trace *trace,
		     struct trace_reference *references, struct error *why)
{
	struct trace_reader reader;
	uint64_t last = UINT64_MAX;
	uint32_t count;
	int ret;

	trace_reader_init(&reader, trace);
	do {
		ret = trace_reader_next(&reader, references, &count, why);
		if (ret < 0)
			return ret;
		ret = touch_block(tables, references, count, &last);
		if (ret == -E2BIG)
			return error_set(why, ret,
					 "it touches more address space than the %llu pages that "
					 "can be modelled",
					 MODEL_PAGES_MAX);
		if (ret < 0)
			return error_set(why, ret, "no memory for its page tables");
	} while (count);
	return 0;
}

int tables_create(struct tables *ret_tables, const struct trace *trace, struct error *why)
{
	CLEANUP_FREE struct trace_reference *references =
		malloc(TRACE_BLOCK_REFERENCES_MAX * sizeof(*references));
	uint32_t root;
	int ret;

	*ret_tables = (struct tables){ 0 };
	if (!references || add_upper(ret_tables, &root) < 0)
		return error_set(why, -ENOMEM, "no memory for its page tables");
	ret = touch_all(ret_tables, trace, references, why);
	if (ret < 0)
		tables_destroy(ret_tables);
	return ret;
}

void tables_destroy(struct tables *tables)
{
	free(tables->upper);
	free(tables->leaf_vpn);
	free(tables->touched);
	*tables = (struct tables){ 0 };
}

struct tables_path tables_find(const struct tables *tables, uint64_t vpn)
{
	struct tables_path path;
	uint32_t table = 0;

	for (unsigned i = 0; i < TABLES_UPPER_LEVELS; i++) {
		uint32_t index = index_of(vpn, TABLES_UPPER_LEVELS - i);

		path.upper_entries[i] = table * TABLES_ENTRIES + index;
		table = tables->upper[table][index];
	}
	path.page = table * TABLES_ENTRIES + (uint32_t)(vpn % TABLES_ENTRIES);
	return path;
}
