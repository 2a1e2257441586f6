/* SPDX-License-Identifier: Apache-2.0 */
#include "format/image.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/units.h"

_Static_assert(PAGE_BYTES == IMAGE_BLOCK_BYTES, "a page is a block");

/* The next part of so many bytes; *at moves behind it. */
static uint64_t take_part(uint64_t *at, uint64_t bytes)
{
	uint64_t begin = *at;

	*at = (begin + bytes + IMAGE_PART_BYTES - 1) / IMAGE_PART_BYTES * IMAGE_PART_BYTES;
	return begin;
}

int image_layout_of(uint64_t region_bytes, uint64_t packed_pages, struct image_layout *ret_layout,
		    struct error *why)
{
	struct image_layout layout = { .page_count = region_bytes / PAGE_BYTES,
				       .packed_pages = packed_pages };
	char most[UNITS_TEXT_BYTES];
	uint64_t at = 0;

	if (region_bytes == 0 || region_bytes % PAGE_BYTES || layout.page_count > IMAGE_PAGES_MAX)
		return error_set(why, -EINVAL,
				 "no image can be of a region of %" PRIu64
				 " bytes: it has whole pages of %u bytes, and at most %s",
				 region_bytes, IMAGE_BLOCK_BYTES,
				 format_size(IMAGE_PAGES_MAX * PAGE_BYTES, most));
	if (packed_pages == 0 || packed_pages > IMAGE_PACKED_PAGES_MAX)
		return error_set(why, -EINVAL,
				 "no image can have packed areas of %" PRIu64
				 " pages: they have from 1 to %llu",
				 packed_pages, IMAGE_PACKED_PAGES_MAX);
	layout.table_blocks = (layout.page_count + IMAGE_TABLE_ENTRIES - 1) / IMAGE_TABLE_ENTRIES;
	take_part(&at, 3 * IMAGE_BLOCK_BYTES);
	for (int i = 0; i < 2; i++)
		layout.table[i] = take_part(&at, layout.table_blocks * IMAGE_BLOCK_BYTES);
	for (int i = 0; i < 2; i++)
		layout.home[i] = take_part(&at, region_bytes);
	for (int i = 0; i < 2; i++)
		layout.packed[i] = take_part(&at, packed_pages * PAGE_BYTES);
	layout.bytes = at;
	*ret_layout = layout;
	return 0;
}

uint64_t image_offset(const struct image_layout *layout, uint64_t generation, uint64_t page,
		      uint32_t place)
{
	assert(page < layout->page_count && place != IMAGE_NOWHERE);
	if (place >= IMAGE_PACKED) {
		assert(place - IMAGE_PACKED < layout->packed_pages);
		return layout->packed[generation % 2] + (place - IMAGE_PACKED) * PAGE_BYTES;
	}
	return layout->home[place - IMAGE_HOME_A] + page * PAGE_BYTES;
}

/* Of the whole block, with 0 where its checksum stands. */
static uint32_t block_sum(const void *block, size_t checksum_at)
{
	static const le32 none;
	const uint8_t *bytes = block;
	size_t rest_at = checksum_at + sizeof(none);
	uint32_t sum = crc32c(bytes, checksum_at);

	sum = crc32c_append(sum, &none, sizeof(none));
	return crc32c_append(sum, bytes + rest_at, IMAGE_BLOCK_BYTES - rest_at);
}

static bool all_zeros(const uint8_t *bytes, size_t byte_count)
{
	return bytes[0] == 0 && !memcmp(bytes, bytes + 1, byte_count - 1);
}

void image_head_seal(struct image_head *head)
{
	head->magic = le64_of(IMAGE_MAGIC);
	head->version = le32_of(IMAGE_VERSION);
	head->checksum = le32_of(block_sum(head, offsetof(struct image_head, checksum)));
}

void image_commit_seal(struct image_commit *commit)
{
	commit->magic = le64_of(IMAGE_COMMIT_MAGIC);
	commit->version = le32_of(IMAGE_VERSION);
	commit->checksum = le32_of(block_sum(commit, offsetof(struct image_commit, checksum)));
}

void image_table_block_seal(struct image_table_block *block)
{
	block->checksum = le32_of(block_sum(block, offsetof(struct image_table_block, checksum)));
}

uint32_t image_table_checksum(uint32_t sum, const struct image_table_block *block)
{
	return crc32c_append(sum, &block->checksum, sizeof(block->checksum));
}

/* Version and checksum stand at the same place in every version of a head and of a record. */
static int check_version(le32 version, const char *what, struct error *why)
{
	uint32_t number = le32_get(version);

	if (number > IMAGE_VERSION)
		return error_set(why, -ENOTSUP,
				 "%s has version %u of the format, newer than %u, which this "
				 "version of Perdure reads: use the version that wrote it",
				 what, number, IMAGE_VERSION);
	if (number != IMAGE_VERSION)
		return error_set(why, -EBADMSG, "%s has version %u, which never was", what, number);
	return 0;
}

int image_head_check(const struct image_head *head, struct error *why)
{
	struct image_layout layout;
	int err;

	if (le64_get(head->magic) != IMAGE_MAGIC)
		return error_set(why, -EBADMSG, "this is no image (perdure-image(5))");
	if (le32_get(head->checksum) != block_sum(head, offsetof(struct image_head, checksum)))
		return error_set(why, -EBADMSG, "the first block's checksum is wrong");
	err = check_version(head->version, "the image", why);
	if (err)
		return err;
	if (!memchr(head->name, 0, sizeof(head->name)) ||
	    !all_zeros(head->zeros, sizeof(head->zeros)))
		return error_set(why, -EBADMSG, "the first block's name or zeros are wrong");
	if (image_layout_of(le64_get(head->region_bytes), le64_get(head->packed_pages), &layout,
			    why))
		return -EBADMSG;
	return 0;
}

int image_commit_check(const struct image_commit *commit, const struct image_head *head,
		       struct error *why)
{
	int err;

	if (all_zeros((const uint8_t *)commit, sizeof(*commit)))
		return error_set(why, -ENODATA, "there is no commit record");
	if (le64_get(commit->magic) != IMAGE_COMMIT_MAGIC)
		return error_set(why, -EBADMSG, "the commit record is none");
	if (le32_get(commit->checksum) !=
	    block_sum(commit, offsetof(struct image_commit, checksum)))
		return error_set(why, -EBADMSG, "the commit record's checksum is wrong");
	err = check_version(commit->version, "the commit record", why);
	if (err)
		return err;
	if (memcmp(commit->region_id, head->region_id, sizeof(head->region_id)) != 0)
		return error_set(why, -EBADMSG, "the commit record is of another region");
	if (le64_get(commit->generation) == 0 || le32_get(commit->reason) >= IMAGE_REASONS ||
	    le64_get(commit->pages_packed) > le64_get(head->packed_pages) ||
	    !all_zeros(commit->zeros, sizeof(commit->zeros)))
		return error_set(why, -EBADMSG, "the commit record says what cannot be");
	return 0;
}

static bool entry_can_be(const struct image_entry *entry, uint64_t page,
			 const struct image_layout *layout)
{
	uint32_t place = le32_get(entry->place);

	if (place == IMAGE_NOWHERE)
		return le32_get(entry->checksum) == 0;
	if (page >= layout->page_count)
		return false;
	return place < IMAGE_PACKED || place - IMAGE_PACKED < layout->packed_pages;
}

int image_table_block_check(const struct image_table_block *block, uint64_t generation,
			    uint64_t index, const struct image_layout *layout, struct error *why)
{
	const char *wrong = NULL;

	if (le32_get(block->checksum) !=
	    block_sum(block, offsetof(struct image_table_block, checksum)))
		wrong = "its checksum is wrong";
	else if (le64_get(block->generation) != generation)
		wrong = "it is of another generation";
	else if (le32_get(block->index) != index)
		wrong = "it belongs elsewhere";
	for (uint32_t i = 0; i < IMAGE_TABLE_ENTRIES && !wrong; i++)
		if (!entry_can_be(&block->entries[i], index * IMAGE_TABLE_ENTRIES + i, layout))
			wrong = "an entry says what cannot be";
	if (!wrong)
		return 0;
	return error_set(why, -EBADMSG,
			 "block %" PRIu64 " of the table of generation %" PRIu64 ": %s", index,
			 generation, wrong);
}
