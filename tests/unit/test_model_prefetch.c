/* SPDX-License-Identifier: Apache-2.0 */

/* The elements of M1 on the modelled interconnect; docs/methods.md names each by its test. */

#include "base/random.h"
#include "model_fixture.h"
#include "suite.h"

static struct model_config config_of(enum model_policy policy)
{
	struct model_config config = fixture_config();

	config.policy = policy;
	return config;
}

static uint32_t pages_here(void)
{
	uint32_t here = model.device.fetch_count;

	for (uint32_t page = 0; page < FIXTURE_PAGES; page++)
		here += fixture_state(page) == PAGE_LOCAL;
	return here;
}

/* M1.1: what is here is bounded; what is not comes from the other host, and is what was stored. */
START_TEST(m1_1_local_memory_is_a_bounded_cache)
{
	fixture_begin(config_of(MODEL_LINE));
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t page = 0; page < 1000; page++) {
			fixture_store(page, page % 64);
			ck_assert_uint_le(pages_here(), MODEL_LOCAL_PAGES_MIN);
		}
	}
	ck_assert_uint_eq(model.bus.counts.first_touches, 1000);
	ck_assert_uint_ge(model.bus.counts.bytes_fetched, 1000 * PAGE_BYTES);
	ck_assert_uint_eq(model.bus.counts.stale_lines, 0);
	fixture_end();
}
END_TEST

/* M1.2: the read of a line of the page table is what starts fetches, by its address alone. */
START_TEST(m1_2_a_read_of_a_table_line_is_detected)
{
	fixture_begin(config_of(MODEL_LINE));
	fixture_all_far();
	bus_read(&model.bus, bus_leaf_line(16), false);
	for (uint32_t page = 16; page < 24; page++)
		ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, page), 1);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, DEVICE_NO_PAGE), 8);
	/* Lines of the levels above point at no data. */
	bus_read(&model.bus, BUS_UPPER_LINES, false);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, DEVICE_NO_PAGE), 8);
	fixture_end();
}
END_TEST

START_TEST(m1_control_without_the_policy_nothing_starts)
{
	fixture_begin(config_of(MODEL_NONE));
	fixture_all_far();
	bus_read(&model.bus, bus_leaf_line(16), false);
	ck_assert_uint_eq(event_count, 0);
	fixture_end();
}
END_TEST

/* M1.3: an access to a data line starts nothing; to a page that is away, its own fetch only. */
START_TEST(m1_3_a_data_line_starts_nothing)
{
	fixture_begin(config_of(MODEL_LINE));
	fixture_load(16); /* its first touch: the page is here, and everything else is empty */
	fixture_all_far();
	fixture_set_state(16, PAGE_LOCAL);
	event_count = 0;
	for (uint32_t line = 0; line < 64; line++)
		bus_read(&model.bus, device_first_line(&model.device, 16) + line, line % 2);
	ck_assert_uint_eq(event_count, 0);
	bus_read(&model.bus, device_first_line(&model.device, 20), false);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, 20), 1);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, DEVICE_NO_PAGE), 1);
	fixture_end();
}
END_TEST

START_TEST(m1_3_only_far_entries_of_the_line_are_fetched)
{
	fixture_begin(config_of(MODEL_LINE));
	fixture_load(9); /* here */
	fixture_set_state(10, PAGE_FAR);
	fixture_set_state(11, PAGE_FAR);
	model.device.marks[11] = DEVICE_MARK_ABSENT;
	fixture_set_state(14, PAGE_FAR);
	fixture_set_state(16, PAGE_FAR); /* of the next line */
	event_count = 0;
	bus_read(&model.bus, bus_leaf_line(8), false);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, 10), 1);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, 14), 1);
	ck_assert_uint_eq(event_count, 2);
	/* What is under way is not fetched again. */
	bus_read(&model.bus, bus_leaf_line(8), false);
	ck_assert_uint_eq(event_count, 2);
	fixture_end();
}
END_TEST

/* M1.4: after a touch of one page, the other seven are here before they are asked for. */
START_TEST(m1_4_pages_are_here_before_they_are_asked_for)
{
	uint64_t wait_ns;

	fixture_begin(config_of(MODEL_LINE));
	fixture_all_far();
	fixture_load(32);
	fixture_pass(5000);
	wait_ns = model.bus.counts.wait_ns;
	for (uint32_t page = 33; page < 40; page++) {
		ck_assert_int_eq(fixture_state(page), PAGE_LOCAL);
		fixture_load(page);
	}
	ck_assert_uint_eq(model.bus.counts.wait_ns, wait_ns);
	ck_assert_uint_eq(model.bus.counts.prefetches_used, 7);
	ck_assert_uint_eq(model.bus.counts.prefetches_late, 0);
	ck_assert_uint_eq(model.bus.counts.demand_misses, 1);
	fixture_end();
}
END_TEST

/* Asked for while it is under way, a prefetch is used and late. */
START_TEST(m1_4_late_is_told_from_in_time)
{
	fixture_begin(config_of(MODEL_LINE));
	fixture_all_far();
	fixture_load(32);
	fixture_load(39); /* it came last, after seven others over the link */
	ck_assert_uint_eq(model.bus.counts.prefetches_used, 1);
	ck_assert_uint_eq(model.bus.counts.prefetches_late, 1);
	fixture_end();
}
END_TEST

/* M1.5: fetches start in the order of the accesses that the device saw. */
START_TEST(m1_5_fetches_start_in_order_of_accesses)
{
	static const uint32_t order[] = { 45, 40, 47, 42, 41, 43, 44, 46 };
	static const uint32_t accesses[] = { 20, 5, 9, 5, 5, 50, 4, 13 };

	fixture_begin(config_of(MODEL_LINE));
	for (uint32_t page = 40; page < 48; page++) {
		fixture_load(page);
		for (uint32_t i = 1; i < accesses[page - 40]; i++)
			bus_read(&model.bus, device_first_line(&model.device, page), false);
	}
	for (uint32_t page = 40; page < 48; page++)
		fixture_set_state(page, PAGE_FAR);
	event_count = 0;
	bus_read(&model.bus, bus_leaf_line(40), false);
	ck_assert_uint_eq(event_count, 8);
	for (uint32_t i = 0; i < 8; i++) {
		ck_assert_int_eq(events[i].event, DEVICE_FETCH_STARTED);
		ck_assert_uint_eq(events[i].page, order[i]);
	}
	fixture_pass(5000);
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_uint_eq(events[8 + i].page, order[i]);
	fixture_end();
}
END_TEST

static struct model_counts touch_all_twice(struct model_config config)
{
	struct model_counts counts;

	fixture_begin(config);
	for (uint32_t round = 0; round < 3; round++)
		for (uint32_t page = 0; page < 1024; page++)
			for (uint32_t line = 0; line < 64; line++)
				fixture_refer(0, page, line, TRACE_LOAD);
	counts = model.bus.counts;
	ck_assert_uint_eq(counts.stale_lines, 0);
	fixture_end();
	return counts;
}

/* M1.6: all page tables are in the device's memory; were they not, it would see nothing. */
START_TEST(m1_6_all_page_tables_are_in_the_device)
{
	struct model_config config = config_of(MODEL_LINE);
	struct model_counts counts = touch_all_twice(config), control;

	ck_assert_uint_gt(counts.table_line_reads, 0);
	ck_assert_uint_eq(counts.table_line_reads_elsewhere, 0);
	ck_assert(model_coverage(&counts) > 0.8);
	config.tables = MODEL_TABLES_IN_PROCESSOR;
	control = touch_all_twice(config);
	ck_assert_uint_eq(control.table_line_reads, 0);
	ck_assert_uint_gt(control.table_line_reads_elsewhere, 0);
	ck_assert_uint_eq(control.prefetches, 0);
	ck_assert_uint_gt(control.demand_misses, 6 * counts.demand_misses);
}
END_TEST

/* The controls: without prefetch, and by address, which scattered frames make useless. */
START_TEST(m1_control_adjacency_does_not_explain_the_gain)
{
	struct model_config ordered = config_of(MODEL_NEXT);
	struct model_counts none = touch_all_twice(config_of(MODEL_NONE));
	struct model_counts next = touch_all_twice(config_of(MODEL_NEXT));
	struct model_counts line = touch_all_twice(config_of(MODEL_LINE)), next_ordered;

	ordered.frames = MODEL_FRAMES_ORDERED;
	next_ordered = touch_all_twice(ordered);
	ck_assert_uint_eq(none.prefetches, 0);
	ck_assert(model_coverage(&line) > 0.8);
	ck_assert(model_accuracy(&line) > 0.9);
	ck_assert(model_coverage(&next) < 0.2);
	ck_assert(model_coverage(&next_ordered) > 0.8);
	ck_assert_uint_lt(line.wait_ns * 3, none.wait_ns);
}
END_TEST

/* The program's result equals the all-local run's, whatever is fetched, dropped and sent back. */
START_TEST(m1_the_result_is_that_of_the_all_local_run)
{
	struct model_config config = config_of((enum model_policy)(_i % 3));
	struct random_source random = random_from_seed((uint64_t)_i);

	config.timer_ns = _i % 2 ? 2500 : 10000;
	config.scan_ns = 100000;
	config.core_count = 2;
	fixture_begin(config);
	for (uint32_t i = 0; i < 200000; i++) {
		uint32_t page = (uint32_t)random_below(&random, 400);

		page = i % 3 ? page : i / 300 % 400;
		fixture_refer((uint32_t)random_below(&random, 2), page,
			      (uint32_t)random_below(&random, 64),
			      (enum trace_kind)random_below(&random, TRACE_KINDS));
	}
	ck_assert_uint_gt(model.bus.counts.evictions, 1000);
	ck_assert_uint_eq(model.bus.counts.stale_lines, 0);
	fixture_end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_prefetch");
	TCase *tcase = tcase_create("model_prefetch");

	tcase_add_test(tcase, m1_1_local_memory_is_a_bounded_cache);
	tcase_add_test(tcase, m1_2_a_read_of_a_table_line_is_detected);
	tcase_add_test(tcase, m1_control_without_the_policy_nothing_starts);
	tcase_add_test(tcase, m1_3_a_data_line_starts_nothing);
	tcase_add_test(tcase, m1_3_only_far_entries_of_the_line_are_fetched);
	tcase_add_test(tcase, m1_4_pages_are_here_before_they_are_asked_for);
	tcase_add_test(tcase, m1_4_late_is_told_from_in_time);
	tcase_add_test(tcase, m1_5_fetches_start_in_order_of_accesses);
	tcase_add_test(tcase, m1_6_all_page_tables_are_in_the_device);
	tcase_add_test(tcase, m1_control_adjacency_does_not_explain_the_gain);
	tcase_add_loop_test(tcase, m1_the_result_is_that_of_the_all_local_run, 0, 6);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
