/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The pager against a plain array: random writes, reads and discards over four times the local
 * memory, from a seed, by several threads that own every n-th page. Invariants P1 to P3 and P5.
 */

#include <check.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/random.h"
#include "pump/pager.h"
#include "suite.h"

#define LOCAL_BYTES (8 * MIB)
#define PAGES (4 * LOCAL_BYTES / PAGE_BYTES)
#define THREADS 3
#define STEPS 60000

struct trial {
	struct pager *pager;
	uint64_t *model; /* what each page's words hold; 0: zeros */
	uint64_t index;
	uint64_t seed;
	uint64_t wrong;
};

/* The kernel's answer to some moves of pages: to be repeated. */
struct moves_refused {
	_Atomic int count;
	_Atomic uintptr_t start, end; /* of where to */
};

static struct moves_refused refused;

/* Every so many moves that were made are answered as if the pages had been there: 0: none. */
static _Atomic int moves_denied_every;
static _Atomic int moves_made;

static void refuse_moves(const struct pager *pager, uint64_t first, uint64_t count, int times)
{
	refused.start = pager_region_start(pager) + first * PAGE_BYTES;
	refused.end = refused.start + count * PAGE_BYTES;
	refused.count = times;
}

/* In place of the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct move {
		uint64_t to, from, bytes, mode;
		int64_t moved;
	} * move;
	va_list arguments;

	va_start(arguments, request);
	move = va_arg(arguments, struct move *);
	va_end(arguments);
	if (request == _IOWR(0xaa, 5, struct move) && move->to >= refused.start &&
	    move->to < refused.end && refused.count > 0) {
		refused.count--;
		move->moved = -EAGAIN;
		errno = EAGAIN;
		return -1;
	}
	if (syscall(SYS_ioctl, fd, request, move))
		return -1;
	if (request == _IOWR(0xaa, 5, struct move) && moves_denied_every > 0 &&
	    ++moves_made % moves_denied_every == 0) {
		move->moved = -EEXIST;
		errno = EEXIST;
		return -1;
	}
	return 0;
}

static struct pager *start(const char *uri, const char *second, enum pager_kernel kernel,
			   struct run_member **ret_member)
{
	struct run_member *member = mmap(NULL, sizeof(*member), PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pager_config config = {
		.local_bytes = LOCAL_BYTES,
		.far_uris = { uri, second },
		.far_count = second ? 2 : 1,
		.mirror = second ? 2 : 1,
		.timeout_ms = 2000,
		.kernel = kernel,
		.member = member,
	};
	struct pager *pager;
	struct error why = { "" };
	int err = pager_start(&config, &pager, &why);

	ck_assert_msg(!err, "%s", why.text);
	ck_assert(!mprotect((void *)pager_region_start(pager), PAGES * PAGE_BYTES,
			    PROT_READ | PROT_WRITE));
	*ret_member = member;
	return pager;
}

static uint64_t *page_at(const struct trial *t, uint64_t page)
{
	return (uint64_t *)(pager_region_start(t->pager) + page * PAGE_BYTES);
}

static void check_page(struct trial *t, uint64_t page)
{
	const uint64_t *words = page_at(t, page);
	uint64_t value = t->model[page];

	for (uint64_t i = 0; i < 512; i += 73)
		t->wrong += words[i] != (value ? value + i * page : 0);
}

static void *run(void *argument)
{
	struct trial *t = argument;
	struct random_source random;

	random = random_from_seed(t->seed + t->index);
	for (uint64_t step = 0; step < STEPS; step++) {
		uint64_t page = random_below(&random, PAGES / THREADS) * THREADS + t->index;
		uint64_t what = random_below(&random, 16);

		if (what == 0) {
			pager_discard(t->pager, page, 1);
			t->model[page] = 0;
		} else if (what < 8) {
			uint64_t value = random_next(&random) | 1;

			for (uint64_t i = 0; i < 512; i += 73)
				page_at(t, page)[i] = value + i * page;
			t->model[page] = value;
		} else if (what == 8 && page < PAGES - 64) {
			/* The neighbours are other threads': their bytes must not change. */
			pager_page_out(t->pager, page, random_below(&random, 64));
		} else if (what == 9 && page < PAGES - 64) {
			pager_cool(t->pager, page, random_below(&random, 64));
		}
		check_page(t, page);
	}
	return NULL;
}

static void trial(const char *uri, const char *second, enum pager_kernel kernel)
{
	struct run_member *member;
	struct pager *pager = start(uri, second, kernel, &member);
	uint64_t *model = calloc(PAGES, sizeof(*model)), wrong = 0;
	struct trial trials[THREADS];
	pthread_t threads[THREADS];

	for (uint64_t i = 0; i < THREADS; i++) {
		trials[i] = (struct trial){ pager, model, i, 20261123, 0 };
		ck_assert(!pthread_create(&threads[i], NULL, run, &trials[i]));
	}
	for (uint64_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	for (uint64_t page = 0; page < PAGES / THREADS * THREADS; page++)
		check_page(&trials[page % THREADS], page);
	for (uint64_t i = 0; i < THREADS; i++)
		wrong += trials[i].wrong;
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_gt(member->counters.pages_fetched, 1000);
	ck_assert_uint_gt(member->counters.pages_written, 1000);
	ck_assert_uint_gt(member->counters.second_chances, 0);
	ck_assert_uint_le(member->counters.local_bytes_max, LOCAL_BYTES);
	free(model);
}

START_TEST(moves_pages)
{
	trial("mem:", NULL, PAGER_KERNEL_AUTO);
}
END_TEST

/* A page that was moved, whatever the kernel answers, is found where it is. */
START_TEST(a_move_that_is_denied_is_found_out)
{
	moves_denied_every = 7;
	trial("mem:", NULL, PAGER_KERNEL_AUTO);
	ck_assert_int_gt(moves_made, 1000);
}
END_TEST

START_TEST(copies_pages)
{
	trial("mem:", NULL, PAGER_KERNEL_COPY);
}
END_TEST

/* Wrong bytes and errors on either copy are never given to the program while the other is good. */
START_TEST(survives_errors)
{
	trial("error:p=0.002,kind=corrupt:mem:", "error:p=0.002:mem:", PAGER_KERNEL_AUTO);
}
END_TEST

START_TEST(survives_a_loss)
{
	trial("error:after=3000,kind=lost:mem:", "mem:", PAGER_KERNEL_AUTO);
}
END_TEST

static uint64_t count_resident(const struct pager *pager, uint64_t first, uint64_t count)
{
	uint64_t resident = 0;

	for (uint64_t page = first; page < first + count; page++)
		resident += (uint64_t)pager_is_resident(pager, page);
	return resident;
}

static void write_pages(struct trial *t, uint64_t first, uint64_t count)
{
	for (uint64_t page = first; page < first + count; page++) {
		for (uint64_t i = 0; i < 512; i += 73)
			page_at(t, page)[i] = page + 1 + i * page;
		t->model[page] = page + 1;
		/* The thread may go on before the handler has noted where the page is. */
		while (!pager_is_resident(t->pager, page))
			sched_yield();
	}
}

START_TEST(page_out_takes_what_it_names_and_no_other)
{
	struct run_member *member;
	struct pager *pager = start("mem:", NULL, PAGER_KERNEL_AUTO, &member);
	uint64_t *model = calloc(PAGES, sizeof(*model));
	struct trial t = { .pager = pager, .model = model };

	write_pages(&t, 0, 1000);
	ck_assert_int_eq(pager_lock(pager, 90, 10), 0);
	pager_page_out(pager, 50, 900);
	ck_assert_uint_eq(count_resident(pager, 0, 50), 50);
	ck_assert_uint_eq(count_resident(pager, 50, 900), 10);
	ck_assert_uint_eq(count_resident(pager, 90, 10), 10);
	ck_assert_uint_eq(count_resident(pager, 950, 50), 50);
	ck_assert_uint_eq(member->counters.pages_evicted, 890);
	/* The handler of one more fault says in the end what is local: what was paged out is not.
	 */
	write_pages(&t, 1000, 1);
	while (!member->counters.local_bytes || member->counters.local_bytes >= 200 * PAGE_BYTES)
		usleep(1000);
	/* Of pages that are far already it is nothing. */
	pager_page_out(pager, 50, 900);
	ck_assert_uint_eq(member->counters.pages_evicted, 890);
	for (uint64_t page = 0; page < 1001; page++)
		check_page(&t, page);
	ck_assert_uint_eq(t.wrong, 0);
	free(model);
}
END_TEST

START_TEST(cold_pages_are_the_next_to_go)
{
	struct run_member *member;
	struct pager *pager = start("mem:", NULL, PAGER_KERNEL_AUTO, &member);
	uint64_t *model = calloc(PAGES, sizeof(*model)), at = 1000, gone;
	struct trial t = { .pager = pager, .model = model };

	write_pages(&t, 0, at);
	ck_assert_uint_eq(member->counters.pages_evicted, 0);
	pager_cool(pager, 300, 400);
	while (member->counters.pages_evicted < 100)
		write_pages(&t, at++, 1);
	gone = 400 - count_resident(pager, 300, 400);
	ck_assert_uint_ge(gone, 100);
	ck_assert_uint_eq(count_resident(pager, 0, 300), 300);
	ck_assert_uint_eq(count_resident(pager, 700, 300), 300);
	ck_assert_uint_eq(count_resident(pager, 300, gone), 0);
	for (uint64_t page = 0; page < at; page++)
		check_page(&t, page);
	ck_assert_uint_eq(t.wrong, 0);
	free(model);
}
END_TEST

/* Pins the page as direct I/O does, for as long as the descriptor is open; -1 without io_uring. */
static int pin(void *page)
{
	struct io_uring_params params = { 0 };
	struct iovec buffer = { page, PAGE_BYTES };
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring >= 0)
		ck_assert(
			!syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1));
	return ring;
}

START_TEST(a_move_that_meets_a_pin_is_undone)
{
	enum { COUNT = 64, PINNED = 40, FROM = 8, TO = 1000 };
	struct run_member *member;
	struct pager *pager = start("mem:", NULL, PAGER_KERNEL_AUTO, &member);
	uint64_t *model = calloc(PAGES, sizeof(*model)), local;
	struct trial t = { .pager = pager, .model = model };
	int ring;

	/* Before the pinned page: local ones, some that left, and one never touched. */
	write_pages(&t, FROM, 30);
	write_pages(&t, FROM + 31, COUNT - 31);
	pager_page_out(pager, FROM + 10, 10);
	ring = pin(page_at(&t, FROM + PINNED));
	if (ring < 0) {
		puts("skipped: io_uring is not permitted");
		return;
	}
	for (int try = 0; try < 4; try++) {
		/* The way back too is made longer, in the end the way there is barred. */
		refuse_moves(pager, try == 3 ? TO + 20 : FROM, 9, 100 * try);
		ck_assert_int_eq(pager_relocate(pager, FROM, TO, COUNT),
				 try == 3 ? -EAGAIN : -EBUSY);
		for (uint64_t page = TO; page < TO + COUNT; page++)
			ck_assert(pager_is_untouched(pager, page));
		ck_assert(pager_is_resident(pager, FROM + PINNED));
	}
	refused.count = 0;
	for (uint64_t page = FROM; page < FROM + COUNT; page++)
		check_page(&t, page);
	ck_assert_uint_eq(t.wrong, 0);
	ck_assert(!syscall(SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0));
	close(ring);
	ck_assert_int_eq(pager_relocate(pager, FROM, TO, COUNT), 0);
	for (uint64_t page = 0; page < COUNT; page++) {
		ck_assert(pager_is_untouched(pager, FROM + page));
		t.wrong += page_at(&t, TO + page)[73] !=
			   (page == 30 ? 0 : FROM + page + 1 + 73 * (FROM + page));
		t.wrong += page_at(&t, FROM + page)[73] != 0;
	}
	ck_assert_uint_eq(t.wrong, 0);
	/* Nothing was counted twice on the way there and back: all of it leaves. */
	pager_discard(pager, FROM, COUNT);
	pager_discard(pager, TO, COUNT);
	local = member->counters.local_bytes;
	write_pages(&t, 2000, 1);
	while (member->counters.local_bytes == local)
		usleep(1000);
	ck_assert_uint_eq(member->counters.local_bytes, PAGE_BYTES);
	free(model);
}
END_TEST

/* By the kernel's hand, without a signal. */
static bool can_be_read(const struct trial *t, uint64_t page)
{
	return !madvise(page_at(t, page), PAGE_BYTES, MADV_POPULATE_READ);
}

START_TEST(a_lost_page_moves_and_leaves_zeros)
{
	enum { LOST = 10, TO = 1000 }; /* the one behind it was never read */
	struct run_member *member;
	struct pager *pager = start("error:every=1,kind=corrupt,verb=fetch:mem:", NULL,
				    PAGER_KERNEL_AUTO, &member);
	uint64_t *model = calloc(PAGES, sizeof(*model));
	struct trial t = { .pager = pager, .model = model };

	write_pages(&t, 0, 100);
	pager_page_out(pager, 0, 64);
	ck_assert(!can_be_read(&t, LOST));
	ck_assert(!can_be_read(&t, LOST));
	ck_assert_uint_eq(member->counters.pages_lost, 1);
	ck_assert_int_eq(pager_relocate(pager, LOST, TO, 2), 0);
	for (uint64_t page = LOST; page < LOST + 2; page++) {
		ck_assert(can_be_read(&t, page));
		ck_assert_uint_eq(page_at(&t, page)[73], 0);
		ck_assert(!can_be_read(&t, page - LOST + TO));
		pager_discard(pager, page - LOST + TO, 1);
		ck_assert(can_be_read(&t, page - LOST + TO));
		ck_assert_uint_eq(page_at(&t, page - LOST + TO)[73], 0);
	}
	ck_assert_uint_eq(member->counters.pages_lost, 2);
	free(model);
}
END_TEST

START_TEST(a_lock_that_fails_is_undone)
{
	enum { LOST = 100, BEFORE = 70 };
	struct run_member *member;
	struct pager *pager = start("error:every=1,kind=corrupt,verb=fetch:mem:", NULL,
				    PAGER_KERNEL_AUTO, &member);
	uint64_t *model = calloc(PAGES, sizeof(*model));
	struct trial t = { .pager = pager, .model = model };

	write_pages(&t, LOST, 64);
	pager_page_out(pager, LOST, 64);
	ck_assert_int_eq(pager_lock(pager, BEFORE, 10), 0);
	ck_assert_int_eq(pager_lock(pager, BEFORE - 10, LOST - BEFORE + 20), -ENOMEM);
	ck_assert_uint_eq(count_resident(pager, BEFORE - 10, LOST - BEFORE + 10), 40);
	/* Only what was locked before is still. */
	pager_page_out(pager, BEFORE - 10, LOST - BEFORE + 10);
	ck_assert_uint_eq(count_resident(pager, BEFORE - 10, LOST - BEFORE + 10), 10);
	ck_assert_uint_eq(count_resident(pager, BEFORE, 10), 10);
	pager_unlock(pager, BEFORE, 10);
	pager_page_out(pager, BEFORE, 10);
	ck_assert_uint_eq(count_resident(pager, BEFORE, 10), 0);
	free(model);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pager");
	TCase *tests = tcase_create("model");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, moves_pages);
	tcase_add_test(tests, a_move_that_is_denied_is_found_out);
	tcase_add_test(tests, copies_pages);
	tcase_add_test(tests, survives_errors);
	tcase_add_test(tests, survives_a_loss);
	tcase_add_test(tests, page_out_takes_what_it_names_and_no_other);
	tcase_add_test(tests, cold_pages_are_the_next_to_go);
	tcase_add_test(tests, a_move_that_meets_a_pin_is_undone);
	tcase_add_test(tests, a_lost_page_moves_and_leaves_zeros);
	tcase_add_test(tests, a_lock_that_fails_is_undone);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
