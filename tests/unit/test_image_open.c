/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"
#include "image_fixture.h"
#include "suite.h"

START_TEST(a_damaged_table_gives_the_generation_before_loudly)
{
	struct image *image;

	make_two(10);
	damage(layout.table[1] + IMAGE_BLOCK_BYTES + 100);
	image = open_image();
	ck_assert_ptr_nonnull(strstr(loss.text, "block 1 of the table of generation 3"));
	ck_assert_ptr_nonnull(
		strstr(loss.text, "generation 2 of 1970-01-01 00:00:00 UTC is taken"));
	ck_assert_uint_eq(image_generation(image), 2);
	expect_all(image, 1000);
	image = reopen(image); /* nothing was written: as before */
	ck_assert_str_ne(loss.text, "");
	ck_assert_int_eq(put(image, 0, 9000, IMAGE_FLUSH), 0);
	ck_assert_int_eq(image_drain(image), 0);
	image = reopen(image); /* its record is withdrawn, as its pages may be overwritten */
	ck_assert_str_eq(loss.text, "");
	expect_all(image, 1000);
	image_close(image);
}
END_TEST

START_TEST(a_damaged_table_and_a_page_gone_before_is_refused)
{
	struct image *image;

	make_two(10);
	image = open_image();
	ck_assert_int_eq(put(image, 0, 3000, IMAGE_FLUSH), 0); /* where generation 2 has it */
	ck_assert_int_eq(image_drain(image), 0);
	image_close(image);
	damage(layout.table[1]);
	ck_assert_int_eq(open_error("no generation is whole"), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(why.text, "page 0 of generation 2 is damaged"));
	damage(layout.table[1]);
	image_close(open_image());
	sim->read_errors = 10000;
	ck_assert_int_eq(open_error("the first block cannot be read"), -EIO);
}
END_TEST

START_TEST(a_damaged_record_is_told_and_all_pages_are_checked)
{
	struct image *image;

	make_two(10);
	damage(2 * IMAGE_BLOCK_BYTES + 40); /* of generation 3 */
	image = open_image();
	ck_assert_ptr_nonnull(strstr(loss.text, "what a later one saved, if there was one"));
	ck_assert_uint_eq(image_generation(image), 2);
	expect_all(image, 1000);
	image_close(image);
	damage(layout.home[0] + 99 * PAGE_BYTES);
	ck_assert_int_eq(open_error("page 99 of generation 2 is damaged"), -EBADMSG);
	damage(1 * IMAGE_BLOCK_BYTES + 40);
	ck_assert_int_eq(open_error("no generation is whole"), -EBADMSG);
}
END_TEST

START_TEST(a_damaged_page_is_an_error_that_names_it)
{
	struct image *image;

	make_two(10);
	damage(layout.home[0] + 40 * PAGE_BYTES + 4000);
	image = open_image();
	ck_assert_int_eq(image_read(image, 0, 256, pages, &why), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(why.text, "page 40 of generation 3 is damaged"));
	expect(image, 39, 1039);
	sim->read_errors = 10000;
	ck_assert_int_eq(image_read(image, 39, 1, pages, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.text, "page 39 of generation 3 cannot be read"));
	image_close(image);
}
END_TEST

static void change_head(void (*change)(struct image_head *head))
{
	struct image_head head;

	memcpy(&head, sim->durable, sizeof(head));
	change(&head);
	memcpy(sim->durable, &head, sizeof(head));
	memcpy(sim->now, &head, sizeof(head));
}

/* The seal sets the version, so the checksum of another is found by trying the block's own rule. */
static void set_version(struct image_head *head)
{
	head->version = le32_of(IMAGE_VERSION + 1);
	head->checksum = le32_of(0);
	head->checksum = le32_of(crc32c(head, sizeof(*head)));
}

static void set_host(struct image_head *head)
{
	head->host_id[0] ^= 1;
	image_head_seal(head);
}

static void set_size(struct image_head *head)
{
	head->region_bytes = le64_of(config.region_bytes + 2 * IMAGE_PART_BYTES);
	image_head_seal(head);
}

static void set_region(struct image_head *head)
{
	head->region_id[0] ^= 1;
	image_head_seal(head);
}

static void set_nothing(struct image_head *head)
{
	memset(head, 0, sizeof(*head));
}

START_TEST(a_newer_version_is_refused_untouched)
{
	struct image_commit commit_block;

	change_head(set_version);
	ck_assert_int_eq(open_error("has version 2 of the format, newer than 1"), -ENOTSUP);
	change_head(image_head_seal);
	image_close(open_image());
	memcpy(&commit_block, sim->durable + 2 * IMAGE_BLOCK_BYTES, sizeof(commit_block));
	commit_block.version = le32_of(IMAGE_VERSION + 1);
	commit_block.checksum = le32_of(0);
	commit_block.checksum = le32_of(crc32c(&commit_block, sizeof(commit_block)));
	memcpy(sim->now + IMAGE_BLOCK_BYTES, &commit_block, sizeof(commit_block));
	ck_assert_int_eq(open_error("the commit record has version 2"), -ENOTSUP);
}
END_TEST

START_TEST(what_is_no_image_of_here_is_refused_untouched)
{
	struct image *image;

	change_head(set_host);
	ck_assert_int_eq(open_error("another host"), -EXDEV);
	ck_assert_int_eq(image_open(&sim->base, NULL, &image, &loss, &why), 0);
	image_close(image);
	change_head(set_host);
	change_head(set_size);
	ck_assert_int_eq(open_error("the image was cut off"), -EBADMSG);
	damage(60);
	ck_assert_int_eq(open_error("the first block's checksum"), -EBADMSG);
	change_head(set_nothing);
	ck_assert_int_eq(open_error("this is no image"), -EBADMSG);
	sim->base.bytes = 2 * IMAGE_BLOCK_BYTES;
	ck_assert_int_eq(open_error("too short"), -EBADMSG);
	sim->base.bytes = layout.bytes;
}
END_TEST

START_TEST(records_of_another_region_are_none)
{
	change_head(set_region);
	ck_assert_int_eq(open_error("no generation is whole"), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(why.text, "of another region"));
}
END_TEST

START_TEST(an_image_is_made_whole_or_not)
{
	struct image_config other = config;
	struct image *image;
	uint64_t bytes;

	other.region_bytes = 0;
	ck_assert_int_eq(image_bytes(&other, &bytes, &why), -EINVAL);
	ck_assert_int_eq(image_format(&sim->base, &other, &why), -EINVAL);
	other.region_bytes = 16 * MIB;
	ck_assert_int_eq(image_format(&sim->base, &other, &why), -ENOSPC);
	image_close(open_image()); /* it was not touched */
	for (uint32_t calls = 1;; calls++) {
		int err;

		sim->calls_until_off = calls;
		err = image_format(&sim->base, &config, &why);
		disk_sim_cut(sim);
		if (!err)
			break;
		err = image_open(&sim->base, config.host_id, &image, &loss, &why);
		ck_assert(!err || err == -EBADMSG);
		if (!err) {
			ck_assert_uint_eq(image_generation(image), 1);
			expect_all(image, 0);
			image_close(image);
		}
	}
	image_close(open_image());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("image_open");
	TCase *tcase = tcase_create("image_open");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, a_damaged_table_gives_the_generation_before_loudly);
	tcase_add_test(tcase, a_damaged_table_and_a_page_gone_before_is_refused);
	tcase_add_test(tcase, a_damaged_record_is_told_and_all_pages_are_checked);
	tcase_add_test(tcase, a_damaged_page_is_an_error_that_names_it);
	tcase_add_test(tcase, a_newer_version_is_refused_untouched);
	tcase_add_test(tcase, what_is_no_image_of_here_is_refused_untouched);
	tcase_add_test(tcase, records_of_another_region_are_none);
	tcase_add_test(tcase, an_image_is_made_whole_or_not);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
