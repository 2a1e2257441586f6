/* SPDX-License-Identifier: Apache-2.0 */
/* What processes may do to who watches them: come, go, move, and pass what is none. */
#include "watcher_fixture.h"

#include <errno.h>
#include <sys/wait.h>

static void *write_first(void *argument)
{
	((volatile uint8_t *)argument)[0] = 9;
	return NULL;
}

/* T3: also who comes while the others are stopped waits, with pages that are marked too. */
START_TEST(who_joins_while_writers_are_stopped_waits)
{
	pthread_t thread;

	watcher_mark(region, 0, 1);
	ck_assert(!watcher_stop(watcher));
	join(written);
	ck_assert(!pthread_create(&thread, NULL, write_first, written));
	clock_sleep_ns(100000000);
	ck_assert_uint_eq(memory[0], 0);
	watcher_go(watcher);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(memory[0], 9);
}
END_TEST

/* T1: the pages opened ahead end where another mapping begins. */
START_TEST(pages_before_another_mapping_are_not_missed)
{
	watcher_set_bound(watcher, 4 * PAGES, 1u << 30);
	join(written);
	for (uint64_t page = 11; page < PAGES; page += 64)
		ck_assert_ptr_ne(mmap(written + page * PAGE_BYTES, PAGE_BYTES,
				      PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
				 MAP_FAILED);
	for (uint64_t page = 0; page < PAGES; page++)
		written[page * PAGE_BYTES] = 1;
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
	ck_assert_uint_eq(watcher_unflushed(watcher), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		written[page * PAGE_BYTES] = 2;
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
}
END_TEST

/* What is where is not known then: it is said so, and its writer does not wait for ever. */
START_TEST(a_part_that_is_moved_makes_it_inexact)
{
	const size_t half = PAGES / 2 * PAGE_BYTES;
	uint8_t *place = map(), *moved;

	join(written);
	moved = mremap(written + half, half, half, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	ck_assert_ptr_eq(moved, place);
	moved[0] = 1;
	moved[5 * PAGE_BYTES] = 2;
	ck_assert_uint_eq(memory[half], 1);
	ck_assert(!watcher_is_exact(region));
	ck_assert(!watcher_knows(region, getpid(), (uintptr_t)moved, (uintptr_t)moved + half));
	ck_assert(!watcher_knows(region, getpid(), (uintptr_t)written, (uintptr_t)written + half));
	written[0] = 3;
	ck_assert_uint_eq(memory[0], 3);
	munmap(moved, PAGES * PAGE_BYTES);
}
END_TEST

/* The pages go when the handler has read of it, and what it marked may have been copied before. */
START_TEST(pages_taken_out_make_it_inexact)
{
	join(written);
	written[0] = 1;
	copy_rest();
	ck_assert(!madvise(written, PAGE_BYTES, MADV_REMOVE));
	ck_assert(!watcher_is_exact(region));
	ck_assert_uint_eq(written[0], 0);
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
	watcher_set_exact(region);
	ck_assert(watcher_is_exact(region));
}
END_TEST

/* A program may open and close a region as often as it likes. */
START_TEST(mappings_that_are_gone_keep_no_place)
{
	void *kept[3] = { NULL };

	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX + 8; i++) {
		uint8_t *mapped = map();

		join(mapped);
		mapped[0] = (uint8_t)i;
		munmap(mapped, PAGES * PAGE_BYTES);
	}
	watcher_reap(region);
	ck_assert_uint_eq(watcher_writers(region), 0);
	/* At other addresses too, and what is mapped there by others now does not count. */
	for (uint32_t i = 0; i < 3; i++) {
		kept[i] = map();
		join(kept[i]);
	}
	ck_assert_uint_eq(watcher_reap(region), 3);
	munmap(kept[1], PAGES * PAGE_BYTES);
	ck_assert_uint_eq(watcher_reap(region), 2);
	munmap(kept[0], PAGE_BYTES);
	ck_assert_uint_eq(watcher_reap(region), 2);
	munmap(kept[0], PAGES * PAGE_BYTES);
	munmap(kept[2], PAGES * PAGE_BYTES);
	ck_assert_uint_eq(watcher_reap(region), 0);
}
END_TEST

static uint64_t own_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A process that keeps its userfaultfd is heard no more when its region is gone. */
START_TEST(who_is_forgotten_is_not_heard)
{
	const struct watched_region_options options = { .page_count = PAGES };
	struct uffd uffd;
	struct error why;
	pthread_t thread;
	uint64_t cpu_ns;
	int kept;

	ck_assert(!uffd_open_shared(&uffd, &why));
	kept = dup(uffd.fd);
	ck_assert(!watcher_join(region, uffd.fd, (uintptr_t)written, PAGES * PAGE_BYTES, 0,
				getpid(), &why));
	watcher_remove(region);
	ck_assert(!pthread_create(&thread, NULL, write_first, written));
	clock_sleep_ns(20000000);
	cpu_ns = own_cpu_ns();
	clock_sleep_ns(300000000);
	ck_assert_uint_lt(own_cpu_ns() - cpu_ns, 100000000);
	close(kept);
	pthread_join(thread, NULL);
	ck_assert_msg(!watcher_add(watcher, &options, &region, &why), "%s", why.text);
}
END_TEST

/* Who passed the descriptor shares its flags: the handlers wait for nobody's message. */
START_TEST(a_descriptor_that_waits_holds_nobody)
{
	struct uffd uffd;
	struct error why;
	int kept;

	ck_assert(!uffd_open_shared(&uffd, &why));
	kept = dup(uffd.fd);
	ck_assert(!fcntl(kept, F_SETFL, 0));
	ck_assert(!watcher_join(region, uffd.fd, (uintptr_t)written, PAGES * PAGE_BYTES, 0,
				getpid(), &why));
	for (uint64_t page = 0; page < PAGES; page++) {
		ck_assert(!fcntl(kept, F_SETFL, 0));
		written[page * PAGE_BYTES] = 1;
	}
	copy_rest();
	ck_assert_uint_eq(pages_that_differ(), 0);
	close(kept);
}
END_TEST

/* A process that wakes itself has faults without end; a fork is heard of all the same. */
START_TEST(faults_without_end_hide_no_fork)
{
	struct uffd uffd;
	struct error why;
	pthread_t thread;
	int kept, status;
	pid_t child;

	ck_assert(!uffd_open_shared(&uffd, &why));
	kept = dup(uffd.fd);
	ck_assert(!watcher_join(region, uffd.fd, (uintptr_t)written, PAGES * PAGE_BYTES, 0,
				getpid(), &why));
	uffd.fd = kept;
	ck_assert(!watcher_stop(watcher));
	ck_assert(!pthread_create(&thread, NULL, write_first, written));
	for (int i = 0; i < 10000; i++) {
		uffd_wake(&uffd, written);
		clock_sleep_ns(10000);
	}
	child = fork();
	if (child == 0)
		_exit(0);
	ck_assert(!watcher_stop(watcher));
	watcher_go(watcher);
	pthread_join(thread, NULL);
	waitpid(child, &status, 0);
	close(kept);
}
END_TEST

START_TEST(a_mapping_that_is_none_is_refused)
{
	struct uffd uffd;
	struct error why;

	ck_assert(!uffd_open_shared(&uffd, &why));
	ck_assert_int_eq(watcher_join(region, uffd.fd, (uintptr_t)written,
				      (PAGES + 1) * PAGE_BYTES, 0, getpid(), &why),
			 -EINVAL);
	ck_assert(!uffd_open_shared(&uffd, &why));
	ck_assert_int_eq(watcher_join(region, uffd.fd, (uintptr_t)written, PAGE_BYTES, PAGES,
				      getpid(), &why),
			 -EINVAL);
	/* Any descriptor may be passed: asked by ioctl, another file's server could let us wait. */
	ck_assert_int_eq(watcher_join(region, dup(file), (uintptr_t)written, PAGE_BYTES, 0,
				      getpid(), &why),
			 -EBADF);
	ck_assert_uint_eq(watcher_writers(region), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watcher_writers");
	TCase *tcase = tcase_create("watcher_writers");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, begin, end);
	tcase_add_test(tcase, who_joins_while_writers_are_stopped_waits);
	tcase_add_test(tcase, pages_before_another_mapping_are_not_missed);
	tcase_add_test(tcase, a_part_that_is_moved_makes_it_inexact);
	tcase_add_test(tcase, pages_taken_out_make_it_inexact);
	tcase_add_test(tcase, mappings_that_are_gone_keep_no_place);
	tcase_add_test(tcase, who_is_forgotten_is_not_heard);
	tcase_add_test(tcase, a_descriptor_that_waits_holds_nobody);
	tcase_add_test(tcase, faults_without_end_hide_no_fork);
	tcase_add_test(tcase, a_mapping_that_is_none_is_refused);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
