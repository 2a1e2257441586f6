/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/random.h"
#include "persist/disk.h"
#include "persist/image.h"
#include "no_uring.h"
#include "suite.h"

#define BYTES (5 * MIB + 8192)
#define BLOCKS (BYTES / 4096)
#define WAIT_MS 20000

/* On a disk and in memory, each with a ring and without. */
static const struct {
	const char *folder;
	bool no_ring;
} places[] = { { ".", false }, { ".", true }, { "/dev/shm", false }, { "/dev/shm", true } };

static char folder[64], path[128];
static uint8_t *bytes, *bytes_kept;
static struct error why;

static void set_up(void)
{
	bytes = aligned_alloc(4096, BYTES);
	ck_assert_ptr_nonnull(bytes);
}

static void tear_down(void)
{
	free(bytes);
}

static void go_to(const char *parent)
{
	snprintf(folder, sizeof(folder), "%s/perdure-test-XXXXXX", parent);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/image", folder);
}

static void leave(void)
{
	unlink(path);
	ck_assert_msg(!rmdir(folder), "something was left in the folder");
}

static struct disk *open_disk(uint64_t create_bytes, bool no_ring)
{
	struct disk_file_options options = { .create_bytes = create_bytes,
					     .wait_ms_max = WAIT_MS,
					     .no_ring = no_ring };
	struct disk *disk;

	ck_assert_msg(!disk_file_open(path, &options, &disk, &why), "%s", why.text);
	ck_assert_uint_eq(disk->bytes, BYTES);
	return disk;
}

static int open_error(uint64_t create_bytes, const char *words)
{
	struct disk_file_options options = { .create_bytes = create_bytes, .wait_ms_max = WAIT_MS };
	struct disk *disk;
	int err = disk_file_open(path, &options, &disk, &why);

	ck_assert_int_lt(err, 0);
	ck_assert_msg(strstr(why.text, words) && strstr(why.text, path), "no \"%s\" in \"%s\"",
		      words, why.text);
	return err;
}

static int count_fds(void)
{
	DIR *fds = opendir("/proc/self/fd");
	int count = 0;

	ck_assert_ptr_nonnull(fds);
	while (readdir(fds))
		count++;
	closedir(fds);
	return count;
}

/* Blocks in no order, as many on their way as there can be, each of one to eight blocks. */
static void write_all(struct disk *disk, uint64_t seed)
{
	static struct disk_io ios[BLOCKS];
	struct random_source random = random_from_seed(seed);
	uint32_t io_count = 0, done = 0;

	random_fill(&random, bytes, BYTES);
	for (uint32_t at = 0; at < BLOCKS; io_count++) {
		uint32_t count = 1 + (uint32_t)random_below(&random, 8);

		count = count < BLOCKS - at ? count : BLOCKS - at;
		ios[io_count] = (struct disk_io){ .offset = at * 4096ull,
						  .bytes = bytes + at * 4096ull,
						  .byte_count = count * 4096 };
		at += count;
	}
	for (uint32_t i = 0; i < io_count; i++) {
		uint32_t other = i + (uint32_t)random_below(&random, io_count - i);
		struct disk_io io = ios[i];

		ios[i] = ios[other];
		ios[other] = io;
	}
	for (uint32_t i = 0; i < io_count;) {
		int err = disk->ops->submit(disk, &ios[i]);

		ck_assert(!err || err == -EAGAIN);
		i += !err;
		if (err || i == io_count) {
			struct disk_io *io = disk->ops->wait(disk);

			ck_assert_ptr_nonnull(io);
			ck_assert_int_eq(io->result, 0);
			done++;
		}
	}
	for (const struct disk_io *io; (io = disk->ops->wait(disk)); done++)
		ck_assert_int_eq(io->result, 0);
	ck_assert_uint_eq(done, io_count);
	ck_assert_int_eq(disk->ops->sync(disk), 0);
}

static void expect_all(struct disk *disk, uint64_t seed)
{
	struct random_source random = random_from_seed(seed);
	uint8_t *read = aligned_alloc(4096, BYTES);

	ck_assert_ptr_nonnull(read);
	random_fill(&random, bytes, BYTES);
	for (uint64_t at = 0; at < BYTES; at += MIB) {
		uint32_t count = (uint32_t)(BYTES - at < MIB ? BYTES - at : MIB);

		ck_assert_int_eq(disk->ops->read(disk, at, read + at, count), 0);
	}
	ck_assert(!memcmp(read, bytes, BYTES));
	ck_assert_int_eq(disk->ops->read(disk, BYTES - 4096, read, 8192), -EIO);
	free(read);
}

START_TEST(what_is_written_is_read)
{
	int fds = count_fds();
	struct disk *disk;

	go_to(places[_i].folder);
	disk = open_disk(BYTES, places[_i].no_ring);
	ck_assert_ptr_null(disk->ops->wait(disk));
	write_all(disk, 1);
	write_all(disk, 2);
	expect_all(disk, 2);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	disk = open_disk(0, places[_i].no_ring);
	expect_all(disk, 2);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	ck_assert_int_eq(count_fds(), fds);
	leave();
}
END_TEST

/* No block is only reserved: the file system would have to convert it at its first write. */
START_TEST(a_new_file_is_zeros_written_to_its_end)
{
	struct stat status;
	struct disk *disk;
	int fd;

	go_to(places[_i].folder);
	disk = open_disk(BYTES, places[_i].no_ring);
	memset(bytes, 1, BYTES);
	for (uint64_t at = 0; at < BYTES; at += 4096)
		ck_assert_int_eq(disk->ops->read(disk, at, bytes + at, 4096), 0);
	for (uint64_t i = 0; i < BYTES; i++)
		if (bytes[i])
			ck_abort_msg("byte %d is not 0", (int)i);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(lseek(fd, 0, SEEK_HOLE), BYTES);
	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_int_eq(status.st_mode & 0777, 0600);
	ck_assert_int_ge(status.st_blocks * 512, BYTES);
	close(fd);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	leave();
}
END_TEST

START_TEST(one_agent_has_it)
{
	struct disk *disk;

	go_to(".");
	disk = open_disk(BYTES, false);
	ck_assert_int_eq(open_error(0, "in use by another agent"), -EBUSY);
	ck_assert_int_eq(open_error(BYTES, "cannot create"), -EEXIST);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	disk = open_disk(0, false);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	leave();
}
END_TEST

/* Nothing is left of a file that could not be made: leave() sees to that. */
START_TEST(no_room_is_told_with_what_is_free)
{
	struct rlimit limit, low = { 4 * MIB, 4 * MIB };
	int fds = count_fds();

	go_to(places[_i].folder);
	ck_assert_int_eq(open_error(1ull << 60, "has no room for 1048576T: "), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(why.text, " are free"));
	ck_assert_int_eq(open_error(0, "No such file"), -ENOENT);
	ck_assert_int_eq(open_error(4097, "cannot have 4097 bytes"), -EINVAL);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	low.rlim_max = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &low), 0);
	ck_assert_int_eq(open_error(BYTES, "ulimit -f"), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(count_fds(), fds);
	leave();
}
END_TEST

START_TEST(what_is_no_file_is_refused)
{
	go_to(".");
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(open_error(0, "no regular file"), -EINVAL);
	ck_assert_int_eq(open_error(BYTES, "cannot create"), -EEXIST);
	leave();
	ck_assert_int_eq(open_error(BYTES, "cannot create"), -ENOENT); /* the folder is gone */
}
END_TEST

START_TEST(it_works_where_io_uring_is_forbidden)
{
	struct disk *disk;

	go_to(".");
	forbid_io_uring();
	disk = open_disk(BYTES, false);
	write_all(disk, 3);
	expect_all(disk, 3);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	leave();
}
END_TEST

/* Of a disk that gets no time at all: writes end, or time out and are the last. */
START_TEST(a_limit_that_is_over_ends_it)
{
	struct disk_file_options options = { .wait_ms_max = 0 };
	static struct disk_io ios[DISK_DEPTH_MAX];
	uint32_t timed_out = 0, done = 0;
	struct disk *disk;
	int err;

	go_to(".");
	disk = open_disk(BYTES, false);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	ck_assert_int_eq(disk_file_open(path, &options, &disk, &why), 0);
	memset(bytes, 1, BYTES);
	for (uint32_t i = 0; i < DISK_DEPTH_MAX; i++) {
		ios[i] = (struct disk_io){ .offset = i % 5 * MIB,
					   .bytes = bytes + i % 5 * MIB,
					   .byte_count = MIB };
		ck_assert_int_eq(disk->ops->submit(disk, &ios[i]), 0);
	}
	for (const struct disk_io *io; (io = disk->ops->wait(disk)); done++)
		timed_out += io->result == -ETIMEDOUT;
	ck_assert_uint_eq(done, DISK_DEPTH_MAX);
	if (timed_out) {
		ck_assert_int_eq(disk->ops->submit(disk, &ios[0]), -ETIMEDOUT);
		ck_assert_int_eq(disk->ops->sync(disk), -ETIMEDOUT);
	}
	err = disk->ops->close(disk);
	ck_assert(!err || err == -EBUSY);
	if (err) {
		/* It stays locked while an old write may come. */
		ck_assert_int_eq(open_error(0, "in use by another agent"), -EBUSY);
		bytes_kept = bytes;
		bytes = NULL;
	}
	leave();
}
END_TEST

static void *read_on(void *context)
{
	struct disk *disk = context;
	uint8_t *read = aligned_alloc(4096, 65536);

	ck_assert_ptr_nonnull(read);
	for (uint64_t i = 0; i < 2000; i++)
		ck_assert_int_eq(disk->ops->read(disk, i % 80 * 65536, read, 65536), 0);
	free(read);
	return NULL;
}

START_TEST(others_read_while_one_writes)
{
	pthread_t threads[2];
	struct disk *disk;

	go_to(".");
	disk = open_disk(BYTES, false);
	for (int i = 0; i < 2; i++)
		ck_assert(!pthread_create(&threads[i], NULL, read_on, disk));
	write_all(disk, 4);
	write_all(disk, 5);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	expect_all(disk, 5);
	ck_assert_int_eq(disk->ops->close(disk), 0);
	leave();
}
END_TEST

#define IMAGE_PAGES 4096u
#define PAGES_PUT 1280u /* of these, every third */

static struct image *open_image(struct disk *disk)
{
	struct image *image;
	struct error loss;

	ck_assert_msg(!image_open(disk, NULL, &image, &loss, &why), "%s", why.text);
	ck_assert_str_eq(loss.text, "");
	return image;
}

static struct image *make_image(struct disk_file_options *options)
{
	struct image_config config = { .region_id = "region",
				       .host_id = "host",
				       .name = "file",
				       .region_bytes = IMAGE_PAGES * PAGE_BYTES,
				       .packed_pages = PAGES_PUT };
	struct disk *disk;

	ck_assert_int_eq(image_bytes(&config, &options->create_bytes, &why), 0);
	ck_assert_msg(!disk_file_open(path, options, &disk, &why), "%s", why.text);
	ck_assert_msg(!image_format(disk, &config, &why), "%s", why.text);
	options->create_bytes = 0;
	return open_image(disk);
}

static void put_pages(struct image *image, uint64_t seed)
{
	struct random_source random = random_from_seed(seed);

	random_fill(&random, bytes, PAGES_PUT * PAGE_BYTES);
	for (uint64_t i = 0; i < PAGES_PUT; i++)
		ck_assert_int_eq(image_put(image, i * 3, bytes + i * PAGE_BYTES,
					   i % 2 ? IMAGE_PACK : IMAGE_FLUSH),
				 0);
}

/* Both the pages that were put and those between them, which are zeros. */
static void expect_pages(struct image *image, uint64_t seed)
{
	static const uint8_t zeros[PAGE_BYTES];
	struct random_source random = random_from_seed(seed);
	uint8_t *read = aligned_alloc(4096, 3 * PAGE_BYTES), expected[PAGE_BYTES];
	struct error reason;

	ck_assert_ptr_nonnull(read);
	for (uint64_t i = 0; i < PAGES_PUT; i++) {
		random_fill(&random, expected, PAGE_BYTES);
		ck_assert_msg(!image_read(image, i * 3, 3, read, &reason), "%s", reason.text);
		ck_assert(!memcmp(read, expected, PAGE_BYTES));
		ck_assert(!memcmp(read + PAGE_BYTES, zeros, PAGE_BYTES));
	}
	free(read);
}

/* The engine on a real file: what is committed comes back. */
START_TEST(an_image_lies_in_it)
{
	struct disk_file_options options = { .wait_ms_max = WAIT_MS,
					     .no_ring = places[_i].no_ring };
	struct image *image;
	struct disk *disk;

	go_to(places[_i].folder);
	image = make_image(&options);
	put_pages(image, 1);
	ck_assert_msg(!image_commit(image, IMAGE_COMMANDED, 1, &why), "%s", why.text);
	put_pages(image, 2);
	image_close(image); /* what was not committed is gone */
	ck_assert_msg(!disk_file_open(path, &options, &disk, &why), "%s", why.text);
	image = open_image(disk);
	expect_pages(image, 1);
	image_close(image);
	leave();
}
END_TEST

static void *read_pages(void *context)
{
	for (int i = 0; i < 3; i++)
		expect_pages(context, 1);
	return NULL;
}

START_TEST(others_read_an_image_while_pages_are_put)
{
	struct disk_file_options options = { .wait_ms_max = WAIT_MS };
	struct image *image;
	pthread_t threads[2];

	go_to(".");
	image = make_image(&options);
	put_pages(image, 1);
	ck_assert_msg(!image_commit(image, IMAGE_COMMANDED, 1, &why), "%s", why.text);
	for (int i = 0; i < 2; i++)
		ck_assert(!pthread_create(&threads[i], NULL, read_pages, image));
	for (uint64_t seed = 2; seed < 6; seed++)
		put_pages(image, seed);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert_msg(!image_commit(image, IMAGE_COMMANDED, 2, &why), "%s", why.text);
	expect_pages(image, 5);
	image_close(image);
	leave();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk_file");
	TCase *tcase = tcase_create("disk_file");
	int count = ARRAY_COUNT(places);

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, what_is_written_is_read, 0, count);
	tcase_add_loop_test(tcase, a_new_file_is_zeros_written_to_its_end, 0, count);
	tcase_add_test(tcase, one_agent_has_it);
	tcase_add_loop_test(tcase, no_room_is_told_with_what_is_free, 0, count);
	tcase_add_test(tcase, what_is_no_file_is_refused);
	tcase_add_test(tcase, it_works_where_io_uring_is_forbidden);
	tcase_add_test(tcase, a_limit_that_is_over_ends_it);
	tcase_add_test(tcase, others_read_while_one_writes);
	tcase_add_loop_test(tcase, an_image_lies_in_it, 0, count);
	tcase_add_test(tcase, others_read_an_image_while_pages_are_put);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
