/* SPDX-License-Identifier: Apache-2.0 */

/* The elements of M3 on the modelled interconnect; docs/methods.md names each by its test. */

#include "base/random.h"
#include "model_fixture.h"
#include "suite.h"

#define USED_PAGES 300 /* by the tests that look at every line of them again and again */

static uint64_t word_of(enum line_map_level level, uint64_t word)
{
	return model.device.tracker.map.words[level][word];
}

/* M3.1: a line that becomes modified is set; stores to a modified line do nothing. */
START_TEST(m3_1_only_changes_of_state_act)
{
	const struct model_counts *counts = &model.bus.counts;
	uint64_t upgrades;

	fixture_begin(fixture_config());
	fixture_load(3);
	ck_assert_uint_eq(counts->lines_set, 0);
	ck_assert(!tracker_has(&model.device.tracker, 3, 0));
	fixture_store(3, 0);
	ck_assert_uint_eq(counts->lines_set, 1);
	ck_assert(tracker_has(&model.device.tracker, 3, 0));
	upgrades = counts->bus_upgrades;
	ck_assert_uint_eq(upgrades, 1);
	for (uint32_t i = 0; i < 100; i++)
		fixture_store(3, 0);
	fixture_load(3);
	ck_assert_uint_eq(counts->silent_stores, 100);
	ck_assert_uint_eq(counts->bus_upgrades, upgrades);
	ck_assert_uint_eq(counts->lines_set, 1);
	ck_assert_uint_eq(counts->lines_repeated, 0);
	fixture_end();
}
END_TEST

/* A line that was written back and is stored to again is known: counted, and nothing is written. */
START_TEST(m3_1_a_repeated_change_does_nothing)
{
	struct model_tracking before;

	fixture_begin(fixture_config());
	fixture_store(3, 0);
	bus_give_up(&model.bus, device_first_line(&model.device, 3), true);
	processor_invalidate(&model.processor, device_first_line(&model.device, 3));
	before = model.bus.counts.hierarchy;
	fixture_store(3, 0);
	ck_assert_uint_eq(model.bus.counts.lines_set, 1);
	ck_assert_uint_eq(model.bus.counts.lines_repeated, 1);
	ck_assert_uint_eq(model.bus.counts.hierarchy.fast_writes, before.fast_writes);
	ck_assert_uint_eq(model.bus.counts.hierarchy.slow_writes, before.slow_writes);
	fixture_end();
}
END_TEST

/* M3.2: one change sets one bit of each level, by address. */
START_TEST(m3_2_one_change_sets_one_bit_of_each_level)
{
	uint32_t page = 1234, line = 17;

	fixture_begin(fixture_config());
	fixture_store(page, line);
	for (uint64_t word = 0; word < FIXTURE_PAGES; word++)
		ck_assert_uint_eq(word_of(LINE_MAP_LINES, word), word == page ? 1ull << line : 0);
	for (uint64_t word = 0; word < FIXTURE_PAGES / 64; word++)
		ck_assert_uint_eq(word_of(LINE_MAP_PAGES, word),
				  word == page / 64 ? 1ull << page % 64 : 0);
	ck_assert_uint_eq(word_of(LINE_MAP_GROUPS, 0), 1ull << page / 512);
	fixture_end();
}
END_TEST

/* M3.3: summaries and the bitmap's cache are in fast memory; only what misses there is slow. */
START_TEST(m3_3_fast_and_slow_accesses_are_counted)
{
	struct model_tracking *tracking = &model.bus.counts.hierarchy;

	fixture_begin(fixture_config());
	fixture_store(8, 0); /* a word of each level is looked at and set */
	ck_assert_uint_eq(tracking->slow_reads, 1);
	ck_assert_uint_eq(tracking->fast_reads, 3);
	ck_assert_uint_eq(tracking->fast_writes, 3);
	fixture_store(15, 0); /* of the same line of the bitmap; its group is set already */
	ck_assert_uint_eq(tracking->slow_reads, 1);
	ck_assert_uint_eq(tracking->fast_reads, 6);
	ck_assert_uint_eq(tracking->fast_writes, 5);
	ck_assert_uint_eq(tracking->slow_writes, 0);
	/* Nine lines in a set of eight: the first must be written back. */
	for (uint32_t page = 16; page < 16 + 8 * 8; page += 8)
		fixture_store(page, 0);
	ck_assert_uint_eq(tracking->slow_reads, 9);
	ck_assert_uint_eq(tracking->slow_writes, 1);
	fixture_end();
}
END_TEST

/* The sizes: what must be fast is a small part of what may be slow. */
START_TEST(m3_3_the_fast_memory_is_small)
{
	uint64_t pages = 1 << 18; /* 1 GiB */

	ck_assert_uint_le(line_map_summary_bytes(pages) * 50, line_map_lines_bytes(pages));
}
END_TEST

static void check_no_false_negative(void)
{
	const struct cache *shared = &model.processor.shared;

	for (uint64_t i = 0; i < (shared->set_mask + 1) * shared->ways; i++) {
		uint64_t line = cache_key(shared->slots[i]);

		if (shared->slots[i] == CACHE_EMPTY || bus_is_table_line(line))
			continue;
		if ((cache_value(shared->slots[i]) & 0xff) == LINE_MODIFIED)
			ck_assert(tracker_has(&model.device.tracker,
					      model.device.page_of[line / BUS_PAGE_LINES],
					      line % BUS_PAGE_LINES));
	}
	/* A newest line that the other host does not have is in the map. */
	for (uint32_t page = 0; page < USED_PAGES; page++) {
		uint64_t first = device_first_line(&model.device, page);

		for (uint32_t line = 0; line < BUS_PAGE_LINES; line++)
			if (model.device.newest[first + line] != model.device.remote[first + line])
				ck_assert(tracker_has(&model.device.tracker, page, line));
	}
}

static void check_each_level_is_the_or(void)
{
	for (uint64_t page = 0; page < FIXTURE_PAGES; page++)
		ck_assert_int_eq(word_of(LINE_MAP_LINES, page) != 0,
				 word_of(LINE_MAP_PAGES, page / 64) >> page % 64 & 1);
	for (uint64_t group = 0; group < FIXTURE_PAGES / 512; group++) {
		uint64_t any = 0;

		for (uint64_t word = 8 * group; word < 8 * group + 8; word++)
			any |= word_of(LINE_MAP_PAGES, word);
		ck_assert_int_eq(any != 0, word_of(LINE_MAP_GROUPS, 0) >> group & 1);
	}
}

/* M3.4: the invariants, after every so many random references with evictions and scans. */
START_TEST(m3_4_invariants_hold)
{
	struct random_source random = random_from_seed((uint64_t)_i);
	struct model_config config = fixture_config();

	config.core_count = 3;
	config.scan_ns = _i % 2 ? 20000 : 0;
	config.timer_ns = _i % 3 ? 10000 : 2500;
	fixture_begin(config);
	for (uint32_t i = 0; i < 20000; i++) {
		fixture_refer((uint32_t)random_below(&random, 3),
			      (uint32_t)random_below(&random, USED_PAGES),
			      (uint32_t)random_below(&random, 64),
			      (enum trace_kind)random_below(&random, TRACE_KINDS));
		if (i % 500 == 0) {
			check_no_false_negative();
			check_each_level_is_the_or();
		}
	}
	ck_assert_uint_eq(model.bus.counts.lines_missed, 0);
	ck_assert_uint_eq(model.bus.counts.stale_lines, 0);
	fixture_end();
}
END_TEST

/*
 * The control: were a lone reader granted a line exclusive, its first store would be silent, and
 * the map would not know.
 */
START_TEST(m3_control_granted_exclusive_changes_are_missed)
{
	struct model_config config = fixture_config();

	config.grant = MODEL_GRANT_EXCLUSIVE;
	fixture_begin(config);
	fixture_load(3);
	fixture_store(3, 0);
	ck_assert_uint_eq(model.bus.counts.bus_upgrades, 0);
	ck_assert(!tracker_has(&model.device.tracker, 3, 0));
	for (uint32_t page = 100; page < 400; page++)
		fixture_load(page);
	ck_assert_uint_eq(model.bus.counts.lines_missed, 1);
	fixture_end();
}
END_TEST

static uint64_t accesses(const struct model_tracking *tracking)
{
	return tracking->fast_reads + tracking->fast_writes;
}

/* The accesses of a scan that finds so many pages, spread over the whole map. */
static void scan_with(uint32_t dirty_pages, struct model_tracking *ret_hierarchy,
		      struct model_tracking *ret_flat)
{
	struct model_counts before;

	fixture_begin(fixture_config());
	for (uint32_t i = 0; i < dirty_pages; i++)
		fixture_store(i * (FIXTURE_PAGES / 64), i);
	before = model.bus.counts;
	device_scan(&model.device);
	ck_assert_uint_eq(model.bus.counts.pages_back - before.pages_back, dirty_pages);
	ck_assert_uint_eq(line_map_count(&model.device.tracker.map), 0);
	*ret_hierarchy = *ret_flat = (struct model_tracking){ 0 };
	ret_hierarchy->fast_reads =
		accesses(&model.bus.counts.hierarchy) - accesses(&before.hierarchy);
	ret_hierarchy->slow_reads =
		model.bus.counts.hierarchy.slow_reads - before.hierarchy.slow_reads;
	ret_flat->fast_reads = accesses(&model.bus.counts.flat) - accesses(&before.flat);
	ret_flat->slow_reads = model.bus.counts.flat.slow_reads - before.flat.slow_reads;
	fixture_end();
}

/* M3.5: a scan costs what is modified; the flat bitmap, the control, what there is. */
START_TEST(m3_5_a_scan_costs_what_is_modified)
{
	struct model_tracking none[2], one[2], many[2];

	scan_with(0, &none[0], &none[1]);
	scan_with(1, &one[0], &one[1]);
	scan_with(64, &many[0], &many[1]);
	ck_assert_uint_eq(none[0].slow_reads, 0);
	ck_assert_uint_eq(none[0].fast_reads, 1);
	ck_assert_uint_le(one[0].slow_reads, 1);
	ck_assert_uint_le(one[0].fast_reads, 64);
	ck_assert_uint_le(many[0].slow_reads, 64);
	ck_assert_uint_gt(many[0].fast_reads, one[0].fast_reads);
	/* All of the bitmap, but for the lines of the cache that the stores had brought. */
	ck_assert_uint_ge(none[1].slow_reads, FIXTURE_PAGES / 8);
	ck_assert_uint_ge(one[1].slow_reads, FIXTURE_PAGES / 8 - 8);
	ck_assert_uint_ge(many[1].slow_reads, FIXTURE_PAGES / 8 - 8);
}
END_TEST

/* M3.6: after a scan the next store is a change again, however often and between which cores. */
START_TEST(m3_6_clearing_loses_no_change)
{
	struct random_source random = random_from_seed(5);
	struct model_config config = fixture_config();

	config.core_count = 2;
	fixture_begin(config);
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t page = (uint32_t)random_below(&random, 10);
		uint32_t line = (uint32_t)random_below(&random, 4);

		fixture_refer((uint32_t)random_below(&random, 2), page, line, TRACE_STORE);
		ck_assert(tracker_has(&model.device.tracker, page, line));
		if (random_below(&random, 5) == 0) {
			device_scan(&model.device);
			ck_assert(!tracker_has(&model.device.tracker, page, line));
			if (i % 8 == 0)
				check_no_false_negative();
		}
	}
	ck_assert_uint_gt(model.bus.counts.lines_set, 4000);
	ck_assert_uint_eq(model.bus.counts.lines_missed, 0);
	fixture_end();
}
END_TEST

/* The use: a page of which one line was changed sends back 64 bytes, and 4096 at page grain. */
START_TEST(m3_lines_are_sent_back_not_pages)
{
	fixture_begin(fixture_config());
	for (uint32_t page = 0; page < 100; page++)
		fixture_store(page, page % 64);
	fixture_store(5, 6);
	for (uint32_t page = 1000; page < 1300; page++)
		fixture_load(page);
	ck_assert_uint_eq(model.bus.counts.pages_back, 100);
	ck_assert_uint_eq(model.bus.counts.lines_back, 101);
	/* Unchanged since, they have nothing to send when they leave again. */
	for (uint32_t page = 0; page < 100; page++)
		fixture_load(page);
	for (uint32_t page = 1000; page < 1300; page++)
		fixture_load(page);
	ck_assert_uint_eq(model.bus.counts.lines_back, 101);
	ck_assert_uint_eq(model.bus.counts.stale_lines, 0);
	fixture_end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_lines");
	TCase *tcase = tcase_create("model_lines");

	tcase_add_test(tcase, m3_1_only_changes_of_state_act);
	tcase_add_test(tcase, m3_1_a_repeated_change_does_nothing);
	tcase_add_test(tcase, m3_2_one_change_sets_one_bit_of_each_level);
	tcase_add_test(tcase, m3_3_fast_and_slow_accesses_are_counted);
	tcase_add_test(tcase, m3_3_the_fast_memory_is_small);
	tcase_add_loop_test(tcase, m3_4_invariants_hold, 0, 6);
	tcase_add_test(tcase, m3_control_granted_exclusive_changes_are_missed);
	tcase_add_test(tcase, m3_5_a_scan_costs_what_is_modified);
	tcase_add_test(tcase, m3_6_clearing_loses_no_change);
	tcase_add_test(tcase, m3_lines_are_sent_back_not_pages);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
