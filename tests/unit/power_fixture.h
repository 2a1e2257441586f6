/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_POWER_FIXTURE_H
#define TESTS_UNIT_POWER_FIXTURE_H

/* A machine of power failures on trial: as test_power.c and test_power_rules.c configure it. */

#include "policy/power.h"

#define SECOND_NS ((uint64_t)1000000000)
#define SAVE_NS (10 * SECOND_NS)

static const struct power_config config = {
	.has_ups = true,
	.ride_through_ns = POWER_RIDE_THROUGH_NS,
	.reserve_ns = 30 * SECOND_NS,
	.hold_ns = POWER_HOLD_NS,
	.retry_ns = POWER_RETRY_NS,
};

/* A machine and its time. */
struct trial {
	struct power power;
	uint64_t now_ns;
	struct power_action action;
};

#endif
