/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the tracking of changed lines costs: the line map beside a flat bitmap, both of 1 GiB of
 * pages, and finding the changed lines of a page by a twin and by digests of several sizes, hot in
 * the cache and from memory. One JSON line a figure; each is the best of ROUNDS passes on one
 * thread.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/random.h"
#include "latency.h"
#include "memory/line_diff.h"
#include "memory/line_map.h"
#include "memory/page_digest.h"

#define MAP_PAGES 262144 /* 1 GiB */
#define ROUNDS 15
#define HOT_PAGES 4
#define HOT_REPEATS 512
#define COLD_PAGES 32768 /* 128 MiB: more than any cache */
#define COLD_STRIDE 7919 /* prime, so each page comes once and not in order */
#define CHANGED_LINE 17	 /* of each page: one changed line */
#define RANDOM_SETS 262144

static struct line_map map;
static uint64_t *flat;
static uint8_t *pages, *records;
static uint64_t page_count, page_stride, repeats;
static struct line_digest_key key;
static struct page_digest_key page_key;
static volatile uint64_t sink;

static void *memory(size_t bytes)
{
	void *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (made == MAP_FAILED) {
		fprintf(stderr, "lines: no memory\n");
		exit(EXIT_FAILURE);
	}
	return made;
}

/* What `pass` takes at the best, in ns: whatever else runs only adds. `prepare` is not timed. */
static double best_ns(void (*prepare)(uint64_t), void (*pass)(uint64_t), uint64_t argument)
{
	uint64_t best = UINT64_MAX;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start_ns, ns;

		if (prepare)
			prepare(argument);
		start_ns = latency_now_ns();
		pass(argument);
		ns = latency_now_ns() - start_ns;
		best = ns < best ? ns : best;
	}
	return (double)best;
}

static void clear_map(uint64_t unused)
{
	for (uint64_t page = 0; (page = line_map_next(&map, page)) != LINE_MAP_NONE;)
		sink = line_map_take(&map, page);
	memset(flat, 0, MAP_PAGES * sizeof(*flat));
}

/* Every line of a sixteenth of the pages, in order. */
static void set_lines(uint64_t unused)
{
	for (uint64_t line = 0; line < MAP_PAGES * 4; line++)
		line_map_set_line(&map, line);
}

static void set_lines_random(uint64_t seed)
{
	struct random_source random = random_from_seed(seed);

	for (uint64_t i = 0; i < RANDOM_SETS; i++)
		line_map_set_line(&map, random_next(&random) % (MAP_PAGES * 64));
}

static void draw_lines(uint64_t seed)
{
	struct random_source random = random_from_seed(seed);
	uint64_t drawn = 0;

	for (uint64_t i = 0; i < RANDOM_SETS; i++)
		drawn ^= random_next(&random) % (MAP_PAGES * 64);
	sink = drawn;
}

static void flat_set(uint64_t line)
{
	__atomic_fetch_or(&flat[line / 64], 1ull << line % 64, __ATOMIC_SEQ_CST);
}

static void set_lines_flat(uint64_t unused)
{
	for (uint64_t line = 0; line < MAP_PAGES * 4; line++)
		flat_set(line);
}

static void change_pages(uint64_t changed)
{
	clear_map(0);
	for (uint64_t i = 0; i < changed; i++) {
		uint64_t page = i * (MAP_PAGES / changed);

		line_map_set(&map, page, 1);
		flat_set(page * 64);
	}
}

static void scan(uint64_t unused)
{
	for (uint64_t page = 0; (page = line_map_next(&map, page)) != LINE_MAP_NONE;)
		sink = line_map_take(&map, page);
}

static void scan_flat(uint64_t unused)
{
	for (uint64_t page = 0; page < MAP_PAGES; page++)
		if (__atomic_load_n(&flat[page], __ATOMIC_SEQ_CST))
			sink = __atomic_exchange_n(&flat[page], 0, __ATOMIC_SEQ_CST);
}

static void measure_map(void)
{
	double sets = MAP_PAGES * 4, drawing;

	line_map_init(&map, memory(line_map_summary_bytes(MAP_PAGES)),
		      memory(line_map_lines_bytes(MAP_PAGES)), MAP_PAGES);
	flat = memory(MAP_PAGES * sizeof(*flat));
	printf("{\"phase\": \"set\", \"new_ns\": %.2f", best_ns(clear_map, set_lines, 0) / sets);
	printf(", \"again_ns\": %.2f", best_ns(NULL, set_lines, 0) / sets);
	drawing = best_ns(NULL, draw_lines, 1);
	printf(", \"random_new_ns\": %.2f",
	       (best_ns(clear_map, set_lines_random, 1) - drawing) / RANDOM_SETS);
	printf(", \"flat_new_ns\": %.2f}\n", best_ns(clear_map, set_lines_flat, 0) / sets);
	clear_map(0);
	printf("{\"phase\": \"scan clean\", \"pages\": %d, \"us\": %.3f, \"flat_us\": %.3f}\n",
	       MAP_PAGES, best_ns(NULL, scan, 0) / 1e3, best_ns(NULL, scan_flat, 0) / 1e3);
	for (uint64_t changed = 1; changed <= MAP_PAGES; changed *= 8)
		printf("{\"phase\": \"scan %lu changed\", \"changed\": %lu, \"us\": %.3f, "
		       "\"flat_us\": %.3f}\n",
		       changed, changed, best_ns(change_pages, scan, changed) / 1e3,
		       best_ns(change_pages, scan_flat, changed) / 1e3);
}

/* What a record of `bits` bits for each line or block costs: the digest cut to its highest bits. */
static void make_cut(const uint8_t *page, uint32_t bits, uint8_t *record)
{
	const uint64_t *words = (const uint64_t *)page;

	for (uint32_t line = 0; line < 64; line++) {
		uint64_t digest = line_digest(&key, words + line * 8, 1);
		uint32_t high = (uint32_t)(digest >> 32);
		uint16_t low = (uint16_t)(digest >> 16);

		memcpy(record + line * 4, &high, 4);
		if (bits == 48)
			memcpy(record + 256 + line * 2, &low, 2);
	}
}

static uint64_t diff_cut(const uint8_t *page, uint32_t bits, const uint8_t *record)
{
	const uint64_t *words = (const uint64_t *)page;
	uint64_t mask = 0;

	for (uint32_t line = 0; line < 64; line++) {
		uint64_t digest = line_digest(&key, words + line * 8, 1);
		uint32_t high;
		uint16_t low = (uint16_t)(digest >> 16);

		memcpy(&high, record + line * 4, 4);
		if (bits == 48)
			memcpy(&low, record + 256 + line * 2, 2);
		mask |= (uint64_t)((high ^ (uint32_t)(digest >> 32)) |
						   (uint16_t)(low ^ (uint16_t)(digest >> 16))
					   ? 1
					   : 0)
			<< line;
	}
	return mask;
}

enum way { WAY_TWIN, WAY_LINE, WAY_PAIR, WAY_FOUR, WAY_CUT48, WAY_CUT32, WAY_PAGE, WAYS };

static const struct {
	const char *name;
	uint32_t record_bytes; /* kept for each page */
} ways[WAYS] = {
	[WAY_TWIN] = { "twin", PAGE_BYTES },	     [WAY_LINE] = { "64 bits a line", 512 },
	[WAY_PAIR] = { "64 bits for 2 lines", 256 }, [WAY_FOUR] = { "64 bits for 4 lines", 128 },
	[WAY_CUT48] = { "48 bits a line", 384 },     [WAY_CUT32] = { "32 bits a line", 256 },
	[WAY_PAGE] = { "64 bits a page", 8 },
};

static void make_record(enum way way, const uint8_t *page, uint8_t *record)
{
	if (way == WAY_TWIN)
		memcpy(record, page, PAGE_BYTES);
	else if (way == WAY_PAGE)
		*(uint64_t *)record = page_digest(&page_key, page);
	else if (way == WAY_CUT48 || way == WAY_CUT32)
		make_cut(page, way == WAY_CUT48 ? 48 : 32, record);
	else
		line_digest_page(&key, page, 1u << (way - WAY_LINE), (uint64_t *)record);
}

static uint64_t diff_record(enum way way, const uint8_t *page, const uint8_t *record)
{
	if (way == WAY_TWIN)
		return line_diff_twin(page, record);
	if (way == WAY_PAGE)
		return page_digest(&page_key, page) != *(const uint64_t *)record;
	if (way == WAY_CUT48 || way == WAY_CUT32)
		return diff_cut(page, way == WAY_CUT48 ? 48 : 32, record);
	return line_diff_digests(&key, page, 1u << (way - WAY_LINE), (const uint64_t *)record);
}

static uint8_t *record_of(enum way way, uint64_t page)
{
	return records + page * ways[way].record_bytes;
}

static void make_pass(uint64_t way)
{
	for (uint64_t i = 0; i < page_count * repeats; i++) {
		uint64_t page = i * page_stride % page_count;

		make_record((enum way)way, pages + page * PAGE_BYTES, record_of(way, page));
	}
}

static void diff_pass(uint64_t way)
{
	uint64_t masks = 0;

	for (uint64_t i = 0; i < page_count * repeats; i++) {
		uint64_t page = i * page_stride % page_count;

		masks |=
			diff_record((enum way)way, pages + page * PAGE_BYTES, record_of(way, page));
	}
	sink = masks;
}

static void toggle_line(void)
{
	for (uint64_t page = 0; page < page_count; page++)
		pages[page * PAGE_BYTES + CHANGED_LINE * LINE_BYTES] ^= 1;
}

static void check(enum way way)
{
	uint64_t lines = way == WAY_FOUR ? 0xf0000 : way == WAY_PAIR ? 0x30000 : 0x20000;

	if (sink != (way == WAY_PAGE ? 1 : lines)) {
		fprintf(stderr, "lines: %s found the lines %#lx\n", ways[way].name, sink);
		exit(EXIT_FAILURE);
	}
}

/* Makes records of all pages, changes one line of each, and finds it. */
static void measure_way(enum way way, bool is_hot)
{
	double make_ns, diff_ns, count;

	page_count = is_hot ? HOT_PAGES : COLD_PAGES;
	page_stride = is_hot ? 1 : COLD_STRIDE;
	repeats = is_hot ? HOT_REPEATS : 1;
	count = (double)(page_count * repeats);
	make_ns = best_ns(NULL, make_pass, way) / count;
	toggle_line();
	diff_ns = best_ns(NULL, diff_pass, way) / count;
	check(way);
	toggle_line();
	printf("{\"phase\": \"%s, %s\", \"record_bytes\": %u, \"make_ns\": %.0f, "
	       "\"diff_ns\": %.0f}\n",
	       ways[way].name, is_hot ? "hot" : "from memory", ways[way].record_bytes, make_ns,
	       diff_ns);
}

int main(void)
{
	struct random_source random = random_from_seed(1);

	measure_map();
	random_fill(&random, &key, sizeof(key));
	random_fill(&random, &page_key, sizeof(page_key));
	pages = memory(COLD_PAGES * PAGE_BYTES);
	records = memory(COLD_PAGES * PAGE_BYTES);
	random_fill(&random, pages, COLD_PAGES * PAGE_BYTES);
	for (int way = 0; way < WAYS; way++) {
		measure_way((enum way)way, true);
		measure_way((enum way)way, false);
	}
	return 0;
}
