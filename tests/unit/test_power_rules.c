/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the machine of power failures must keep to, whatever happens: every sequence of a few
 * events, and long random ones, each step checked against what the events so far allow (S2 to S6 of
 * docs/design/persistence.md).
 */

#include "policy/power.h"

#include <check.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/random.h"
#include "power_fixture.h"
#include "suite.h"

/* What is told of the world so far, in the simplest way that the rules can be read from. */
struct facts {
	bool saving, stopped, going_down, forced, battery, low, silent, seen;
	bool by_command, failed;
	uint64_t battery_ns, end_ns; /* of the save that ended last */
	uint64_t answer_ns, runtime_ns;
};

struct letter {
	enum power_event_kind kind;
	bool answers;
	uint32_t flags, runtime_s;
};

static const struct letter letters[] = {
	{ .kind = POWER_TICK },
	{ POWER_UPS, true, POWER_ON_LINE, 600 },
	{ POWER_UPS, true, POWER_ON_BATTERY, 600 },
	{ POWER_UPS, true, POWER_ON_BATTERY, 43 },
	{ POWER_UPS, true, POWER_ON_BATTERY | POWER_LOW_BATTERY, POWER_ABSENT },
	{ POWER_UPS, true, POWER_ON_LINE | POWER_LOW_BATTERY, 600 },
	{ POWER_UPS, true, POWER_ON_LINE | POWER_FORCED_SHUTDOWN, 600 },
	{ POWER_UPS, true, 0, POWER_ABSENT },
	{ POWER_UPS, false, 0, 0 },
	{ .kind = POWER_SIGPWR },
	{ .kind = POWER_COMMAND },
	{ .kind = POWER_SAVE_DONE }, /* of no save: a tick */
	{ .kind = POWER_SAVE_FAILED },
};

static void learn(struct facts *facts, const struct letter *letter, uint64_t now_ns)
{
	bool line = letter->flags & (POWER_ON_LINE | POWER_ON_BATTERY);

	if (letter->kind == POWER_SIGPWR)
		facts->going_down = true;
	if (letter->kind == POWER_UPS && !letter->answers)
		facts->silent = facts->seen;
	if (letter->kind != POWER_UPS || !letter->answers)
		return;
	facts->seen = true;
	facts->silent = false;
	facts->answer_ns = now_ns;
	facts->low = letter->flags & POWER_LOW_BATTERY;
	facts->forced |= (letter->flags & POWER_FORCED_SHUTDOWN) != 0;
	facts->runtime_ns =
		letter->runtime_s == POWER_ABSENT ? UINT64_MAX : letter->runtime_s * SECOND_NS;
	if ((letter->flags & POWER_ON_BATTERY) && !facts->battery)
		facts->battery_ns = now_ns;
	if (line)
		facts->battery = letter->flags & POWER_ON_BATTERY;
}

static bool is_urgent(const struct facts *facts, uint64_t now_ns)
{
	uint64_t waited = now_ns - facts->answer_ns, needed = SAVE_NS + config.reserve_ns;

	if (facts->forced)
		return true;
	return facts->battery &&
	       (facts->low || facts->silent || facts->runtime_ns <= needed + waited ||
		now_ns >= facts->battery_ns + config.ride_through_ns);
}

/* NULL, or the rule that the step broke. */
static const char *check_step(struct facts *facts, const struct letter *letter,
			      const struct trial *t)
{
	uint64_t now = t->now_ns, wake = power_wake_ns(&t->power);
	bool done = letter->kind == POWER_SAVE_DONE && facts->saving;
	bool failed = letter->kind == POWER_SAVE_FAILED && facts->saving;
	bool urgent = is_urgent(facts, now), was_running = !facts->stopped;
	bool asked = letter->kind == POWER_SIGPWR || letter->kind == POWER_COMMAND;

	if (done || failed) {
		facts->saving = false;
		facts->failed = failed;
		facts->end_ns = now;
	}
	if (wake <= now)
		return "it would be woken at once, again and again";
	if (facts->saving && t->action.what != POWER_DO_NOTHING)
		return "S2: nothing but its end ends a save";
	if (t->action.what == POWER_DO_SAVE) {
		if (was_running && !urgent && !asked)
			return "a save without a reason";
		if (!was_running && !(facts->failed && now >= facts->end_ns + config.retry_ns))
			return "a save while writers are stopped, or too soon after a failure";
		facts->by_command = letter->kind == POWER_COMMAND && !urgent;
		facts->saving = facts->stopped = true;
	} else if (was_running && (urgent || asked)) {
		return "no save at once";
	}
	if (t->action.what == POWER_DO_RESUME) {
		if (!facts->stopped)
			return "writers go on that were not stopped";
		if (facts->forced || (facts->battery && (!facts->by_command || urgent)))
			return "writers go on without power";
		if (facts->going_down && !facts->failed && now < facts->end_ns + config.hold_ns)
			return "writers go on before the host went down";
		facts->stopped = facts->going_down = false;
	} else if (facts->stopped && !facts->saving && !facts->going_down && !facts->battery &&
		   !facts->forced) {
		return "writers do not go on, and there is power";
	} else if (facts->stopped && facts->failed && !facts->saving &&
		   now >= facts->end_ns + config.retry_ns) {
		return "S3: a failed save is not tried again";
	}
	if (power_may_log_out(&t->power) && (facts->saving || facts->failed || !facts->forced))
		return "S4: it may leave the UPS's server";
	if (!facts->seen && !power_check(&t->power, NULL))
		return "S6: armed with a UPS that was never seen";
	if ((facts->silent || facts->low || facts->forced) && !power_check(&t->power, NULL))
		return "S6: armed with a UPS that is not fit";
	return NULL;
}

static const char *step_letter(struct trial *t, struct facts *facts, const struct letter *letter,
			       uint64_t after_ns)
{
	struct power_event event = {
		.kind = letter->kind,
		.now_ns = t->now_ns += after_ns,
		.save_ns = SAVE_NS,
		.ups = { letter->answers ? POWER_ANSWERS : POWER_SILENT, letter->flags, 50,
			 letter->runtime_s },
	};

	if ((letter->kind == POWER_SAVE_DONE || letter->kind == POWER_SAVE_FAILED) &&
	    !facts->saving)
		event.kind = POWER_TICK;
	learn(facts, letter, t->now_ns);
	power_step(&t->power, &event, &t->action);
	return check_step(facts, letter, t);
}

/*
 * All sequences of five events (four from the start), each 2 s after the one before or 61, which is
 * beyond all limits.
 */
#define DEPTH 5

static void explore(const struct trial *t, const struct facts *facts, uint32_t depth,
		    uint64_t *steps)
{
	for (size_t i = 0; i < 2 * ARRAY_COUNT(letters); i++) {
		struct trial next = *t;
		struct facts known = *facts;
		const char *broken =
			step_letter(&next, &known, &letters[i / 2], (i % 2 ? 61 : 2) * SECOND_NS);

		++*steps;
		if (broken)
			ck_abort_msg("%s: letter %zu, %u before the end, after: %s", broken, i,
				     depth, t->action.words.text);
		if (depth > 1)
			explore(&next, &known, depth - 1, steps);
	}
}

START_TEST(every_short_sequence_keeps_the_rules)
{
	struct trial t = { .now_ns = 1000 * SECOND_NS };
	struct facts facts = { .runtime_ns = UINT64_MAX };
	uint64_t steps = 0;

	power_init(&t.power, &config);
	/* From the start, and from mains power. */
	if (_i)
		ck_assert_ptr_null(step_letter(&t, &facts, &letters[1], 0));
	explore(&t, &facts, _i ? DEPTH : DEPTH - 1, &steps);
	ck_assert_uint_gt(steps, _i ? 10000000 : 400000);
}
END_TEST

START_TEST(long_random_sequences_keep_the_rules)
{
	struct random_source random = random_from_seed(0x9073 + (uint64_t)_i);

	for (uint32_t run = 0; run < 200; run++) {
		struct trial t = { .now_ns = 1000 * SECOND_NS };
		struct facts facts = { .runtime_ns = UINT64_MAX };

		power_init(&t.power, &config);
		for (uint32_t n = 0; n < 1000; n++) {
			/* Forced shutdowns are for good: seldom, or nothing else is seen. */
			size_t at = random_below(&random, ARRAY_COUNT(letters));
			bool skip = at == 6 && random_below(&random, 50);
			const char *broken = step_letter(&t, &facts, &letters[skip ? 0 : at],
							 random_next(&random) >>
								 (28 + random_below(&random, 30)));

			if (broken)
				ck_abort_msg("%s: seed %d, run %u, step %u", broken, _i, run, n);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("power_rules");
	TCase *test = tcase_create("power_rules");

	tcase_set_timeout(test, 110);
	tcase_add_loop_test(test, every_short_sequence_keeps_the_rules, 0, 2);
	tcase_add_loop_test(test, long_random_sequences_keep_the_rules, 0, 10);
	suite_add_tcase(suite, test);
	return suite_run(suite);
}
