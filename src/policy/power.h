/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POLICY_POWER_H
#define POLICY_POWER_H

/*
 * What the agent does when the power fails: a state machine. What the UPS says, signals, commands,
 * the end of a save and the time go in; out come "save now", "the writers may go on", and words for
 * the log. S1 to S6 of docs/design/persistence.md.
 *
 *	RUNNING ── save ──▶ SAVING ── done ──▶ SAVED ── the power is back ──▶ RUNNING
 *	                     ▲  │ failed, no power: again after retry_ns
 *	                     └─ FAILED ── the power is back ──▶ RUNNING
 *
 * Writers are stopped in all states but RUNNING. A save begins at once when the battery is low, the
 * UPS's primary forces a shutdown (FSD), SIGPWR or the power button comes, the battery's runtime
 * falls to the save's predicted time and a reserve, or a UPS last seen on battery does not answer
 * any more; after ride_through_ns when the UPS is on battery and nothing worse is known; and on
 * command.
 *
 * - Mains power that is back within the ride-through: nothing was done. During a save: the save
 *   goes on (S2).
 * - A UPS that was never seen, or was on mains, and does not answer: no save, but nothing is armed.
 * - After SIGPWR or the button the host is expected to go down: writers stay stopped for hold_ns
 *   after the save, and go on then if it is still there and its power is not known to be out.
 * - FSD is for good: power will be cut. Writers go on in the agent's next life.
 * - The agent stays logged in to the UPS's server until power_may_log_out() (S4): the primary has
 *   the power cut when all have left.
 *
 * Pure: the time is given, and may stand still but not go back. One thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define POWER_ABSENT UINT32_MAX /* a number that the UPS does not say */
#define POWER_NO_WAKE UINT64_MAX

enum power_link {
	POWER_UNSEEN,	/* no answer yet */
	POWER_ANSWERS,
	POWER_SILENT, /* it does not answer, or its driver does not: the flags are the last seen */
};

/* Words of ups.status that matter here; more than one may be set. */
#define POWER_ON_LINE 1u
#define POWER_ON_BATTERY 2u
#define POWER_LOW_BATTERY 4u
#define POWER_FORCED_SHUTDOWN 8u
#define POWER_REPLACE_BATTERY 16u

struct power_ups {
	enum power_link link;
	uint32_t flags;
	uint32_t charge_percent; /* or POWER_ABSENT */
	uint32_t runtime_s;	 /* or POWER_ABSENT */
};

enum power_event_kind {
	POWER_TICK, /* only the time */
	POWER_UPS,  /* what the UPS says now; the same again does no harm */
	POWER_SIGPWR,
	POWER_BUTTON,
	POWER_COMMAND, /* a save was asked for; also a rehearsal */
	POWER_SAVE_DONE,
	POWER_SAVE_FAILED,
	POWER_EVENTS,
};

struct power_event {
	enum power_event_kind kind;
	uint64_t now_ns;
	uint64_t save_ns; /* predicted: what a save would take now; UINT64_MAX: unknown */
	struct power_ups ups; /* of POWER_UPS */
};

enum power_reason {
	POWER_BY_COMMAND,
	POWER_BY_RIDE_THROUGH, /* the power did not come back in time */
	POWER_BY_RUNTIME,
	POWER_BY_LOW_BATTERY,
	POWER_BY_SILENCE, /* on battery, and no answer */
	POWER_BY_SHUTDOWN, /* FSD */
	POWER_BY_SIGPWR,
	POWER_BY_BUTTON,
	POWER_REASONS,
};

enum power_do {
	POWER_DO_NOTHING,
	POWER_DO_SAVE,	 /* stop the writers and save; answer with done or failed */
	POWER_DO_RESUME, /* the writers may go on */
};

struct power_action {
	enum power_do what;
	enum power_reason reason; /* of a save */
	struct error words;	  /* one line for the log; empty: nothing to say */
};

struct power_config {
	bool has_ups; /* else what the UPS says is not asked for, and nothing is armed */
	uint64_t ride_through_ns;
	uint64_t reserve_ns; /* for the host's shutdown after the save */
	uint64_t hold_ns;
	uint64_t retry_ns;
};

#define POWER_RIDE_THROUGH_NS 5000000000ull
#define POWER_HOLD_NS 60000000000ull
#define POWER_RETRY_NS 1000000000ull

enum power_state { POWER_RUNNING, POWER_SAVING, POWER_SAVED, POWER_FAILED };

struct power {
	struct power_config config;
	enum power_state state;
	enum power_reason reason; /* of the save that began last */
	struct power_ups ups;	  /* the flags are those seen last */
	bool is_line_told;	  /* it said last whether it is on line or on battery */
	bool is_forced;		  /* FSD was seen */
	bool is_going_down;	  /* SIGPWR or the button, since the writers went on last */
	enum power_reason down_reason;
	uint64_t now_ns;	  /* of the latest step */
	uint64_t ups_ns;	  /* when the UPS answered last */
	uint64_t battery_ns;	  /* since when it is on battery, if it is */
	uint64_t state_ns;	  /* since when it is in this state */
	uint64_t hold_end_ns;	  /* until when the host is waited for to go down, if it is to */
	uint64_t save_ns;	  /* the latest prediction */
};

void power_init(struct power *power, const struct power_config *config);

/* The end of a save that was not begun is a bug of the caller's. */
void power_step(struct power *power, const struct power_event *event,
		struct power_action *ret_action);

/* When it must be stepped with POWER_TICK at the latest; POWER_NO_WAKE: nothing is awaited. */
uint64_t power_wake_ns(const struct power *power);

/* 0 while a power failure would be noticed and the battery is fit; else -errno in words. */
int power_check(const struct power *power, struct error *why);

/* A shutdown is forced, and all is saved. */
bool power_may_log_out(const struct power *power);

const char *power_reason_text(enum power_reason reason);

#endif
