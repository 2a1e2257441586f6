/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

/*
 * Sizes and durations as people write them. Whole numbers only: "1.5G" is said to be wrong rather
 * than rounded. All calls are pure, from any thread.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define UNITS_TEXT_BYTES 24 /* the longest text that format_size() makes, with its final NUL */

/*
 * "4096", "64K", "64M", "4G", "1T" (K, M, G and T are binary; small letters are understood) into
 * bytes. -EINVAL with words that quote `text` when it is anything else, -ERANGE past 2^64 - 1.
 */
int parse_size(const char *text, uint64_t *ret_bytes, struct error *why);

/* "500ns", "200us", "5ms", "2s", "3m", "0" into nanoseconds; errors as above. */
int parse_duration(const char *text, uint64_t *ret_ns, struct error *why);

/*
 * Writes the shortest text that parse_size() reads back as `bytes` when it is a whole multiple of
 * a unit, else the nearest value below with one decimal ("1.5G"). Returns `text`.
 */
char *format_size(uint64_t bytes, char text[UNITS_TEXT_BYTES]);

#endif
