/* SPDX-License-Identifier: Apache-2.0 */

/* The machine of power failures, case by case; test_power_rules.c has what must always hold. */

#include "policy/power.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "power_fixture.h"
#include "suite.h"

static struct trial start(bool has_ups)
{
	struct power_config own = config;
	struct trial t = { .now_ns = 1000 * SECOND_NS };

	own.has_ups = has_ups;
	power_init(&t.power, &own);
	return t;
}

static void step(struct trial *t, enum power_event_kind kind, uint64_t after_ns)
{
	struct power_event event = { .kind = kind,
				     .now_ns = t->now_ns += after_ns,
				     .save_ns = SAVE_NS };

	power_step(&t->power, &event, &t->action);
}

static void ups(struct trial *t, uint32_t flags, uint32_t runtime_s, uint64_t after_ns)
{
	struct power_event event = {
		.kind = POWER_UPS,
		.now_ns = t->now_ns += after_ns,
		.save_ns = SAVE_NS,
		.ups = { POWER_ANSWERS, flags, 80, runtime_s },
	};

	power_step(&t->power, &event, &t->action);
}

static void silent(struct trial *t, uint64_t after_ns)
{
	struct power_event event = { .kind = POWER_UPS,
				     .now_ns = t->now_ns += after_ns,
				     .save_ns = SAVE_NS,
				     .ups = { .link = POWER_SILENT } };

	power_step(&t->power, &event, &t->action);
}

static void expect(const struct trial *t, enum power_do what, enum power_reason reason,
		   const char *words)
{
	ck_assert_int_eq(t->action.what, what);
	if (what == POWER_DO_SAVE)
		ck_assert_int_eq(t->action.reason, reason);
	ck_assert_msg(words ? strstr(t->action.words.text, words) != NULL
			    : !t->action.words.text[0],
		      "\"%s\" in: %s", words ? words : "", t->action.words.text);
}

static struct trial start_on_line(void)
{
	struct trial t = start(true);

	ups(&t, POWER_ON_LINE, 600, 0);
	expect(&t, POWER_DO_NOTHING, 0, "the UPS answers");
	ck_assert_int_eq(power_check(&t.power, NULL), 0);
	return t;
}

START_TEST(a_short_outage_is_ridden_through)
{
	struct trial t = start_on_line();

	ups(&t, POWER_ON_BATTERY, 600, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "mains power failed");
	ck_assert_uint_eq(power_wake_ns(&t.power), t.now_ns + POWER_RIDE_THROUGH_NS);
	for (uint32_t i = 0; i < 49; i++) {
		ups(&t, POWER_ON_BATTERY, 600, SECOND_NS / 10);
		expect(&t, POWER_DO_NOTHING, 0, NULL);
	}
	ck_assert_int_eq(power_check(&t.power, NULL), 0);
	ups(&t, POWER_ON_LINE, 600, SECOND_NS / 20);
	expect(&t, POWER_DO_NOTHING, 0, "mains power is back after 4.950 s");
	ck_assert_uint_eq(power_wake_ns(&t.power), POWER_NO_WAKE);
	step(&t, POWER_TICK, 100 * SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
}
END_TEST

START_TEST(a_long_outage_is_saved_and_waited_for)
{
	struct trial t = start_on_line();

	ups(&t, POWER_ON_BATTERY, 600, SECOND_NS);
	step(&t, POWER_TICK, POWER_RIDE_THROUGH_NS - 1);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	step(&t, POWER_TICK, 1);
	expect(&t, POWER_DO_SAVE, POWER_BY_RIDE_THROUGH, "save begins: mains power is not back");
	step(&t, POWER_SAVE_DONE, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "saved; writers wait for mains power");
	step(&t, POWER_TICK, 1000 * SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	ck_assert_uint_eq(power_wake_ns(&t.power), POWER_NO_WAKE);
	ups(&t, POWER_ON_LINE, 600, SECOND_NS);
	expect(&t, POWER_DO_RESUME, 0, "mains power is back after 1007.000 s; writers go on");
}
END_TEST

START_TEST(what_is_urgent_is_not_ridden_through)
{
	static const struct {
		uint32_t flags, runtime_s;
		enum power_reason reason;
	} rows[] = {
		{ POWER_ON_BATTERY | POWER_LOW_BATTERY, 600, POWER_BY_LOW_BATTERY },
		{ POWER_ON_BATTERY | POWER_FORCED_SHUTDOWN, 600, POWER_BY_SHUTDOWN },
		{ POWER_ON_LINE | POWER_FORCED_SHUTDOWN, 600, POWER_BY_SHUTDOWN },
		{ POWER_FORCED_SHUTDOWN, 600, POWER_BY_SHUTDOWN },
		{ POWER_ON_BATTERY, 40, POWER_BY_RUNTIME }, /* 10 s to save, 30 in reserve */
		{ POWER_ON_BATTERY, 0, POWER_BY_RUNTIME },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct trial t = start_on_line();

		ups(&t, rows[i].flags, rows[i].runtime_s, SECOND_NS);
		expect(&t, POWER_DO_SAVE, rows[i].reason, power_reason_text(rows[i].reason));
	}
}
END_TEST

START_TEST(a_runtime_runs_out_between_two_answers)
{
	struct trial t = start_on_line();

	ups(&t, POWER_ON_BATTERY, 42, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "mains power failed");
	ck_assert_uint_eq(power_wake_ns(&t.power), t.now_ns + 2 * SECOND_NS);
	step(&t, POWER_TICK, 2 * SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_RUNTIME, "the battery lasts only for the save");
}
END_TEST

/* On mains a low battery or none is no reason to save, but nothing is armed. */
START_TEST(a_bad_battery_on_mains_disarms)
{
	static const struct {
		uint32_t flags;
		const char *words;
	} rows[] = {
		{ POWER_ON_LINE | POWER_LOW_BATTERY, "battery is low" },
		{ POWER_ON_LINE | POWER_REPLACE_BATTERY, "asks for a new battery" },
		{ 0, "neither on line nor on battery" },
		{ POWER_LOW_BATTERY, "battery is low" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct trial t = start_on_line();
		struct error why = { "" };

		ups(&t, rows[i].flags, 0, SECOND_NS);
		ck_assert_int_eq(t.action.what, POWER_DO_NOTHING);
		ck_assert_int_lt(power_check(&t.power, &why), 0);
		ck_assert_msg(strstr(why.text, rows[i].words) != NULL, "%s", why.text);
	}
}
END_TEST

START_TEST(a_ups_on_battery_that_falls_silent_is_critical)
{
	struct trial t = start_on_line();

	ups(&t, POWER_ON_BATTERY, 600, SECOND_NS);
	silent(&t, SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_SILENCE, "does not answer");
	step(&t, POWER_SAVE_DONE, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "saved; writers wait");
	step(&t, POWER_TICK, 1000 * SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	/* It answers with neither word: it is where it was. */
	ups(&t, 0, 600, SECOND_NS);
	ck_assert_int_eq(t.action.what, POWER_DO_NOTHING);
	ups(&t, POWER_ON_LINE, 600, SECOND_NS);
	expect(&t, POWER_DO_RESUME, 0, "writers go on");
}
END_TEST

START_TEST(a_ups_on_mains_that_falls_silent_disarms)
{
	struct trial t = start_on_line();
	struct error why = { "" };

	silent(&t, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "a power failure would not be noticed");
	silent(&t, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	ck_assert_int_lt(power_check(&t.power, &why), 0);
	ck_assert_str_eq(why.text, "the UPS does not answer");
	step(&t, POWER_TICK, 1000 * SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	ups(&t, POWER_ON_LINE, 600, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "the UPS answers");
	ck_assert_int_eq(power_check(&t.power, NULL), 0);

	t = start(true);
	silent(&t, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	ck_assert_int_lt(power_check(&t.power, &why), 0);
	ck_assert_str_eq(why.text, "the UPS has not answered yet");
}
END_TEST

START_TEST(power_that_returns_does_not_stop_a_save)
{
	struct trial t = start_on_line();

	ups(&t, POWER_ON_BATTERY | POWER_LOW_BATTERY, 100, SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_LOW_BATTERY, "low");
	ups(&t, POWER_ON_LINE, 600, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "mains power is back after 1.000 s");
	step(&t, POWER_COMMAND, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	step(&t, POWER_SAVE_DONE, SECOND_NS);
	expect(&t, POWER_DO_RESUME, 0, "saved; writers go on");
}
END_TEST

START_TEST(a_failed_save_is_tried_again_without_mains)
{
	struct trial t = start_on_line();

	ups(&t, POWER_ON_BATTERY | POWER_LOW_BATTERY, 100, SECOND_NS);
	for (uint32_t i = 0; i < 20; i++) {
		step(&t, POWER_SAVE_FAILED, SECOND_NS);
		expect(&t, POWER_DO_NOTHING, 0, "the save failed; the one before it is kept");
		ck_assert_int_eq(power_check(&t.power, NULL), -EIO);
		ck_assert_uint_eq(power_wake_ns(&t.power), t.now_ns + POWER_RETRY_NS);
		step(&t, POWER_TICK, POWER_RETRY_NS - 1);
		expect(&t, POWER_DO_NOTHING, 0, NULL);
		step(&t, POWER_TICK, 1);
		expect(&t, POWER_DO_SAVE, POWER_BY_LOW_BATTERY, "save begins");
	}
	step(&t, POWER_SAVE_FAILED, SECOND_NS);
	ups(&t, POWER_ON_LINE, 100, SECOND_NS / 2);
	expect(&t, POWER_DO_RESUME, 0, "there is power: writers go on");
}
END_TEST

START_TEST(a_failed_command_lets_writers_go_on)
{
	struct trial t = start_on_line();

	step(&t, POWER_COMMAND, SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_COMMAND, "on command");
	step(&t, POWER_SAVE_FAILED, SECOND_NS);
	expect(&t, POWER_DO_RESUME, 0,
	       "the save failed; the one before it is kept; there is power");
}
END_TEST

START_TEST(a_command_in_a_short_outage_does_not_end_it)
{
	struct trial t = start_on_line();

	ups(&t, POWER_ON_BATTERY, 600, SECOND_NS);
	step(&t, POWER_COMMAND, SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_COMMAND, "on command");
	step(&t, POWER_SAVE_DONE, SECOND_NS);
	expect(&t, POWER_DO_RESUME, 0, "saved; writers go on");
	step(&t, POWER_TICK, 3 * SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_RIDE_THROUGH, "mains power is not back");
	/* One that lasts beyond it keeps the writers. */
	t = start_on_line();
	ups(&t, POWER_ON_BATTERY, 600, SECOND_NS);
	step(&t, POWER_COMMAND, SECOND_NS);
	step(&t, POWER_SAVE_DONE, 10 * SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "writers wait for mains power");
	ups(&t, POWER_ON_LINE, 600, SECOND_NS);
	expect(&t, POWER_DO_RESUME, 0, "writers go on");
}
END_TEST

START_TEST(a_forced_shutdown_is_for_good)
{
	struct trial t = start_on_line();
	struct error why = { "" };

	ups(&t, POWER_ON_LINE | POWER_FORCED_SHUTDOWN, 600, SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_SHUTDOWN, "the UPS forces a shutdown");
	ck_assert(!power_may_log_out(&t.power));
	ups(&t, POWER_ON_LINE, 600, SECOND_NS);
	step(&t, POWER_SAVE_DONE, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, "saved; writers wait");
	ck_assert(power_may_log_out(&t.power));
	ups(&t, POWER_ON_LINE, 600, 1000 * SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	ck_assert_int_lt(power_check(&t.power, &why), 0);
	ck_assert_msg(strstr(why.text, "restart the agent") != NULL, "%s", why.text);
}
END_TEST

START_TEST(a_host_that_was_to_go_down_is_waited_for)
{
	for (uint32_t i = 0; i < 4; i++) {
		struct trial t = i / 2 ? start_on_line() : start(false);
		enum power_reason reason = i % 2 ? POWER_BY_BUTTON : POWER_BY_SIGPWR;

		step(&t, i % 2 ? POWER_BUTTON : POWER_SIGPWR, SECOND_NS);
		expect(&t, POWER_DO_SAVE, reason, power_reason_text(reason));
		step(&t, POWER_SAVE_DONE, SECOND_NS);
		expect(&t, POWER_DO_NOTHING, 0, "saved; the host is expected to go down");
		ck_assert_uint_eq(power_wake_ns(&t.power), t.now_ns + POWER_HOLD_NS);
		step(&t, POWER_TICK, POWER_HOLD_NS - 1);
		expect(&t, POWER_DO_NOTHING, 0, NULL);
		step(&t, POWER_TICK, 1);
		expect(&t, POWER_DO_RESUME, 0, "the host did not go down: writers go on");
		ck_assert_uint_eq(power_wake_ns(&t.power), POWER_NO_WAKE);
	}
}
END_TEST

START_TEST(a_disk_that_fails_does_not_hold_a_host_for_ever)
{
	struct trial t = start(false);
	uint64_t begin = t.now_ns;

	step(&t, POWER_BUTTON, 0);
	while (t.power.state != POWER_RUNNING) {
		ck_assert_int_eq(t.action.what, POWER_DO_SAVE);
		step(&t, POWER_SAVE_FAILED, SECOND_NS / 10);
		if (t.power.state == POWER_FAILED)
			step(&t, POWER_TICK, POWER_RETRY_NS);
	}
	expect(&t, POWER_DO_RESUME, 0, "there is power: writers go on");
	ck_assert_uint_ge(t.now_ns - begin, POWER_HOLD_NS);
	ck_assert_uint_le(t.now_ns - begin, POWER_HOLD_NS + 3 * SECOND_NS);
}
END_TEST

START_TEST(without_a_ups_what_it_says_is_nothing)
{
	struct trial t = start(false);
	struct error why = { "" };

	ups(&t, POWER_ON_BATTERY | POWER_LOW_BATTERY | POWER_FORCED_SHUTDOWN, 0, SECOND_NS);
	expect(&t, POWER_DO_NOTHING, 0, NULL);
	ck_assert_int_lt(power_check(&t.power, &why), 0);
	ck_assert_str_eq(why.text, "no UPS is configured");
	step(&t, POWER_COMMAND, SECOND_NS);
	expect(&t, POWER_DO_SAVE, POWER_BY_COMMAND, "on command");
	step(&t, POWER_SAVE_DONE, SECOND_NS);
	expect(&t, POWER_DO_RESUME, 0, "saved; writers go on");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("power");
	TCase *test = tcase_create("power");

	tcase_add_test(test, a_short_outage_is_ridden_through);
	tcase_add_test(test, a_long_outage_is_saved_and_waited_for);
	tcase_add_test(test, what_is_urgent_is_not_ridden_through);
	tcase_add_test(test, a_runtime_runs_out_between_two_answers);
	tcase_add_test(test, a_bad_battery_on_mains_disarms);
	tcase_add_test(test, a_ups_on_battery_that_falls_silent_is_critical);
	tcase_add_test(test, a_ups_on_mains_that_falls_silent_disarms);
	tcase_add_test(test, power_that_returns_does_not_stop_a_save);
	tcase_add_test(test, a_failed_save_is_tried_again_without_mains);
	tcase_add_test(test, a_failed_command_lets_writers_go_on);
	tcase_add_test(test, a_command_in_a_short_outage_does_not_end_it);
	tcase_add_test(test, a_forced_shutdown_is_for_good);
	tcase_add_test(test, a_host_that_was_to_go_down_is_waited_for);
	tcase_add_test(test, a_disk_that_fails_does_not_hold_a_host_for_ever);
	tcase_add_test(test, without_a_ups_what_it_says_is_nothing);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
