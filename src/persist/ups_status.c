/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/ups_status.h"

#include <errno.h>
#include <stdbool.h>
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

/* Moves *at behind the word and the blank that follows it. */
static bool pass(const char **at, const char *word)
{
	size_t bytes = strlen(word);

	if (strncmp(*at, word, bytes) || (*at)[bytes] != ' ')
		return false;
	*at += bytes + 1;
	return true;
}

/* What stands between quotes, where a backslash makes the next sign a plain one. */
static bool unquote(const char *at, char to[UPS_VALUE_BYTES])
{
	size_t bytes = 0;

	if (*at++ != '"')
		return false;
	for (; *at != '"'; at++) {
		if (*at == '\\')
			at++;
		if (!*at || bytes == UPS_VALUE_BYTES - 1)
			return false;
		to[bytes++] = *at;
	}
	to[bytes] = '\0';
	return at[1] == '\0';
}

int ups_status_value(const char *line, const char *name, const char *variable,
		     char ret_value[UPS_VALUE_BYTES], const char **ret_refusal)
{
	const char *at = line;
	char value[UPS_VALUE_BYTES];

	if (pass(&at, "ERR")) {
		if (!strcmp(at, "VAR-NOT-SUPPORTED"))
			return -ENODATA;
		*ret_refusal = at;
		return *at ? -EREMOTEIO : -EPROTO;
	}
	if (!pass(&at, "VAR") || !pass(&at, name) || !pass(&at, variable) || !unquote(at, value))
		return -EPROTO;
	strcpy(ret_value, value);
	return 0;
}
