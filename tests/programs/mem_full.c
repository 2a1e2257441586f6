/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills memory until there is no room for a page: the touch gives SIGBUS, at its address, and a
 * system call EFAULT, and once there is room again every page is what it was. Where all of SIZE
 * fits (natively), it prints "fits", else "full".
 */
#include "program.h"

#define REFUSED_US 100000 /* a page that was refused may be refused again for a moment */

static uint8_t *memory;

/* What the kernel answers when it is to write into the page. */
static int error_of_read(uint8_t *page)
{
	int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	CHECK(zeros >= 0);
	int error = read(zeros, page, PAGE) == (ssize_t)PAGE ? 0 : errno;
	close(zeros);
	return error;
}

/* A page is touched as a whole only when its first byte could be. */
static size_t fill_until_full(size_t pages, uint64_t seed)
{
	for (size_t page = 0; page < pages; page++) {
		int number = probe(memory + page * PAGE, true);
		if (number == SIGBUS)
			return page;
		CHECK(number == 0);
		words_fill(memory + page * PAGE, PAGE, page, seed);
	}
	return pages;
}

static void check_pages(size_t first, size_t end, uint64_t seed)
{
	for (size_t page = first; page < end; page++)
		words_check(memory + page * PAGE, PAGE, page, seed, "a page that was there before");
}

int main(int argc, char **argv)
{
	struct arguments arguments = arguments_parse(argc, argv);
	size_t pages = arguments.bytes / PAGE;
	memory = map_anonymous(arguments.bytes);
	size_t full = fill_until_full(pages, arguments.seed);
	if (full == pages) {
		check_pages(0, pages, arguments.seed);
		puts("fits");
		return 0;
	}
	uint8_t *bad = memory + full * PAGE;
	CHECK(full > 1024);
	CHECK(error_of_read(bad) == EFAULT);
	CHECK(mlock(bad - 8 * PAGE, 9 * PAGE) == -1 && errno == ENOMEM);
	CHECK(madvise(bad, PAGE, MADV_POPULATE_READ) == -1);
	CHECK(madvise(bad, PAGE, MADV_POPULATE_WRITE) == -1);
	CHECK(madvise(bad, PAGE, MADV_WILLNEED) == 0);
	CHECK(probe(bad, true) == SIGBUS);
	/* An eighth is given back, the oldest: there is room for the page, and to get at all. */
	CHECK(munmap(memory, full / 8 * PAGE) == 0);
	usleep(REFUSED_US);
	CHECK(probe(bad, true) == 0);
	CHECK(bytes_are_zero(bad, PAGE));
	check_pages(full / 8, full, arguments.seed);
	CHECK(error_of_read(bad) == 0);
	/* Memory at the same place is new memory, though no touch of the page came between. */
	CHECK(munmap(memory + full / 8 * PAGE, (pages - full / 8) * PAGE) == 0);
	CHECK(mmap(memory, arguments.bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
	size_t again = fill_until_full(pages, arguments.seed + 1);
	CHECK(again < pages && again > 1024);
	bad = memory + again * PAGE;
	CHECK(munmap(memory, arguments.bytes) == 0);
	CHECK(mmap(memory, arguments.bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
	CHECK(probe(bad, true) == 0 && bytes_are_zero(bad, PAGE));
	puts("full");
	return 0;
}
