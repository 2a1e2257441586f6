/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{"", 1}, {"K", KIB}, {"M", MIB}, {"G", GIB}, {"T", GIB * 1024},
};

static const struct unit duration_units[] = {
	{"ns", 1},
	{"us", 1000},
	{"ms", 1000 * 1000},
	{"s", 1000 * 1000 * 1000},
	{"m", (uint64_t)60 * 1000 * 1000 * 1000},
};

/* Reads digits only: strtoull() would take blanks, signs and hexadecimal. */
static int parse_digits(const char *text, const char **ret_end, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
			return -ERANGE;
	}
	if (at == text)
		return -EINVAL;
	*ret_end = at;
	*ret_number = number;
	return 0;
}

static int parse_with_unit(const char *text, const struct unit *units, size_t unit_count,
			   bool any_case, uint64_t *ret_value)
{
	const char *suffix;
	uint64_t number;
	int err = parse_digits(text, &suffix, &number);

	if (err)
		return err;
	for (size_t i = 0; i < unit_count; i++) {
		if (any_case ? strcasecmp(suffix, units[i].name) : strcmp(suffix, units[i].name))
			continue;
		return __builtin_mul_overflow(number, units[i].factor, ret_value) ? -ERANGE : 0;
	}
	return -EINVAL;
}

int parse_size(const char *text, uint64_t *ret_bytes, struct error *why)
{
	uint64_t bytes;
	int err = parse_with_unit(text, size_units, ARRAY_COUNT(size_units), true, &bytes);

	if (err == -ERANGE)
		return error_set(why, err, "size \"%s\" is too large", text);
	if (err)
		return error_set(why, err,
				 "bad size \"%s\": a whole number with K, M, G or T, as in 64M",
				 text);
	*ret_bytes = bytes;
	return 0;
}

int parse_duration(const char *text, uint64_t *ret_ns, struct error *why)
{
	uint64_t ns = 0;
	int err = strcmp(text, "0") ? parse_with_unit(text, duration_units,
						      ARRAY_COUNT(duration_units), false, &ns)
				    : 0;

	if (err == -ERANGE)
		return error_set(why, err, "duration \"%s\" is too long", text);
	if (err)
		return error_set(why, err,
				 "bad duration \"%s\": a whole number with ns, us, ms, s or m, "
				 "as in 200us",
				 text);
	*ret_ns = ns;
	return 0;
}

char *format_size(uint64_t bytes, char text[UNITS_TEXT_BYTES])
{
	size_t i = ARRAY_COUNT(size_units) - 1;

	while (i > 0 && bytes < size_units[i].factor)
		i--;
	if (bytes % size_units[i].factor == 0) {
		snprintf(text, UNITS_TEXT_BYTES, "%" PRIu64 "%s", bytes / size_units[i].factor,
			 size_units[i].name);
	} else {
		uint64_t tenths = (bytes / (size_units[i].factor / 512)) * 10 / 512;

		snprintf(text, UNITS_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 "%s", tenths / 10,
			 tenths % 10, size_units[i].name);
	}
	return text;
}
