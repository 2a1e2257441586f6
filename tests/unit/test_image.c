/* SPDX-License-Identifier: Apache-2.0 */
#include "image_fixture.h"
#include "suite.h"

START_TEST(an_empty_image_is_zeros)
{
	struct image *image = open_image();

	ck_assert_str_eq(loss.text, "");
	ck_assert_uint_eq(image_generation(image), 1);
	ck_assert_str_eq(image_head_of(image)->name, "orders");
	ck_assert_uint_eq(le32_get(image_commit_record(image)->reason), IMAGE_CREATED);
	ck_assert_uint_eq(image_place(image, PAGES - 1), IMAGE_NOWHERE);
	ck_assert_uint_eq(image_commit_bytes(image), 3 * IMAGE_BLOCK_BYTES);
	memset(pages, 1, IMAGE_READ_PAGES_MAX * PAGE_BYTES);
	ck_assert_int_eq(image_read(image, PAGES - 256, 256, pages, &why), 0);
	for (uint64_t i = 0; i < 256 * PAGE_BYTES; i++)
		if (pages[i])
			ck_abort_msg("byte %d is not 0", (int)i);
	expect_all(image, 0);
	image_close(image);
}
END_TEST

START_TEST(homes_change_with_each_generation)
{
	struct image *image = open_image();

	ck_assert_int_eq(put(image, 7, 100, IMAGE_FLUSH), 0);
	expect(image, 7, 0); /* what is committed */
	commit(image);
	ck_assert_uint_eq(image_place(image, 7), IMAGE_HOME_A);
	ck_assert_int_eq(put(image, 7, 101, IMAGE_FLUSH), 0);
	ck_assert_int_eq(put(image, 8, 200, IMAGE_FLUSH), 0);
	commit(image);
	ck_assert_uint_eq(image_place(image, 7), IMAGE_HOME_B);
	ck_assert_uint_eq(image_place(image, 8), IMAGE_HOME_A);
	ck_assert_int_eq(put(image, 7, 0, IMAGE_FLUSH), 0);
	commit(image);
	image = reopen(image);
	ck_assert_uint_eq(image_generation(image), 4);
	ck_assert_uint_eq(le64_get(image_commit_record(image)->saved_unix_ns), 42);
	ck_assert_uint_eq(image_place(image, 7), IMAGE_NOWHERE);
	expect(image, 7, 0);
	expect(image, 8, 200);
	image_close(image);
}
END_TEST

START_TEST(packing_is_one_sequence_of_large_writes)
{
	struct image *image = open_image();
	uint64_t submitted = sim->submitted;
	const struct image_counters *counters = image_counters(image);

	for (uint64_t i = 0; i < PAGES; i++) /* 7 and 600 have no common divisor */
		ck_assert_int_eq(put(image, i * 7 % PAGES, i + 1, IMAGE_PACK), 0);
	ck_assert_int_eq(image_drain(image), 0);
	/* 400 packed in buffers of 64, the last of them cut off by the first at home. */
	ck_assert_uint_eq(counters->pages_packed, PACKED);
	ck_assert_uint_eq(counters->pages_flushed, PAGES - PACKED);
	ck_assert_uint_eq(counters->bytes_written, PAGES * PAGE_BYTES);
	ck_assert_uint_eq(sim->submitted - submitted, 7 + (PAGES - PACKED));
	for (uint32_t i = 0; i < 7; i++)
		ck_assert_uint_eq(sim->writes[i].offset % (64 * PAGE_BYTES), 0);
	commit(image);
	ck_assert_uint_eq(le64_get(image_commit_record(image)->pages_packed), PACKED);
	image = reopen(image);
	for (uint64_t i = 0; i < PAGES; i++)
		expect(image, i * 7 % PAGES, i + 1);
	ck_assert_uint_eq(image_place(image, 7), IMAGE_PACKED);
	image_close(image);
}
END_TEST

/* I4: a packed page that nobody put again is in a home when the next generation is committed. */
START_TEST(packed_pages_outlive_their_area)
{
	struct image *image = open_image();

	put_all(image, 1000, IMAGE_PACK);
	commit(image);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(put(image, 0, 1000, IMAGE_PACK), 0);
		commit(image);
		ck_assert_uint_eq(image_place(image, 0), IMAGE_PACKED);
		ck_assert_uint_ne(image_place(image, 1), IMAGE_PACKED);
	}
	image = reopen(image);
	expect_all(image, 1000);
	image_close(image);
}
END_TEST

START_TEST(a_page_put_twice_is_the_later_one)
{
	static const enum image_way ways[] = { IMAGE_FLUSH, IMAGE_PACK };
	struct image *image = open_image();

	for (uint64_t i = 0; i < 400; i++)
		ck_assert_int_eq(put(image, i % 5, i + 1, ways[i / 3 % 2]), 0);
	commit(image);
	image = reopen(image);
	for (uint64_t i = 395; i < 400; i++)
		expect(image, i % 5, i + 1);
	image_close(image);
}
END_TEST

static uint64_t put_failed_again(struct image *image, uint64_t number)
{
	uint64_t count = 0, at;

	for (; image_put_failed(image, &at); count++)
		ck_assert_int_eq(put(image, at, number + at, IMAGE_PACK), 0);
	return count;
}

START_TEST(a_commit_fails_until_failed_pages_are_put_again)
{
	struct image *image = open_image();
	uint64_t at;

	put_all(image, 1000, IMAGE_FLUSH);
	commit(image);
	sim->write_errors = 10000;
	ck_assert_int_eq(put(image, 3, 2003, IMAGE_FLUSH), 0);
	ck_assert_int_lt(image_drain(image), 0);
	ck_assert_int_eq(image_drain(image), 0); /* told once */
	ck_assert_int_eq(image_commit(image, IMAGE_POWER, 43, &why), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(why.text, "1 pages that could not be written"));
	ck_assert_uint_eq(image_generation(image), 2);
	expect_all(image, 1000);
	ck_assert(image_put_failed(image, &at));
	ck_assert_uint_eq(at, 3);
	ck_assert(!image_put_failed(image, &at));
	ck_assert_int_eq(image_commit(image, IMAGE_POWER, 43, &why), -EBADMSG);
	disk_sim_calm(sim);
	ck_assert_uint_eq(put_failed_again(image, 2000), 1);
	commit(image);
	image = reopen(image);
	expect(image, 3, 2003);
	expect(image, 4, 1004);
	image_close(image);
}
END_TEST

/* After a sync that failed nothing is known of what was written since the one before. */
START_TEST(after_a_failed_sync_all_pages_have_failed)
{
	struct image *image = open_image();

	for (uint64_t at = 0; at < 10; at++)
		ck_assert_int_eq(put(image, at, at < 9 ? 3000 + at : 0, IMAGE_FLUSH), 0);
	sim->sync_errors = 10000;
	ck_assert_int_eq(image_commit(image, IMAGE_COMMANDED, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.text, "cannot be made durable"));
	disk_sim_calm(sim);
	ck_assert_int_eq(image_commit(image, IMAGE_COMMANDED, 1, &why), -EBADMSG);
	ck_assert_uint_eq(put_failed_again(image, 3000), 9);
	commit(image);
	image = reopen(image);
	for (uint64_t at = 0; at < 9; at++)
		expect(image, at, 3000 + at);
	image_close(image);
}
END_TEST

static void fail_syncs_of_records(void *context)
{
	sim->sync_errors = 0;
	for (uint32_t i = 0; i < sim->write_count; i++)
		if (sim->writes[i].offset < layout.table[0])
			sim->sync_errors = 10000;
}

/* The record may be there, so it is withdrawn before anything that it names is written to. */
START_TEST(a_record_that_was_not_synced_is_withdrawn)
{
	struct image *image = open_image();
	struct image *other;

	ck_assert_int_eq(put(image, 5, 50, IMAGE_FLUSH), 0);
	sim->hook = fail_syncs_of_records;
	ck_assert_int_eq(image_commit(image, IMAGE_COMMANDED, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.text, "its record cannot be written"));
	ck_assert_int_eq(put(image, 6, 60, IMAGE_FLUSH), -EIO);
	ck_assert_int_eq(image_commit(image, IMAGE_COMMANDED, 1, &why), -EIO);
	ck_assert_ptr_nonnull(strstr(why.text, "cannot be withdrawn"));
	sim->hook = NULL;
	disk_sim_calm(sim);
	ck_assert_int_eq(put(image, 6, 60, IMAGE_FLUSH), 0);
	disk_sim_cut(sim);
	other = open_image();
	ck_assert_uint_eq(image_generation(other), 1);
	image_close(other);
	commit(image);
	image = reopen(image);
	expect(image, 5, 50);
	expect(image, 6, 60);
	image_close(image);
}
END_TEST

START_TEST(a_disk_that_does_not_answer_takes_no_more)
{
	struct image *image = open_image();
	uint64_t submitted, at;

	ck_assert_int_eq(put(image, 1, 10, IMAGE_FLUSH), 0);
	commit(image);
	sim->timeouts = 10000;
	ck_assert_int_eq(put(image, 1, 11, IMAGE_FLUSH), 0);
	ck_assert_int_eq(image_drain(image), -ETIMEDOUT);
	submitted = sim->submitted;
	ck_assert_int_eq(put(image, 2, 12, IMAGE_FLUSH), -ETIMEDOUT);
	ck_assert_int_eq(image_commit(image, IMAGE_COMMANDED, 1, &why), -ETIMEDOUT);
	ck_assert_uint_eq(sim->submitted, submitted);
	ck_assert(image_put_failed(image, &at) && at == 1);
	ck_assert(image_put_failed(image, &at) && at == 2);
	expect(image, 1, 10);
	disk_sim_calm(sim);
	image = reopen(image);
	expect(image, 1, 10);
	image_close(image);
}
END_TEST

/* A packed page that is damaged is not taken over, and not left out: it has to be put. */
START_TEST(a_damaged_packed_page_stops_the_commit)
{
	struct image *image = open_image();
	uint64_t at;

	put_all(image, 1000, IMAGE_PACK);
	commit(image);
	damage(layout.packed[0] + 17 * PAGE_BYTES);
	ck_assert_int_eq(image_commit(image, IMAGE_COMMANDED, 1, &why), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(why.text, "page 17 of generation 2 is damaged"));
	ck_assert(image_put_failed(image, &at) && at == 17);
	ck_assert_int_eq(put(image, 17, 1017, IMAGE_FLUSH), 0);
	commit(image);
	expect_all(image, 1000);
	image_close(image);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("image");
	TCase *tcase = tcase_create("image");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, an_empty_image_is_zeros);
	tcase_add_test(tcase, homes_change_with_each_generation);
	tcase_add_test(tcase, packing_is_one_sequence_of_large_writes);
	tcase_add_test(tcase, packed_pages_outlive_their_area);
	tcase_add_test(tcase, a_page_put_twice_is_the_later_one);
	tcase_add_test(tcase, a_commit_fails_until_failed_pages_are_put_again);
	tcase_add_test(tcase, after_a_failed_sync_all_pages_have_failed);
	tcase_add_test(tcase, a_record_that_was_not_synced_is_withdrawn);
	tcase_add_test(tcase, a_disk_that_does_not_answer_takes_no_more);
	tcase_add_test(tcase, a_damaged_packed_page_stops_the_commit);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
