/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void text_harmless(const char *from, size_t bytes, char *ret_text, size_t text_bytes)
{
	size_t i, length = strnlen(from, bytes);

	if (length > text_bytes - 1)
		length = text_bytes - 1;
	for (i = 0; i < length; i++)
		ret_text[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	ret_text[length] = '\0';
}

/* Divides by `step` until three digits before the point suffice. */
static const char *scaled(uint64_t amount, double step, const char *const *units, size_t unit_count,
			  char *ret_text)
{
	double rest = (double)amount;
	size_t unit = 0;

	while (rest >= 999.5 && unit + 1 < unit_count) {
		rest /= step;
		unit++;
	}
	if (unit == 0 || rest >= 99.95)
		snprintf(ret_text, TEXT_AMOUNT_BYTES, "%.0f%s", rest, units[unit]);
	else
		snprintf(ret_text, TEXT_AMOUNT_BYTES, "%.1f%s", rest, units[unit]);
	return ret_text;
}

const char *text_bytes(uint64_t bytes, char ret_text[static TEXT_AMOUNT_BYTES])
{
	static const char *const units[] = { "", "K", "M", "G", "T", "P" };

	return scaled(bytes, 1024, units, 6, ret_text);
}

const char *text_count(uint64_t count, char ret_text[static TEXT_AMOUNT_BYTES])
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P" };

	return scaled(count, 1000, units, 6, ret_text);
}

const char *text_time_ns(uint64_t ns, char ret_text[static TEXT_AMOUNT_BYTES])
{
	static const char *const units[] = { "ns", "us", "ms", "s" };

	return scaled(ns, 1000, units, 4, ret_text);
}
