/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "format/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The region of the corpus. */
#define REGION_BYTES (768 * 4096ull)
#define PACKED_PAGES 100
#define GENERATION 6

union block {
	uint8_t bytes[IMAGE_BLOCK_BYTES];
	struct image_head head;
	struct image_commit commit;
	struct image_table_block table;
};

/* What is right with a block that is taken for one: every use of it stays within the image. */
static void use_head(const struct image_head *head)
{
	struct image_layout layout;
	struct error why;

	if (image_head_check(head, &why))
		return;
	if (image_layout_of(le64_get(head->region_bytes), le64_get(head->packed_pages), &layout,
			    &why) ||
	    !memchr(head->name, 0, sizeof(head->name)))
		abort();
	if (image_offset(&layout, 1, layout.page_count - 1, IMAGE_HOME_B) >= layout.bytes ||
	    image_offset(&layout, 1, 0, IMAGE_PACKED + (uint32_t)(layout.packed_pages - 1)) >=
		    layout.bytes)
		abort();
}

static void use_commit(const struct image_commit *commit)
{
	struct image_head head = { .region_bytes = le64_of(REGION_BYTES),
				   .packed_pages = le64_of(PACKED_PAGES) };
	struct error why;

	for (uint8_t i = 0; i < IMAGE_ID_BYTES; i++)
		head.region_id[i] = i;
	if (!image_commit_check(commit, &head, &why) &&
	    (le64_get(commit->generation) == 0 || le64_get(commit->pages_packed) > PACKED_PAGES ||
	     le32_get(commit->reason) >= IMAGE_REASONS))
		abort();
}

static void use_table(const struct image_table_block *block, uint64_t index)
{
	struct image_layout layout;
	struct error why;

	if (image_layout_of(REGION_BYTES, PACKED_PAGES, &layout, &why))
		abort();
	if (image_table_block_check(block, GENERATION, index, &layout, &why))
		return;
	for (uint32_t i = 0; i < IMAGE_TABLE_ENTRIES; i++) {
		uint32_t place = le32_get(block->entries[i].place);
		uint64_t page = index * IMAGE_TABLE_ENTRIES + i;

		if (place != IMAGE_NOWHERE &&
		    image_offset(&layout, GENERATION, page, place) > layout.bytes - 4096)
			abort();
	}
}

static void use(const union block *block, uint8_t kind)
{
	if (kind == 0)
		use_head(&block->head);
	else if (kind == 1)
		use_commit(&block->commit);
	else
		use_table(&block->table, kind - 2u);
}

/*
 * The first byte says what the block is to be, a head, a record or one of two blocks of a table;
 * what is short is zeros. Once as it is, and once with a right checksum, which lets mutations come
 * through to what is behind it.
 */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	union block block = { 0 };
	uint8_t kind = length ? bytes[0] % 4 : 0;
	size_t at = kind < 2 ? offsetof(struct image_head, checksum)
			     : offsetof(struct image_table_block, checksum);
	le32 sum = le32_of(0);

	if (length > 1)
		memcpy(block.bytes, bytes + 1,
		       length - 1 < sizeof(block) ? length - 1 : sizeof(block));
	use(&block, kind);
	memcpy(block.bytes + at, &sum, sizeof(sum));
	sum = le32_of(crc32c(&block, sizeof(block)));
	memcpy(block.bytes + at, &sum, sizeof(sum));
	use(&block, kind);
	return 0;
}
