/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/power.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECOND_NS ((uint64_t)1000000000)

static const char *const reasons[POWER_REASONS] = {
	[POWER_BY_COMMAND] = "on command",
	[POWER_BY_RIDE_THROUGH] = "mains power is not back",
	[POWER_BY_RUNTIME] = "the battery lasts only for the save",
	[POWER_BY_LOW_BATTERY] = "the battery is low",
	[POWER_BY_SILENCE] = "the UPS was on battery and does not answer",
	[POWER_BY_SHUTDOWN] = "the UPS forces a shutdown",
	[POWER_BY_SIGPWR] = "SIGPWR",
	[POWER_BY_BUTTON] = "the power button was pressed",
};

const char *power_reason_text(enum power_reason reason)
{
	return reasons[reason];
}

void power_init(struct power *power, const struct power_config *config)
{
	*power = (struct power){
		.config = *config,
		.ups = { .charge_percent = POWER_ABSENT, .runtime_s = POWER_ABSENT },
		.save_ns = UINT64_MAX,
	};
}

/* Adds to what is said in this step. */
__attribute__((format(printf, 2, 3))) static void say(struct power_action *action,
						      const char *format, ...)
{
	size_t used = strlen(action->words.text), bytes = sizeof(action->words.text);
	va_list args;

	if (used && used < bytes - 2) {
		memcpy(action->words.text + used, "; ", 3);
		used += 2;
	}
	va_start(args, format);
	vsnprintf(action->words.text + used, bytes - used, format, args);
	va_end(args);
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* As far as it is known: a UPS that fell silent is where it was. */
static bool is_on_battery(const struct power *power)
{
	return power->config.has_ups && (power->ups.flags & POWER_ON_BATTERY);
}

/* When the battery will last for the save and the reserve only; POWER_NO_WAKE where unknown. */
static uint64_t runtime_deadline_ns(const struct power *power)
{
	uint64_t needed = plus(power->save_ns, power->config.reserve_ns), runtime;

	if (power->ups.runtime_s == POWER_ABSENT || power->save_ns == UINT64_MAX)
		return POWER_NO_WAKE;
	runtime = power->ups.runtime_s * SECOND_NS;
	return runtime > needed ? plus(power->ups_ns, runtime - needed) : power->ups_ns;
}

static uint64_t ride_deadline_ns(const struct power *power)
{
	return plus(power->battery_ns, power->config.ride_through_ns);
}

/* Whether there is a reason to save now, but for commands; the worst of them. */
static bool must_save(const struct power *power, enum power_reason *ret_reason)
{
	if (power->is_forced)
		*ret_reason = POWER_BY_SHUTDOWN;
	else if (!is_on_battery(power))
		return false;
	else if (power->ups.flags & POWER_LOW_BATTERY)
		*ret_reason = POWER_BY_LOW_BATTERY;
	else if (power->ups.link == POWER_SILENT)
		*ret_reason = POWER_BY_SILENCE;
	else if (power->now_ns >= runtime_deadline_ns(power))
		*ret_reason = POWER_BY_RUNTIME;
	else if (power->now_ns >= ride_deadline_ns(power))
		*ret_reason = POWER_BY_RIDE_THROUGH;
	else
		return false;
	return true;
}

static void enter(struct power *power, enum power_state state)
{
	power->state = state;
	power->state_ns = power->now_ns;
}

static void begin_save(struct power *power, enum power_reason reason, struct power_action *action)
{
	enter(power, POWER_SAVING);
	power->reason = reason;
	action->what = POWER_DO_SAVE;
	action->reason = reason;
	say(action, "save begins: %s", reasons[reason]);
}

static void resume(struct power *power, const char *words, struct power_action *action)
{
	enter(power, POWER_RUNNING);
	power->is_going_down = false;
	action->what = POWER_DO_RESUME;
	say(action, "%s", words);
}

static void say_line(const struct power *power, const struct power_ups *before,
		     struct power_action *action)
{
	const struct power_ups *ups = &power->ups;
	uint64_t ms = (power->now_ns - power->battery_ns) / 1000000;

	if (ups->link == POWER_SILENT && before->link != POWER_SILENT)
		say(action, "the UPS does not answer%s",
		    is_on_battery(power) ? "" : "; a power failure would not be noticed");
	else if (is_on_battery(power) && !(before->flags & POWER_ON_BATTERY))
		say(action, "mains power failed: the UPS is on battery");
	else if (!is_on_battery(power) && (before->flags & POWER_ON_BATTERY))
		say(action, "mains power is back after %" PRIu64 ".%03" PRIu64 " s", ms / 1000,
		    ms % 1000);
	else if (ups->link == POWER_ANSWERS && before->link != POWER_ANSWERS)
		say(action, "the UPS answers");
	else if ((ups->flags & POWER_REPLACE_BATTERY) && !(before->flags & POWER_REPLACE_BATTERY))
		say(action, "the UPS asks for a new battery");
}

static void take_ups(struct power *power, const struct power_event *event,
		     struct power_action *action)
{
	struct power_ups before = power->ups;
	uint32_t line = POWER_ON_LINE | POWER_ON_BATTERY;

	if (!power->config.has_ups)
		return;
	if (event->ups.link != POWER_ANSWERS) {
		if (power->ups.link != POWER_UNSEEN)
			power->ups.link = POWER_SILENT;
		say_line(power, &before, action);
		return;
	}
	power->ups = event->ups;
	power->ups_ns = event->now_ns;
	power->is_line_told = event->ups.flags & line;
	/* One that tells neither is where it was; one that tells both is on battery. */
	if (!power->is_line_told)
		power->ups.flags |= before.flags & line;
	else if (event->ups.flags & POWER_ON_BATTERY)
		power->ups.flags &= ~POWER_ON_LINE;
	if (event->ups.flags & POWER_FORCED_SHUTDOWN)
		power->is_forced = true;
	if (is_on_battery(power) && !(before.flags & POWER_ON_BATTERY))
		power->battery_ns = event->now_ns;
	say_line(power, &before, action);
}

static void end_save(struct power *power, bool done, struct power_action *action)
{
	enum power_reason reason;

	assert(power->state == POWER_SAVING);
	enter(power, done ? POWER_SAVED : POWER_FAILED);
	if (!done) {
		say(action, "the save failed; the one before it is kept");
		return;
	}
	say(action, "saved");
	if (must_save(power, &reason))
		say(action, "writers wait for mains power");
	else if (power->is_going_down)
		say(action, "the host is expected to go down");
	power->hold_end_ns = plus(power->now_ns, power->config.hold_ns);
}

/* It is also a reason to save, when the writers run. */
static void go_down(struct power *power, enum power_reason reason)
{
	power->is_going_down = true;
	power->down_reason = reason;
	power->hold_end_ns = plus(power->now_ns, power->config.hold_ns);
}

/* The host that was to go down is given some time to do it. */
static bool is_held(const struct power *power)
{
	return power->is_going_down && power->now_ns < power->hold_end_ns;
}

/* Whether writers have to wait for mains power: not for a command's save within a ride-through. */
static bool needs_mains(const struct power *power)
{
	enum power_reason reason;

	return is_on_battery(power) && (power->reason != POWER_BY_COMMAND || power->is_going_down ||
					must_save(power, &reason));
}

static void after_save(struct power *power, struct power_action *action)
{
	if (!power->is_forced && !is_held(power) && !needs_mains(power))
		resume(power,
		       power->is_going_down ? "the host did not go down: writers go on"
					    : "writers go on",
		       action);
}

static void after_failure(struct power *power, struct power_action *action)
{
	enum power_reason reason = power->is_going_down ? power->down_reason : power->reason;
	bool again = must_save(power, &reason) || needs_mains(power) || is_held(power);

	if (!again)
		resume(power, "there is power: writers go on", action);
	else if (power->now_ns >= plus(power->state_ns, power->config.retry_ns))
		begin_save(power, reason, action);
}

static void while_running(struct power *power, const struct power_event *event,
			  struct power_action *action)
{
	enum power_reason reason = power->is_going_down ? power->down_reason : POWER_BY_COMMAND;

	if (must_save(power, &reason) || power->is_going_down || event->kind == POWER_COMMAND)
		begin_save(power, reason, action);
}

void power_step(struct power *power, const struct power_event *event,
		struct power_action *ret_action)
{
	*ret_action = (struct power_action){ .what = POWER_DO_NOTHING };
	assert(event->now_ns >= power->now_ns);
	power->now_ns = event->now_ns;
	power->save_ns = event->save_ns;
	if (event->kind == POWER_UPS)
		take_ups(power, event, ret_action);
	else if (event->kind == POWER_SIGPWR)
		go_down(power, POWER_BY_SIGPWR);
	else if (event->kind == POWER_BUTTON)
		go_down(power, POWER_BY_BUTTON);
	else if (event->kind == POWER_SAVE_DONE || event->kind == POWER_SAVE_FAILED)
		end_save(power, event->kind == POWER_SAVE_DONE, ret_action);
	if (power->state == POWER_RUNNING)
		while_running(power, event, ret_action);
	else if (power->state == POWER_SAVED)
		after_save(power, ret_action);
	else if (power->state == POWER_FAILED)
		after_failure(power, ret_action);
}

uint64_t power_wake_ns(const struct power *power)
{
	uint64_t ride, runtime;

	if (power->state == POWER_FAILED)
		return plus(power->state_ns, power->config.retry_ns);
	if (power->state == POWER_SAVED && is_held(power) && !power->is_forced)
		return power->hold_end_ns;
	if (power->state != POWER_RUNNING || !is_on_battery(power))
		return POWER_NO_WAKE;
	ride = ride_deadline_ns(power);
	runtime = runtime_deadline_ns(power);
	return ride < runtime ? ride : runtime;
}

int power_check(const struct power *power, struct error *why)
{
	uint32_t flags = power->ups.flags;

	if (!power->config.has_ups)
		return error_set(why, -ENODEV, "no UPS is configured");
	if (power->is_forced)
		return error_set(why, -ESHUTDOWN,
				 "the UPS forces a shutdown; if the host stays up, "
				 "restart the agent");
	if (power->state == POWER_FAILED)
		return error_set(why, -EIO, "the last save failed");
	if (power->ups.link == POWER_UNSEEN)
		return error_set(why, -ENOTCONN, "the UPS has not answered yet");
	if (power->ups.link == POWER_SILENT)
		return error_set(why, -ETIMEDOUT, "the UPS does not answer");
	if (flags & POWER_LOW_BATTERY)
		return error_set(why, -ENODATA, "the UPS's battery is low");
	if (flags & POWER_REPLACE_BATTERY)
		return error_set(why, -ENODATA, "the UPS asks for a new battery");
	if (!power->is_line_told)
		return error_set(why, -ENODATA, "the UPS says neither on line nor on battery");
	return 0;
}

bool power_may_log_out(const struct power *power)
{
	return power->state == POWER_SAVED && power->is_forced;
}
