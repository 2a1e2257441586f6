/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_conformance.h"
#include "no_uring.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing/file.h"
#include "base/clock.h"

static const struct conformance_case cases[] = {
	{.uri = "file:.?size=1G", .bounded = true},
	{.uri = "file:.?size=1G&io=sync", .bounded = true},
	{.uri = "file:/dev/shm?size=1G", .bounded = true},
};

static char folder[64];

static void make_folder(void)
{
	strcpy(folder, "perdure-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
	ck_assert_msg(!rmdir(folder), "something was left in the folder");
}

static char *in_folder(const char *rest)
{
	static char uri[BACKING_URI_BYTES];

	snprintf(uri, sizeof(uri), "file:%s%s", folder, rest);
	return uri;
}

static void put_file(const char *name, const char *contents)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(contents, file);
	fclose(file);
}

static int open_error(const char *uri, struct error *why)
{
	struct backing_options options = {.wait_ms_max = 1000};
	struct backing *backing;
	int err = backing_open(uri, &options, &backing, why);

	ck_assert_msg(err < 0, "%s was opened", uri);
	return err;
}

static void store_and_fetch(struct backing *backing)
{
	struct backing_channel *channel = conformance_channel(backing);
	uint8_t *page = conformance_pages();

	ck_assert_int_eq(backing->ops->reserve(backing, 8, NULL), 0);
	conformance_fill_page(page, 42);
	ck_assert_int_eq(conformance_move(channel, BACKING_STORE, 7, 1, page), 0);
	memset(page, 0, PAGE_BYTES);
	ck_assert_int_eq(conformance_move(channel, BACKING_FETCH, 7, 1, page), 0);
	conformance_check_page(page, 42);
	channel->ops->channel_close(channel);
}

START_TEST(nothing_has_a_name_from_the_start)
{
	static const char *const names[] = {"", "/new", "/empty"};
	struct backing *backing;

	put_file("empty", "");
	backing = conformance_open(in_folder(names[_i]), NULL);
	store_and_fetch(backing);
	if (_i < 2) {
		char path[128];

		snprintf(path, sizeof(path), "%s/empty", folder);
		unlink(path);
	}
	remove_folder();
	backing_close(backing);
}
END_TEST

static void open_again_and_again(const char *uri)
{
	struct backing_options options = {.wait_ms_max = 1000};

	for (int i = 0; i < 200; i++) {
		struct backing *backing;
		struct error why;

		if (backing_open(uri, &options, &backing, &why)) {
			fprintf(stderr, "%s\n", why.text);
			_exit(1);
		}
		backing_close(backing);
	}
	_exit(0);
}

/* As the programs of one run do. */
START_TEST(several_open_one_path_at_a_time)
{
	const char *uri = in_folder("/new");
	pid_t children[4];
	int status;

	for (int i = 0; i < 4; i++) {
		children[i] = fork();
		ck_assert_int_ge(children[i], 0);
		if (children[i] == 0)
			open_again_and_again(uri);
	}
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
		ck_assert_int_eq(status, 0);
	}
	remove_folder();
}
END_TEST

START_TEST(what_may_not_be_overwritten_is_refused)
{
	struct error why;
	char path[128];

	put_file("full", "precious");
	ck_assert_int_eq(open_error(in_folder("/full"), &why), -EEXIST);
	ck_assert_ptr_nonnull(strstr(why.text, "exists and is not empty"));
	ck_assert_int_eq(open_error("file:/dev/null", &why), -EINVAL);
	ck_assert_int_eq(open_error(in_folder("/none/x"), &why), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why.text, folder));
	snprintf(path, sizeof(path), "%s/full", folder);
	ck_assert_int_eq(unlink(path), 0);
	remove_folder();
}
END_TEST

START_TEST(growth_beyond_a_limit_is_refused_in_words)
{
	struct backing *backing = conformance_open(in_folder("?size=1M"), NULL);
	struct rlimit limit = {.rlim_cur = 512 * KIB, .rlim_max = 512 * KIB};
	struct error why;

	ck_assert_int_eq(backing->ops->reserve(backing, 257, &why), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(why.text, "its limit is 1M"));
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(backing->ops->reserve(backing, 256, &why), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(why.text, "ulimit -f"));
	ck_assert_int_eq(backing->ops->reserve(backing, 128, &why), 0);
	backing_close(backing);
	/* A disk that is full: /dev/shm holds less than the exbibyte that a file might have. */
	backing = conformance_open("file:/dev/shm", NULL);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_lt(backing->ops->reserve(backing, 1ull << 50, &why), 0);
	backing_close(backing);
	remove_folder();
}
END_TEST

START_TEST(a_ticket_joins_the_same_file)
{
	struct backing *first = conformance_open(in_folder(""), NULL);
	struct backing_options options = {.wait_ms_max = 1000, .ticket = first->ticket};
	struct backing *second, *third = conformance_open(in_folder(""), NULL);
	uint8_t no_ticket[BACKING_TICKET_BYTES] = "mem 1 2", *page = conformance_pages();
	struct backing_channel *channel;
	struct error why = {0};

	store_and_fetch(first);
	ck_assert_msg(!backing_open(in_folder(""), &options, &second, &why), "%s", why.text);
	ck_assert_int_eq(third->ops->reattach(third, first->ticket, &why), 0);
	for (int i = 0; i < 2; i++) {
		channel = conformance_channel(i ? second : third);
		ck_assert_int_eq(conformance_move(channel, BACKING_FETCH, 7, 1, page), 0);
		conformance_check_page(page, 42);
		channel->ops->channel_close(channel);
	}
	ck_assert_int_eq(third->ops->reattach(third, no_ticket, &why), -EINVAL);
	backing_close(first);
	/* It lives as long as anybody has it, but is joined through its first owner only. */
	ck_assert_int_eq(backing_open(in_folder(""), &options, &first, &why) < 0, 1);
	backing_close(second);
	backing_close(third);
	remove_folder();
}
END_TEST

START_TEST(a_file_cut_behind_our_back_is_an_error)
{
	struct backing *backing = conformance_open(in_folder(_i ? "?io=sync" : ""), NULL);
	struct backing_channel *channel = conformance_channel(backing);
	uint8_t *pages = conformance_pages();

	ck_assert_int_eq(backing->ops->reserve(backing, 8, NULL), 0);
	ck_assert_int_eq(conformance_move(channel, BACKING_STORE, 0, 8, pages), 0);
	ck_assert_int_eq(ftruncate(((struct file_backing *)backing)->fd, 4 * PAGE_BYTES), 0);
	ck_assert_int_eq(conformance_move(channel, BACKING_FETCH, 7, 1, pages), -EIO);
	ck_assert_int_eq(conformance_move(channel, BACKING_FETCH, 2, 6, pages), -EIO);
	ck_assert_int_eq(conformance_move(channel, BACKING_FETCH, 3, 1, pages), 0);
	channel->ops->channel_close(channel);
	backing_close(backing);
	remove_folder();
}
END_TEST

START_TEST(without_io_uring_it_works_or_says_so)
{
	struct backing *backing;
	struct backing_channel *channel;
	struct error why;

	forbid_io_uring();
	backing = conformance_open(in_folder(""), NULL);
	store_and_fetch(backing);
	backing_close(backing);
	backing = conformance_open(in_folder("?io=uring"), NULL);
	ck_assert_int_eq(backing->ops->channel_open(backing, &channel, &why), -EPERM);
	ck_assert_ptr_nonnull(strstr(why.text, "?io=sync"));
	backing_close(backing);
	remove_folder();
}
END_TEST

/* Daemons close every descriptor that they did not open. */
START_TEST(a_program_that_closes_all_gets_an_error_not_a_hang)
{
	struct backing *backing = conformance_open(in_folder(""), NULL);
	struct backing_channel *channel = conformance_channel(backing);
	struct backing_io io = {
		.verb = BACKING_STORE, .page_count = 1, .pages = conformance_pages()};
	uint64_t start_ns;
	int fd = ((struct file_backing *)backing)->fd;

	ck_assert_int_eq(backing->ops->reserve(backing, 8, NULL), 0);
	/* Its number may go to another file: the ring holds the right one. */
	ck_assert_int_eq(dup2(STDERR_FILENO, fd), fd);
	ck_assert_int_eq(conformance_move(channel, BACKING_STORE, 1, 1, conformance_pages()), 0);
	for (int other = 3; other < 1024; other++)
		if (other != fd && fcntl(other, F_GETFD) >= 0) {
			char link[64], target[64] = "";

			snprintf(link, sizeof(link), "/proc/self/fd/%d", other);
			if (readlink(link, target, sizeof(target) - 1) > 0 &&
			    strstr(target, "io_uring"))
				close(other);
		}
	start_ns = clock_now_ns();
	ck_assert_int_lt(channel->ops->submit(channel, &io), 0);
	ck_assert_int_lt(channel->ops->submit(channel, &io), 0);
	channel->ops->poll(channel);
	channel->ops->channel_close(channel);
	ck_assert_uint_lt(clock_now_ns() - start_ns, 1000000000);
	backing_close(backing);
	remove_folder();
}
END_TEST

#define STUCK_CGROUP "/sys/fs/cgroup/blkio/perdure-test"
#define STUCK_WAIT_MS 300

static int put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t put = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return put < 0 ? -errno : 0;
}

/* 1 byte a second stands for a disk that does not answer; 0 takes the limit away. */
static int throttle(const char *bytes_per_second)
{
	struct stat status;
	char text[64];
	int err;

	if (stat(".", &status))
		return -errno;
	snprintf(text, sizeof(text), "%u:%u %s", major(status.st_dev), minor(status.st_dev),
		 bytes_per_second);
	err = put_text(STUCK_CGROUP "/blkio.throttle.read_bps_device", text);
	return err ? err : put_text(STUCK_CGROUP "/blkio.throttle.write_bps_device", text);
}

static int submit_runs(struct backing_channel *channel, struct backing_io *ios)
{
	for (uint32_t i = 0; i < BACKING_CHANNEL_DEPTH; i++) {
		uint64_t slot = i * BACKING_IO_PAGES_MAX;

		ios[i] = (struct backing_io){.verb = i % 2 ? BACKING_STORE : BACKING_FETCH,
					     .slot = slot,
					     .page_count = BACKING_IO_PAGES_MAX,
					     .pages = conformance_pages() + slot * PAGE_BYTES};
		if (channel->ops->submit(channel, &ios[i]))
			return 1;
	}
	return 0;
}

/* In a process of its own: its end waits for the disk. Returns a number that names the failure. */
static int use_stuck_disk(void)
{
	struct backing_options options = {.wait_ms_max = STUCK_WAIT_MS};
	uint8_t *pages = conformance_pages();
	struct backing_io ios[BACKING_CHANNEL_DEPTH];
	struct backing_channel *channel;
	struct backing *backing;
	struct error why;
	uint64_t start_ns;

	if (backing_open(in_folder(""), &options, &backing, &why) ||
	    backing->ops->reserve(backing, CONFORMANCE_PAGES, &why) ||
	    backing->ops->channel_open(backing, &channel, &why))
		return 10;
	if (throttle("1") || submit_runs(channel, ios))
		return 11;
	start_ns = clock_now_ns();
	channel->ops->channel_close(channel);
	if (clock_now_ns() - start_ns < STUCK_WAIT_MS * 1000000ull)
		return 12; /* the disk was not stuck */
	if (clock_now_ns() - start_ns > 5 * STUCK_WAIT_MS * 1000000ull)
		return 13;
	memset(pages, 0x55, CONFORMANCE_PAGES * PAGE_BYTES);
	if (backing->ops->channel_open(backing, &channel, &why) != -EIO ||
	    !strstr(why.text, "given up"))
		return 14;
	/* Now the late reads arrive. */
	if (throttle("0"))
		return 15;
	usleep(500000);
	if (memcmp(pages, pages + 1, CONFORMANCE_PAGES * PAGE_BYTES - 1))
		return 16;
	backing_close(backing);
	return 0;
}

START_TEST(a_stuck_disk_is_given_up_and_reaches_nothing_later)
{
	int status;
	pid_t pid;

	if (mkdir(STUCK_CGROUP, 0755) || throttle("0")) {
		puts("skipped: no disk with a cgroup v1 blkio controller to make it slow");
		rmdir(STUCK_CGROUP);
		remove_folder();
		return;
	}
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int failed = put_text(STUCK_CGROUP "/cgroup.procs", "0") ? 9 : use_stuck_disk();

		throttle("0");
		_exit(failed);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	/* A cgroup is busy for a moment after its last process. */
	for (int i = 0; i < 100 && rmdir(STUCK_CGROUP); i++)
		usleep(10000);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it failed at %d",
		      WEXITSTATUS(status));
	remove_folder();
}
END_TEST

int main(void)
{
	Suite *suite = conformance_suite("backing_file", cases, ARRAY_COUNT(cases));
	TCase *tcase = tcase_create("file");

	tcase_set_timeout(tcase, 30);
	tcase_add_checked_fixture(tcase, make_folder, NULL);
	tcase_add_loop_test(tcase, nothing_has_a_name_from_the_start, 0, 3);
	tcase_add_test(tcase, several_open_one_path_at_a_time);
	tcase_add_test(tcase, what_may_not_be_overwritten_is_refused);
	tcase_add_test(tcase, growth_beyond_a_limit_is_refused_in_words);
	tcase_add_test(tcase, a_ticket_joins_the_same_file);
	tcase_add_loop_test(tcase, a_file_cut_behind_our_back_is_an_error, 0, 2);
	tcase_add_test(tcase, without_io_uring_it_works_or_says_so);
	tcase_add_test(tcase, a_program_that_closes_all_gets_an_error_not_a_hang);
	tcase_add_test(tcase, a_stuck_disk_is_given_up_and_reaches_nothing_later);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
