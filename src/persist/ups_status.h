/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PERSIST_UPS_STATUS_H
#define PERSIST_UPS_STATUS_H

/* What NUT's variables of a UPS say, as policy/power.h has it. Pure; believes nothing. */

#include <stdint.h>

/* ups.status: words with blanks between ("OB LB"). Others than those of power.h are passed over. */
uint32_t ups_status_flags(const char *text);

#define UPS_VALUE_BYTES 256 /* longer than what is asked for here can be */

/*
 * The server's answer to "GET VAR name variable", a line without its end: 0 with the value's text;
 * -ENODATA when the UPS has no such variable; -EREMOTEIO for another refusal (*ret_refusal is then
 * its word, a part of `line`: "DATA-STALE"); -EPROTO for anything else.
 */
int ups_status_value(const char *line, const char *name, const char *variable,
		     char ret_value[UPS_VALUE_BYTES], const char **ret_refusal);

/*
 * battery.charge and battery.runtime: a number, of which what stands behind the point is left out.
 * POWER_ABSENT for anything else, and for numbers past `max`.
 */
uint32_t ups_status_number(const char *text, uint32_t max);

#endif
