/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What bench/persist.py has done to persistent regions, one verb a run. Regions are those of the
 * agent whose folder is PERDURE_FOLDER.
 *
 *	stores REGION COUNT	64-byte stores, each made safe by pd_region_persist(), and the same
 *				without, as the control
 *	sync FILE COUNT		writes of 4 KiB, each made safe by fdatasync()
 *	fill REGION STEP	writes every STEPth page, says "filled", and ends with its stdin
 *	first REGION		as soon as there is an agent: reads the last page of the region, and
 *				says when that was, by CLOCK_MONOTONIC
 *	pace REGION FILE MIB	a line of stdin says where and what: "region" or "file", "random"
 *				or "sequence", and how many ms; random stores go to the first MIB
 *	press REGION		writes to runs of pages at random until it is killed
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/random.h"
#include "perdure/region.h"
#include "persist_stores.h"

#define OPEN_NS_MAX 60000000000ull
#define OPEN_NAP_NS 200000
#define CHUNK_STORES (1u << 18)
#define PRESS_SEED 5
#define PRESS_PAGES 8 /* a run of them is unprotected with fewer faults: faster than any disk */

static struct pd_region *region;
static uint8_t *memory;
static uint64_t region_bytes;
static struct random_source random_words;
static struct latency sync_times;

static void __attribute__((noreturn)) die(const char *name, const char *words)
{
	fprintf(stderr, "persist: %s: %s\n", name, words);
	exit(EXIT_FAILURE);
}

static void open_region(const char *name)
{
	char words[PD_REGION_WORDS_BYTES];

	if (pd_region_open(name, &region, words))
		die(name, words);
	memory = pd_region_memory(region);
	region_bytes = pd_region_bytes(region);
}

static void say(const char *words)
{
	puts(words);
	fflush(stdout);
}

/* ---- One store that is safe ---- */

static int persist(const void *context, void *line)
{
	return pd_region_persist(context);
}

static int persist_not(const void *context, void *line)
{
	return 0;
}

static void time_stores(const char *name, uint64_t count)
{
	open_region(name);
	measure_stores("store", memory, count, persist_not, NULL);
	measure_stores("persist", memory, count, persist, region);
}

static void time_syncs(const char *path, uint64_t count)
{
	static uint8_t page[PAGE_BYTES];
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	uint64_t failed = 0;

	if (fd < 0)
		die(path, strerror(errno));
	for (uint64_t i = 0; i < count; i++) {
		uint64_t start_ns = latency_now_ns();

		memset(page, (int)i, sizeof(page));
		failed += pwrite(fd, page, sizeof(page), 0) != sizeof(page) || fdatasync(fd);
		/* The first ones make the file longer, which is another thing to be synced. */
		if (i >= count / 5)
			latency_add(&sync_times, latency_now_ns() - start_ns);
	}
	if (failed)
		die(path, "cannot be written");
	printf("{\"phase\": \"persist\", \"stores\": %" PRIu64
	       ", \"mean_ns\": %.0f, \"p50_ns\": %.0f, \"p99_ns\": %.0f}\n",
	       sync_times.count, (double)sync_times.sum_ns / (double)sync_times.count,
	       latency_percentile(&sync_times, 0.50, 0), latency_percentile(&sync_times, 0.99, 0));
	close(fd);
}

/* ---- What a save and a restore find ---- */

static void fill(const char *name, uint64_t step)
{
	open_region(name);
	random_words = random_from_seed(latency_now_ns());
	for (uint64_t page = 0; page < region_bytes / PAGE_BYTES; page += step) {
		uint64_t *words = (uint64_t *)(memory + page * PAGE_BYTES);
		uint64_t word = random_next(&random_words) | 1;

		for (size_t i = 0; i < PAGE_BYTES / sizeof(*words); i++)
			words[i] = word += word << 7 | 1;
	}
	say("filled");
	while (getchar() != EOF)
		;
}

static void read_first(const char *name)
{
	static const struct timespec nap = { .tv_nsec = OPEN_NAP_NS };
	uint64_t begin_ns = latency_now_ns(), now_ns;
	char words[PD_REGION_WORDS_BYTES];
	uint64_t opened_ns;

	while (pd_region_open(name, &region, words)) {
		if (latency_now_ns() - begin_ns > OPEN_NS_MAX)
			die(name, words);
		nanosleep(&nap, NULL);
	}
	opened_ns = latency_now_ns();
	memory = pd_region_memory(region);
	region_bytes = pd_region_bytes(region);
	if (*(volatile uint64_t *)(memory + region_bytes - PAGE_BYTES) == 0)
		die(name, "the last page is zeros");
	now_ns = latency_now_ns();
	printf("{\"phase\": \"first\", \"opened_at_ns\": %" PRIu64 ", \"read_at_ns\": %" PRIu64
	       "}\n",
	       opened_ns, now_ns);
}

/* ---- What tracking costs ---- */

static double random_stores(uint8_t *where, uint64_t set_bytes, uint64_t end_ns)
{
	volatile uint64_t *words = (volatile uint64_t *)where;
	uint64_t mask = set_bytes / sizeof(*words) - 1, stores = 0, begin_ns = latency_now_ns(),
		 now_ns;

	do {
		for (uint32_t i = 0; i < CHUNK_STORES; i++) {
			uint64_t at = random_next(&random_words);

			words[at & mask] = at;
		}
		stores += CHUNK_STORES;
		now_ns = latency_now_ns();
	} while (now_ns < end_ns);
	return (double)(now_ns - begin_ns) / (double)stores;
}

/* ns a page. */
static double sequence(uint8_t *where, uint64_t end_ns)
{
	uint64_t begin_ns = latency_now_ns(), now_ns, passes = 0;

	do {
		memset(where, (int)++passes, region_bytes);
		__asm__ volatile("" : : : "memory");
		now_ns = latency_now_ns();
	} while (now_ns < end_ns);
	return (double)(now_ns - begin_ns) / (double)passes /
	       ((double)region_bytes / (double)PAGE_BYTES);
}

static uint8_t *map_file(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	void *mapped;

	if (fd < 0 || ftruncate(fd, (off_t)region_bytes))
		die(path, strerror(errno));
	mapped = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		die(path, strerror(errno));
	close(fd);
	return mapped;
}

static void pace(const char *name, const char *path, uint64_t set_bytes)
{
	char place[16], what[16];
	uint64_t ms;
	uint8_t *file;

	open_region(name);
	if (!set_bytes || set_bytes & (set_bytes - 1) || set_bytes > region_bytes)
		die(name, "the set is no power of two within the region");
	file = map_file(path);
	random_words = random_from_seed(PRESS_SEED);
	/* Both have their pages before anything is timed. */
	memset(file, 1, region_bytes);
	memset(memory, 1, region_bytes);
	say("ready");
	while (scanf("%15s %15s %" SCNu64, place, what, &ms) == 3) {
		uint8_t *where = strcmp(place, "file") ? memory : file;
		uint64_t end_ns = latency_now_ns() + ms * 1000000u;
		bool random = strcmp(what, "sequence") != 0;

		printf("%.4f\n",
		       random ? random_stores(where, set_bytes, end_ns) : sequence(where, end_ns));
		fflush(stdout);
	}
}

/* ---- A writer faster than the disk ---- */

static void press(const char *name)
{
	open_region(name);
	random_words = random_from_seed(PRESS_SEED);
	for (;;) {
		uint64_t run = random_below(&random_words, region_bytes / PAGE_BYTES / PRESS_PAGES);

		for (uint64_t i = 0; i < PRESS_PAGES; i++)
			++*(volatile uint64_t *)(memory + (run * PRESS_PAGES + i) * PAGE_BYTES);
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: persist stores|sync|fill|first|pace|press WHERE [ARGUMENT...]\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	uint64_t last = argc > 3 ? strtoull(argv[argc - 1], NULL, 10) : 0;

	if (!strcmp(verb, "stores") && argc == 4)
		time_stores(argv[2], last);
	else if (!strcmp(verb, "sync") && argc == 4)
		time_syncs(argv[2], last);
	else if (!strcmp(verb, "fill") && argc == 4 && last)
		fill(argv[2], last);
	else if (!strcmp(verb, "first") && argc == 3)
		read_first(argv[2]);
	else if (!strcmp(verb, "pace") && argc == 5)
		pace(argv[2], argv[3], last << 20);
	else if (!strcmp(verb, "press") && argc == 3)
		press(argv[2]);
	else
		return usage();
	pd_region_close(region);
	return EXIT_SUCCESS;
}
