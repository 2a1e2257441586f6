/* SPDX-License-Identifier: Apache-2.0 */

/* The elements of M2 on the modelled interconnect; docs/methods.md names each by its test. */

#include <errno.h>

#include "base/random.h"
#include "model_fixture.h"
#include "suite.h"

/* A link on which one page takes LATENCY_NS and each further one TRANSFER_NS more. */
#define LATENCY_NS 2000
#define TRANSFER_NS 1000

static struct model_config config_of(enum model_policy policy, uint64_t timer_ns)
{
	struct model_config config = fixture_config();

	config.policy = policy;
	config.link_latency_ns = LATENCY_NS;
	config.link_bytes_per_s = PAGE_BYTES * 1000000000 / TRANSFER_NS;
	config.timer_ns = timer_ns;
	return config;
}

/* M2.1: each timer starts with its fetch, not with the access that waits for it. */
START_TEST(m2_1_the_timer_starts_with_the_fetch)
{
	uint64_t started_ns;

	fixture_begin(config_of(MODEL_LINE, 1500));
	fixture_all_far();
	bus_read(&model.bus, bus_leaf_line(8), false);
	started_ns = events[0].now_ns;
	fixture_pass(1000);
	bus_read(&model.bus, device_first_line(&model.device, 8), false);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_EXPIRED, 8), 1);
	for (uint32_t i = 8; i < 16; i++) {
		ck_assert_int_eq(events[i].event, DEVICE_FETCH_EXPIRED);
		ck_assert_uint_eq(events[i].now_ns, started_ns + 1500);
	}
	fixture_end();
}
END_TEST

/* M2.2: in time, the page is stored and present; no fault is taken. */
START_TEST(m2_2_in_time_the_page_is_stored_and_present)
{
	fixture_begin(config_of(MODEL_LINE, 40000));
	fixture_all_far();
	fixture_load(8);
	fixture_pass(20000);
	for (uint32_t page = 8; page < 16; page++) {
		ck_assert_int_eq(fixture_state(page), PAGE_LOCAL);
		ck_assert(device_is_present(&model.device, page));
		fixture_load(page);
	}
	ck_assert_uint_eq(model.bus.counts.faults, 0);
	ck_assert_uint_eq(model.bus.counts.fetches_stored, 8);
	ck_assert_uint_eq(model.bus.counts.fetches_expired, 0);
	fixture_end();
}
END_TEST

/*
 * M2.3: not in time, the entry is not present, no TLB and no cache says otherwise, and the access
 * takes the ordinary path, which returns the right bytes.
 */
START_TEST(m2_3_expired_the_entry_is_not_present)
{
	uint64_t line;

	fixture_begin(config_of(MODEL_LINE, 1000));
	fixture_all_far();
	line = device_first_line(&model.device, 8);
	model.device.newest[line] = model.device.remote[line] = 77;
	processor_translate(&model.processor, 0, FIXTURE_BASE / PAGE_BYTES + 8);
	fixture_pass(1100);
	ck_assert(!device_is_present(&model.device, 8));
	ck_assert_ptr_null(
		cache_peek(&model.processor.cores[0].tlb, FIXTURE_BASE / PAGE_BYTES + 8));
	ck_assert_ptr_null(cache_peek(&model.processor.shared, bus_leaf_line(8)));
	ck_assert_int_eq(bus_read(&model.bus, line, false), BUS_RETRY);
	ck_assert_uint_eq(model.bus.counts.faults, 0);
	fixture_load(8);
	ck_assert_uint_eq(model.bus.counts.faults, 1);
	ck_assert_uint_eq(fixture_count(DEVICE_FAULT_SERVED, 8), 1);
	ck_assert(device_is_present(&model.device, 8));
	ck_assert_int_eq(fixture_state(8), PAGE_LOCAL);
	ck_assert_uint_eq(model.bus.counts.stale_lines, 0);
	fixture_end();
}
END_TEST

/* The bytes that the ordinary path returns are compared: were they old, it would be counted. */
START_TEST(m2_3_old_bytes_would_be_noticed)
{
	fixture_begin(config_of(MODEL_LINE, 1000));
	fixture_all_far();
	model.device.newest[device_first_line(&model.device, 8) + 5] = 77;
	fixture_load(8);
	ck_assert_uint_eq(model.bus.counts.faults, 1);
	ck_assert_uint_eq(model.bus.counts.stale_lines, 1);
	fixture_end();
}
END_TEST

/* M2.4: what arrives after the timer is dropped; the page is as absent as before. */
START_TEST(m2_4_a_late_arrival_is_never_made_present)
{
	fixture_begin(config_of(MODEL_LINE, 1000));
	fixture_all_far();
	bus_read(&model.bus, bus_leaf_line(8), false);
	fixture_pass(100000);
	ck_assert_uint_eq(model.bus.counts.arrivals_dropped, 8);
	for (uint32_t page = 8; page < 16; page++) {
		ck_assert_uint_eq(fixture_count(DEVICE_FETCH_EXPIRED, page), 1);
		ck_assert_uint_eq(fixture_count(DEVICE_ARRIVAL_DROPPED, page), 1);
		ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STORED, page), 0);
		ck_assert(!device_is_present(&model.device, page));
		ck_assert_int_eq(fixture_state(page), PAGE_FAR);
	}
	/* Nor is it listed again: it is the ordinary path's. */
	bus_read(&model.bus, bus_leaf_line(8), false);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STARTED, DEVICE_NO_PAGE), 8);
	fixture_end();
}
END_TEST

/* The page that the ordinary path brought meanwhile is not replaced by the late bytes. */
START_TEST(m2_4_a_late_arrival_does_not_touch_a_page_that_is_back)
{
	fixture_begin(config_of(MODEL_LINE, 1000));
	fixture_all_far();
	fixture_load(8);
	fixture_store(8, 3);
	fixture_pass(100000);
	ck_assert_uint_eq(fixture_count(DEVICE_ARRIVAL_DROPPED, 8), 1);
	ck_assert_uint_eq(fixture_count(DEVICE_FAULT_SERVED, 8), 1);
	ck_assert_int_eq(fixture_state(8), PAGE_LOCAL);
	ck_assert(tracker_has(&model.device.tracker, 8, 3));
	fixture_end();
}
END_TEST

static void refer_at_random(uint64_t seed, uint32_t count)
{
	struct random_source random = random_from_seed(seed);

	for (uint32_t i = 0; i < count; i++) {
		fixture_refer(0, (uint32_t)random_below(&random, 600),
			      (uint32_t)random_below(&random, 64),
			      (enum trace_kind)random_below(&random, TRACE_KINDS));
	}
	fixture_pass(1000000000);
	device_finish(&model.device);
}

/* Exactly one outcome for each fetch, whatever the timer: never two, never none. */
START_TEST(m2_4_each_fetch_has_exactly_one_outcome)
{
	static uint8_t under_way[FIXTURE_PAGES];
	const struct model_counts *counts = &model.bus.counts;
	uint32_t next = 0;

	memset(under_way, 0, sizeof(under_way));
	fixture_begin(config_of(MODEL_LINE, 500 + 1000 * (uint64_t)_i));
	fixture_all_far();
	refer_at_random((uint64_t)_i, 300);
	for (; next < event_count; next++) {
		uint32_t page = events[next].page;

		if (events[next].event == DEVICE_FETCH_STARTED)
			ck_assert_uint_eq(under_way[page]++, 0);
		if (events[next].event == DEVICE_FETCH_STORED ||
		    events[next].event == DEVICE_FETCH_EXPIRED)
			ck_assert_uint_eq(under_way[page]--, 1);
	}
	ck_assert_uint_le(event_count, FIXTURE_EVENTS_MAX);
	ck_assert_uint_gt(counts->fetches_started, 100);
	ck_assert_uint_eq(counts->fetches_started,
			  counts->fetches_stored + counts->fetches_expired);
	ck_assert_uint_eq(counts->arrivals_dropped, counts->fetches_expired);
	ck_assert_uint_eq(counts->stale_lines, 0);
	fixture_end();
}
END_TEST

/* M2.5: a timer that is not below the bus timeout is no machine. */
START_TEST(m2_5_the_timer_is_below_the_bus_timeout)
{
	struct model_config config = config_of(MODEL_LINE, 50000);
	struct error why;

	config.bus_timeout_ns = 50001;
	ck_assert_int_eq(model_config_check(&config, &why), 0);
	config.bus_timeout_ns = 50000;
	ck_assert_int_eq(model_config_check(&config, &why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "not below"));
	config.bus_timeout_ns = 100;
	ck_assert_int_eq(model_config_check(&config, &why), -EINVAL);
}
END_TEST

static struct model_counts run_on_a_slow_link(uint64_t timer_ns)
{
	struct model_config config = config_of(MODEL_LINE, timer_ns);
	struct model_counts counts;

	config.link_bytes_per_s = PAGE_BYTES * 1000000000 / 20000;
	config.bus_timeout_ns = 50000;
	fixture_begin(config);
	fixture_all_far();
	refer_at_random(1, 2000);
	counts = model.bus.counts;
	fixture_end();
	return counts;
}

/* With the timer the bus never gives up; without it, on a slow link, it does. */
START_TEST(m2_5_with_the_timer_the_bus_never_times_out)
{
	struct model_counts with = run_on_a_slow_link(49999), without = run_on_a_slow_link(0);

	ck_assert_uint_eq(with.bus_timeouts, 0);
	ck_assert_uint_gt(with.fetches_expired, 0);
	ck_assert_uint_gt(without.bus_timeouts, 0);
	ck_assert_uint_eq(without.fetches_expired, 0);
	ck_assert_uint_eq(with.stale_lines + without.stale_lines, 0);
}
END_TEST

static struct model_counts run_with_timer(uint64_t timer_ns)
{
	struct model_counts counts;

	fixture_begin(config_of(MODEL_LINE, timer_ns));
	fixture_all_far();
	refer_at_random(1, 2000);
	counts = model.bus.counts;
	fixture_end();
	ck_assert_uint_eq(counts.stale_lines, 0);
	return counts;
}

/* The three runs: pages come well before the timer, well after it, and about when it ends. */
START_TEST(m2_three_regimes)
{
	struct model_counts under = run_with_timer(45000), over = run_with_timer(1000);
	struct model_counts equal = run_with_timer(LATENCY_NS + 4 * TRANSFER_NS);

	ck_assert_uint_eq(under.fetches_expired, 0);
	ck_assert_uint_eq(under.faults, 0);
	ck_assert_uint_eq(over.fetches_stored, 0);
	ck_assert_uint_eq(over.fetches_expired, over.fetches_started);
	ck_assert_uint_gt(over.faults, 0);
	ck_assert_uint_gt(equal.fetches_stored, equal.fetches_started / 10);
	ck_assert_uint_gt(equal.fetches_expired, equal.fetches_started / 10);
}
END_TEST

/* To the nanosecond: a page that comes as the timer ends is in time. */
START_TEST(m2_2_equal_is_in_time)
{
	uint64_t arrives_after_ns = LATENCY_NS + TRANSFER_NS;

	fixture_begin(config_of(MODEL_NONE, arrives_after_ns - (uint64_t)_i));
	fixture_all_far();
	fixture_load(8);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_STORED, 8), _i == 0);
	ck_assert_uint_eq(fixture_count(DEVICE_FETCH_EXPIRED, 8), _i == 1);
	fixture_end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_timer");
	TCase *tcase = tcase_create("model_timer");

	tcase_add_test(tcase, m2_1_the_timer_starts_with_the_fetch);
	tcase_add_test(tcase, m2_2_in_time_the_page_is_stored_and_present);
	tcase_add_test(tcase, m2_3_expired_the_entry_is_not_present);
	tcase_add_test(tcase, m2_3_old_bytes_would_be_noticed);
	tcase_add_test(tcase, m2_4_a_late_arrival_is_never_made_present);
	tcase_add_test(tcase, m2_4_a_late_arrival_does_not_touch_a_page_that_is_back);
	tcase_add_loop_test(tcase, m2_4_each_fetch_has_exactly_one_outcome, 0, 12);
	tcase_add_test(tcase, m2_5_the_timer_is_below_the_bus_timeout);
	tcase_add_test(tcase, m2_5_with_the_timer_the_bus_never_times_out);
	tcase_add_test(tcase, m2_three_regimes);
	tcase_add_loop_test(tcase, m2_2_equal_is_in_time, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
