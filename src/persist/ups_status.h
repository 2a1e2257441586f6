/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_UPS_STATUS_H
#define PERSIST_UPS_STATUS_H

/* What NUT's variables of a UPS say, as policy/power.h has it. Pure; believes nothing. */

#include <stdint.h>

/* ups.status: words with blanks between ("OB LB"). Others than those of power.h are passed over. */
uint32_t ups_status_flags(const char *text);

/*
 * battery.charge and battery.runtime: a number, of which what stands behind the point is left out.
 * POWER_ABSENT for anything else, and for numbers past `max`.
 */
uint32_t ups_status_number(const char *text, uint32_t max);

#endif
