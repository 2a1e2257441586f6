/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "format/image.h"
#include "suite.h"

#define GOLDEN_GENERATION 6
#define GOLDEN_PAGES 768
#define GOLDEN_PACKED 100

/* Version 1 as it is on disks: a head, a record and the table's two blocks. */
struct blocks {
	struct image_head head;
	struct image_commit commit;
	struct image_table_block table[2];
};

static struct blocks blocks;
static struct image_layout layout;
static struct error why;

static void set_entry(uint64_t page, uint32_t place, uint32_t checksum)
{
	struct image_table_block *block = &blocks.table[page / IMAGE_TABLE_ENTRIES];

	block->entries[page % IMAGE_TABLE_ENTRIES] =
		(struct image_entry){ le32_of(place), le32_of(checksum) };
}

static void make_blocks(void)
{
	uint32_t sum = 0;

	memset(&blocks, 0, sizeof(blocks));
	for (uint8_t i = 0; i < IMAGE_ID_BYTES; i++) {
		blocks.head.region_id[i] = blocks.commit.region_id[i] = i;
		blocks.head.host_id[i] = 0xa0 + i;
	}
	blocks.head.region_bytes = le64_of(GOLDEN_PAGES * PAGE_BYTES);
	blocks.head.packed_pages = le64_of(GOLDEN_PACKED);
	blocks.head.created_unix_ns = le64_of(1700000000123456789);
	strcpy(blocks.head.name, "orders");
	image_head_seal(&blocks.head);
	set_entry(0, IMAGE_HOME_A, 0x11111111);
	set_entry(1, IMAGE_HOME_B, 0x22222222);
	set_entry(3, IMAGE_PACKED, 0x33333333);
	set_entry(509, IMAGE_PACKED + 99, 0x44444444);
	set_entry(510, IMAGE_HOME_B, 0x55555555);
	set_entry(767, IMAGE_PACKED + 7, 0);
	for (uint32_t i = 0; i < 2; i++) {
		blocks.table[i].index = le32_of(i);
		blocks.table[i].generation = le64_of(GOLDEN_GENERATION);
		image_table_block_seal(&blocks.table[i]);
		sum = image_table_checksum(sum, &blocks.table[i]);
	}
	blocks.commit.generation = le64_of(GOLDEN_GENERATION);
	blocks.commit.saved_unix_ns = le64_of(1700000001123456789);
	blocks.commit.pages_packed = le64_of(100);
	blocks.commit.reason = le32_of(IMAGE_POWER);
	blocks.commit.table_checksum = le32_of(sum);
	image_commit_seal(&blocks.commit);
	ck_assert_int_eq(image_layout_of(GOLDEN_PAGES * PAGE_BYTES, GOLDEN_PACKED, &layout, &why),
			 0);
}

static int table_check(uint32_t index)
{
	return image_table_block_check(&blocks.table[index], GOLDEN_GENERATION, index, &layout,
				       &why);
}

static void expect_words(const char *words)
{
	ck_assert_msg(strstr(why.text, words), "no \"%s\" in \"%s\"", words, why.text);
}

/* This file never changes: a change is a new version, with a file of its own. */
START_TEST(test_golden_bytes)
{
	struct blocks golden;
	FILE *file = fopen(GOLDEN_FOLDER "/image-v1.bin", "r");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fread(&golden, 1, sizeof(golden), file), sizeof(golden));
	ck_assert_int_eq(getc(file), EOF);
	fclose(file);
	ck_assert(!memcmp(&golden.head, &blocks.head, sizeof(golden.head)));
	ck_assert(!memcmp(&golden.commit, &blocks.commit, sizeof(golden.commit)));
	ck_assert(!memcmp(&golden.table, &blocks.table, sizeof(golden.table)));
}
END_TEST

START_TEST(test_what_is_sealed_is_right)
{
	ck_assert_int_eq(image_head_check(&blocks.head, &why), 0);
	ck_assert_int_eq(image_commit_check(&blocks.commit, &blocks.head, &why), 0);
	ck_assert_int_eq(table_check(0), 0);
	ck_assert_int_eq(table_check(1), 0);
}
END_TEST

START_TEST(test_every_changed_bit_is_told)
{
	uint8_t *bytes = (uint8_t *)&blocks;

	for (size_t at = 0; at < sizeof(blocks); at++) {
		int err;

		bytes[at] ^= 1 << at % 8;
		if (at < IMAGE_BLOCK_BYTES)
			err = image_head_check(&blocks.head, &why);
		else if (at < 2 * IMAGE_BLOCK_BYTES)
			err = image_commit_check(&blocks.commit, &blocks.head, &why);
		else
			err = table_check(at < 3 * IMAGE_BLOCK_BYTES ? 0 : 1);
		ck_assert_msg(err == -EBADMSG, "byte %zu: %d", at, err);
		bytes[at] ^= 1 << at % 8;
	}
}
END_TEST

/* The rule of the checksum, said again: of the block with 0 where it stands. */
static void seal_version(void *block, le32 *version, le32 *checksum, uint32_t number)
{
	*version = le32_of(number);
	*checksum = le32_of(0);
	*checksum = le32_of(crc32c(block, IMAGE_BLOCK_BYTES));
}

START_TEST(test_versions)
{
	seal_version(&blocks.head, &blocks.head.version, &blocks.head.checksum, 2);
	ck_assert_int_eq(image_head_check(&blocks.head, &why), -ENOTSUP);
	expect_words("version 2 of the format, newer than 1");
	seal_version(&blocks.head, &blocks.head.version, &blocks.head.checksum, 0);
	ck_assert_int_eq(image_head_check(&blocks.head, &why), -EBADMSG);
	seal_version(&blocks.commit, &blocks.commit.version, &blocks.commit.checksum, 7);
	ck_assert_int_eq(image_commit_check(&blocks.commit, &blocks.head, &why), -ENOTSUP);
	blocks.head.version = le32_of(3); /* its checksum is of another version */
	ck_assert_int_eq(image_head_check(&blocks.head, &why), -EBADMSG);
}
END_TEST

/* Blocks with right checksums that nobody would write. */
START_TEST(test_impossible_heads_are_told)
{
	static const uint64_t sizes[] = { 0, 4095, 4097, (IMAGE_PAGES_MAX + 1) * 4096, UINT64_MAX };
	static const uint64_t packed[] = { 0, IMAGE_PACKED_PAGES_MAX + 1, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		blocks.head.region_bytes = le64_of(sizes[i]);
		image_head_seal(&blocks.head);
		ck_assert_int_eq(image_head_check(&blocks.head, &why), -EBADMSG);
		expect_words("no image can be of a region of");
	}
	make_blocks();
	for (size_t i = 0; i < ARRAY_COUNT(packed); i++) {
		blocks.head.packed_pages = le64_of(packed[i]);
		image_head_seal(&blocks.head);
		ck_assert_int_eq(image_head_check(&blocks.head, &why), -EBADMSG);
		expect_words("packed areas");
	}
	make_blocks();
	memset(blocks.head.name, 'a', sizeof(blocks.head.name));
	image_head_seal(&blocks.head);
	ck_assert_int_eq(image_head_check(&blocks.head, &why), -EBADMSG);
	make_blocks();
	blocks.head.zeros[sizeof(blocks.head.zeros) - 1] = 1;
	image_head_seal(&blocks.head);
	ck_assert_int_eq(image_head_check(&blocks.head, &why), -EBADMSG);
}
END_TEST

static void expect_bad_commit(const char *words)
{
	image_commit_seal(&blocks.commit);
	ck_assert_int_eq(image_commit_check(&blocks.commit, &blocks.head, &why), -EBADMSG);
	expect_words(words);
	make_blocks();
}

START_TEST(test_impossible_records_are_told)
{
	blocks.commit.generation = le64_of(0);
	expect_bad_commit("what cannot be");
	blocks.commit.reason = le32_of(IMAGE_REASONS);
	expect_bad_commit("what cannot be");
	blocks.commit.pages_packed = le64_of(GOLDEN_PACKED + 1);
	expect_bad_commit("what cannot be");
	blocks.commit.zeros[0] = 1;
	expect_bad_commit("what cannot be");
	blocks.commit.region_id[15] ^= 1;
	expect_bad_commit("another region");
	memset(&blocks.commit, 0, sizeof(blocks.commit));
	ck_assert_int_eq(image_commit_check(&blocks.commit, &blocks.head, &why), -ENODATA);
	memcpy(&blocks.commit, &blocks.head, sizeof(blocks.commit));
	ck_assert_int_eq(image_commit_check(&blocks.commit, &blocks.head, &why), -EBADMSG);
}
END_TEST

static void expect_bad_table(uint32_t index, const char *words)
{
	image_table_block_seal(&blocks.table[index]);
	ck_assert_int_eq(table_check(index), -EBADMSG);
	expect_words(words);
	make_blocks();
}

START_TEST(test_impossible_table_blocks_are_told)
{
	set_entry(5, IMAGE_PACKED + GOLDEN_PACKED, 1);
	expect_bad_table(0, "an entry says what cannot be");
	set_entry(5, UINT32_MAX, 1);
	expect_bad_table(0, "an entry says what cannot be");
	set_entry(5, IMAGE_NOWHERE, 1);
	expect_bad_table(0, "an entry says what cannot be");
	set_entry(GOLDEN_PAGES, IMAGE_HOME_A, 1); /* behind the region's end */
	expect_bad_table(1, "an entry says what cannot be");
	blocks.table[1].index = le32_of(0);
	expect_bad_table(1, "it belongs elsewhere");
	blocks.table[0].generation = le64_of(GOLDEN_GENERATION - 2);
	expect_bad_table(0, "block 0 of the table of generation 6: it is of another generation");
}
END_TEST

/* Parts follow one another, each at a multiple of its alignment, and every place is in its own. */
START_TEST(test_parts_do_not_meet)
{
	static const struct {
		uint64_t pages, packed;
	} rows[] = {
		{ 1, 1 },     { 510, 511 },	    { 511, 1 },
		{ 768, 100 }, { 1 << 20, 1 << 18 }, { IMAGE_PAGES_MAX, IMAGE_PACKED_PAGES_MAX }
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint64_t bytes = rows[i].pages * PAGE_BYTES, last = rows[i].pages - 1;
		uint32_t packed_last = IMAGE_PACKED + (uint32_t)(rows[i].packed - 1);

		ck_assert_int_eq(image_layout_of(bytes, rows[i].packed, &layout, &why), 0);
		ck_assert_uint_eq(layout.table_blocks, (rows[i].pages + 509) / 510);
		ck_assert_uint_ge(layout.table[0], 3 * IMAGE_BLOCK_BYTES);
		ck_assert_uint_ge(layout.table[1] - layout.table[0],
				  layout.table_blocks * IMAGE_BLOCK_BYTES);
		ck_assert_uint_ge(layout.home[0] - layout.table[1],
				  layout.table_blocks * IMAGE_BLOCK_BYTES);
		ck_assert_uint_ge(layout.home[1] - layout.home[0], bytes);
		ck_assert_uint_ge(layout.packed[0] - layout.home[1], bytes);
		ck_assert_uint_ge(layout.packed[1] - layout.packed[0], rows[i].packed * PAGE_BYTES);
		ck_assert_uint_ge(layout.bytes - layout.packed[1], rows[i].packed * PAGE_BYTES);
		ck_assert_uint_eq((layout.table[1] | layout.home[0] | layout.home[1] |
				   layout.packed[0] | layout.packed[1] | layout.bytes) %
					  IMAGE_PART_BYTES,
				  0);
		ck_assert_uint_eq(image_offset(&layout, 8, last, IMAGE_HOME_A),
				  layout.home[0] + bytes - PAGE_BYTES);
		ck_assert_uint_eq(image_offset(&layout, 9, 0, IMAGE_HOME_B), layout.home[1]);
		ck_assert_uint_eq(image_offset(&layout, 9, 0, packed_last),
				  layout.packed[1] + (rows[i].packed - 1) * PAGE_BYTES);
		ck_assert_uint_eq(image_offset(&layout, 8, last, IMAGE_PACKED), layout.packed[0]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("image_format");
	TCase *tcase = tcase_create("image_format");

	tcase_add_checked_fixture(tcase, make_blocks, NULL);
	tcase_add_test(tcase, test_golden_bytes);
	tcase_add_test(tcase, test_what_is_sealed_is_right);
	tcase_add_test(tcase, test_every_changed_bit_is_told);
	tcase_add_test(tcase, test_versions);
	tcase_add_test(tcase, test_impossible_heads_are_told);
	tcase_add_test(tcase, test_impossible_records_are_told);
	tcase_add_test(tcase, test_impossible_table_blocks_are_told);
	tcase_add_test(tcase, test_parts_do_not_meet);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
