/* SPDX-License-Identifier: Apache-2.0 */
#include "backing_conformance.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"

void conformance_fill_page(void *page, uint64_t seed)
{
	static const char *const words[] = {"region ", "page ",	 "line ", "fault ", "fetch ",
					    "store ",  "node\n", "0x7f ", "the ",   "of "};
	struct random_source random = random_from_seed(seed);
	uint64_t *numbers = page;
	char *text = page;
	size_t used = 0;

	memset(page, 0, PAGE_BYTES);
	switch (seed % 7) {
	case 0:
		random_fill(&random, page, PAGE_BYTES);
		break;
	case 1:
	case 2:
		while (used < PAGE_BYTES - 24)
			used += (size_t)sprintf(text + used, "%s%x ",
						words[random_below(&random, ARRAY_COUNT(words))],
						(unsigned int)random_below(&random, 1000));
		break;
	case 3:
		break;
	case 4:
		for (size_t i = 0; i < PAGE_BYTES / 8; i++)
			numbers[i] = seed % 2 ? seed : ~seed;
		break;
	case 5:
		memset(page, (int)(seed >> 8 & 255), PAGE_BYTES);
		break;
	case 6:
		numbers[random_below(&random, PAGE_BYTES / 8)] = seed;
		break;
	}
}

void conformance_check_page(const void *page, uint64_t seed)
{
	uint8_t wanted[PAGE_BYTES] __attribute__((aligned(8)));

	conformance_fill_page(wanted, seed);
	ck_assert_msg(!memcmp(page, wanted, PAGE_BYTES), "a page of seed %llu came back wrong",
		      (unsigned long long)seed);
}

uint8_t *conformance_pages(void)
{
	static uint8_t *pages;

	if (!pages) {
		pages = mmap(NULL, CONFORMANCE_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ck_assert_ptr_ne(pages, MAP_FAILED);
	}
	return pages;
}

struct backing *conformance_open(const char *uri, const char *key_file)
{
	struct backing_options options = {
		.key_file = key_file,
		.pages = conformance_pages(),
		.pages_bytes = CONFORMANCE_PAGES * PAGE_BYTES,
		.wait_ms_max = CONFORMANCE_WAIT_MS,
	};
	struct backing *backing;
	struct error why = {0};
	int err = backing_open(uri, &options, &backing, &why);

	ck_assert_msg(!err, "%s", why.text);
	ck_assert_str_eq(backing->uri, uri);
	return backing;
}

struct backing_channel *conformance_channel(struct backing *backing)
{
	struct backing_channel *channel;
	struct error why = {0};

	ck_assert_msg(!backing->ops->channel_open(backing, &channel, &why), "%s", why.text);
	return channel;
}

int conformance_wait(struct backing_channel *channel, struct backing_io *io)
{
	uint64_t until_ns = clock_now_ns() + CONFORMANCE_WAIT_MS * 1000000ull;

	while (io->result == BACKING_PENDING) {
		channel->ops->poll(channel);
		ck_assert_msg(clock_now_ns() < until_ns, "an io is not done in time");
	}
	return io->result;
}

int conformance_move(struct backing_channel *channel, enum backing_verb verb, uint64_t slot,
		     uint32_t page_count, void *pages)
{
	struct backing_io io = {
		.verb = verb, .slot = slot, .page_count = page_count, .pages = pages};
	int err = channel->ops->submit(channel, &io);

	return err ? err : conformance_wait(channel, &io);
}

int conformance_count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	ck_assert_ptr_nonnull(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

int conformance_count_mappings(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return 0;
#else
	FILE *file = fopen("/proc/self/maps", "r");
	int count = 0, c;

	ck_assert_ptr_nonnull(file);
	while ((c = getc(file)) != EOF)
		count += c == '\n';
	fclose(file);
	return count;
#endif
}
