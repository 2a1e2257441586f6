/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/ups_status.h"

#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "policy/power.h"

#define BLANKS " \t\r\n"
#define DIGITS "0123456789"

static const struct {
	const char *word;
	uint32_t flag;
} words[] = {
	{ "OL", POWER_ON_LINE },	 { "OB", POWER_ON_BATTERY },
	{ "LB", POWER_LOW_BATTERY },	 { "FSD", POWER_FORCED_SHUTDOWN },
	{ "RB", POWER_REPLACE_BATTERY },
};

uint32_t ups_status_flags(const char *text)
{
	uint32_t flags = 0;
	size_t bytes;

	for (;; text += bytes) {
		text += strspn(text, BLANKS);
		bytes = strcspn(text, BLANKS);
		if (!bytes)
			return flags;
		for (size_t i = 0; i < ARRAY_COUNT(words); i++)
			if (strlen(words[i].word) == bytes && !memcmp(words[i].word, text, bytes))
				flags |= words[i].flag;
	}
}

uint32_t ups_status_number(const char *text, uint32_t max)
{
	const char *first = text + strspn(text, BLANKS);
	size_t digits = strspn(first, DIGITS);
	const char *rest = first + digits;
	uint64_t number = 0;

	if (*rest == '.')
		rest += 1 + strspn(rest + 1, DIGITS);
	if (!digits || rest[strspn(rest, BLANKS)])
		return POWER_ABSENT;
	for (size_t i = 0; i < digits; i++) {
		number = number * 10 + (uint64_t)(first[i] - '0');
		if (number > max)
			return POWER_ABSENT;
	}
	return (uint32_t)number;
}
