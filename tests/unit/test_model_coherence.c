/* SPDX-License-Identifier: Apache-2.0 */

/* The modelled machine under the methods: caches, MESI, walks, configuration, whole runs. */

#include <errno.h>

#include "base/random.h"
#include "model_fixture.h"
#include "suite.h"

static uint32_t private_state(uint32_t core, uint32_t page, uint32_t line)
{
	uint64_t key = device_first_line(&model.device, page) + line;
	uint64_t *slot = cache_peek(&model.processor.cores[core].private, key);

	return slot ? cache_value(*slot) : 0;
}

static void expect_states(uint32_t first, uint32_t second)
{
	ck_assert_uint_eq(private_state(0, 3, 0), first);
	ck_assert_uint_eq(private_state(1, 3, 0), second);
	processor_check(&model.processor);
}

/* A line between two cores, step by step. */
START_TEST(test_states_of_a_line)
{
	struct model_config config = fixture_config();

	config.core_count = 2;
	fixture_begin(config);
	fixture_refer(0, 3, 0, TRACE_LOAD);
	expect_states(LINE_SHARED, 0);
	fixture_refer(1, 3, 0, TRACE_LOAD);
	expect_states(LINE_SHARED, LINE_SHARED);
	fixture_refer(1, 3, 0, TRACE_STORE);
	expect_states(0, LINE_MODIFIED);
	fixture_refer(0, 3, 0, TRACE_LOAD);
	expect_states(LINE_SHARED, LINE_SHARED);
	fixture_refer(0, 3, 0, TRACE_STORE);
	expect_states(LINE_MODIFIED, 0);
	fixture_refer(1, 3, 0, TRACE_STORE);
	expect_states(0, LINE_MODIFIED);
	ck_assert_uint_eq(model.bus.counts.lines_set, 1);
	ck_assert(processor_clean(&model.processor, device_first_line(&model.device, 3)));
	expect_states(0, LINE_SHARED);
	ck_assert(!processor_invalidate(&model.processor, device_first_line(&model.device, 3)));
	expect_states(0, 0);
	fixture_end();
}
END_TEST

/* Modified data that no other core has comes back exclusive: its next store needs no bus. */
START_TEST(test_exclusive_within_a_modified_line)
{
	fixture_begin(fixture_config());
	fixture_store(3, 0);
	/* Nine more lines of the private cache's first set, of eight; the shared has sixteen. */
	for (uint32_t line = 8; line < 64; line += 8)
		fixture_refer(0, 3, line, TRACE_LOAD);
	fixture_refer(0, 4, 0, TRACE_LOAD);
	fixture_refer(0, 4, 8, TRACE_LOAD);
	ck_assert_uint_eq(private_state(0, 3, 0), 0);
	fixture_load(3);
	ck_assert_uint_eq(private_state(0, 3, 0), LINE_EXCLUSIVE);
	fixture_store(3, 0);
	ck_assert_uint_eq(private_state(0, 3, 0), LINE_MODIFIED);
	ck_assert_uint_eq(model.bus.counts.bus_upgrades, 0);
	ck_assert_uint_eq(model.bus.counts.lines_set, 1);
	processor_check(&model.processor);
	fixture_end();
}
END_TEST

START_TEST(test_invariants_under_random_references)
{
	struct random_source random = random_from_seed((uint64_t)_i);
	struct model_config config = fixture_config();

	config.core_count = 4;
	config.scan_ns = 50000;
	config.grant = _i % 2 ? MODEL_GRANT_EXCLUSIVE : MODEL_GRANT_SHARED;
	fixture_begin(config);
	for (uint32_t i = 0; i < 20000; i++) {
		fixture_refer((uint32_t)random_below(&random, 4),
			      (uint32_t)random_below(&random, 200),
			      (uint32_t)random_below(&random, 8),
			      (enum trace_kind)random_below(&random, TRACE_KINDS));
		if (i % 100 == 0)
			processor_check(&model.processor);
	}
	ck_assert_uint_eq(model.bus.counts.stale_lines, 0);
	fixture_end();
}
END_TEST

START_TEST(test_least_recently_used_leaves)
{
	struct cache cache;

	ck_assert_int_eq(cache_create(&cache, 8, 4), 0);
	for (uint64_t key = 0; key < 8; key += 2)
		ck_assert_uint_eq(cache_insert(&cache, key, (uint32_t)key), CACHE_EMPTY);
	ck_assert_ptr_nonnull(cache_use(&cache, 0));
	ck_assert_ptr_nonnull(cache_peek(&cache, 2));
	ck_assert_uint_eq(cache_key(cache_insert(&cache, 8, 0)), 2);
	ck_assert_uint_eq(cache_value(cache_remove(&cache, 4)), 4);
	ck_assert_uint_eq(cache_remove(&cache, 4), CACHE_EMPTY);
	ck_assert_uint_eq(cache_insert(&cache, 10, 0), CACHE_EMPTY);
	ck_assert_uint_eq(cache_key(cache_insert(&cache, 12, 0)), 6);
	ck_assert_ptr_null(cache_use(&cache, 1));
	cache_destroy(&cache);
}
END_TEST

/* A walk reads a line of each level, and then only the lowest; a TLB hit reads none. */
START_TEST(test_a_walk_reads_lines_of_each_level)
{
	fixture_begin(fixture_config());
	fixture_load(8);
	/* The empty entry was read, the page given, and its line read again. */
	ck_assert_uint_eq(model.bus.counts.tlb_misses, 1);
	ck_assert_uint_eq(model.bus.counts.table_line_reads, 3 + 2);
	fixture_load(8);
	ck_assert_uint_eq(model.bus.counts.tlb_misses, 1);
	processor_shoot_down(&model.processor, FIXTURE_BASE / PAGE_BYTES + 8);
	fixture_load(8);
	ck_assert_uint_eq(model.bus.counts.tlb_misses, 2);
	ck_assert_uint_eq(model.bus.counts.table_line_reads, 3 + 2);
	ck_assert_uint_eq(model.bus.counts.first_touches, 1);
	fixture_end();
}
END_TEST

START_TEST(test_wrong_machines_are_told)
{
	struct error why;
	struct model_config wrong[8];

	for (size_t i = 0; i < 8; i++)
		wrong[i] = fixture_config();
	wrong[0].private_bytes = 5000;
	wrong[1].private_bytes = 3 * 8 * 64;
	wrong[2].shared_bytes = 512;
	wrong[3].local_bytes = MIB + 1;
	wrong[4].local_bytes = 64 * KIB;
	wrong[5].tlb_entries = 24;
	wrong[6].core_count = 9;
	wrong[7].link_bytes_per_s = 1000;
	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(model_config_check(&wrong[i], &why), -EINVAL);
}
END_TEST

/* The same trace, configuration and seed give the same counts; another seed other frames. */
START_TEST(test_runs_are_deterministic)
{
	struct model_counts counts[3];

	for (uint32_t run = 0; run < 3; run++) {
		struct random_source random = random_from_seed(9);
		struct model_config config = fixture_config();

		config.policy = MODEL_NEXT;
		config.seed = run < 2 ? 1 : 2;
		fixture_begin(config);
		for (uint32_t i = 0; i < 20000; i++)
			fixture_refer(0, (uint32_t)random_below(&random, 500), i % 64,
				      (enum trace_kind)(i % TRACE_KINDS));
		counts[run] = model.bus.counts;
		fixture_end();
	}
	ck_assert_mem_eq(&counts[0], &counts[1], sizeof(counts[0]));
	ck_assert_mem_ne(&counts[0], &counts[2], sizeof(counts[0]));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_coherence");
	TCase *tcase = tcase_create("model_coherence");

	tcase_add_test(tcase, test_states_of_a_line);
	tcase_add_test(tcase, test_exclusive_within_a_modified_line);
	tcase_add_loop_test(tcase, test_invariants_under_random_references, 0, 4);
	tcase_add_test(tcase, test_least_recently_used_leaves);
	tcase_add_test(tcase, test_a_walk_reads_lines_of_each_level);
	tcase_add_test(tcase, test_wrong_machines_are_told);
	tcase_add_test(tcase, test_runs_are_deterministic);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
