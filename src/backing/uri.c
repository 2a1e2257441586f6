/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/uri.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_BYTES_MAX 120 /* leaves room for the reason in a struct error */

int uri_bad(struct error *why, const char *scheme, const char *rest, const char *format, ...)
{
	char reason[ERROR_TEXT_BYTES];
	size_t room = QUOTED_BYTES_MAX - strlen(scheme);
	va_list args;

	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	return error_set(why, -EINVAL, "bad backing URI \"%s:%.*s%s\": %s", scheme, (int)room, rest,
			 strlen(rest) > room ? "..." : "", reason);
}

int uri_split_filter(const char *scheme, const char *rest, char options[BACKING_URI_BYTES],
		     const char **ret_inner, struct error *why)
{
	const char *colon = strchr(rest, ':');

	if (!colon || !colon[1])
		return uri_bad(why, scheme, rest,
			       "no backing to wrap: a second URI follows the options, as in "
			       "%s:OPTIONS:mem:",
			       scheme);
	if ((size_t)(colon - rest) >= BACKING_URI_BYTES)
		return uri_bad(why, scheme, rest, "the options are too long");
	memcpy(options, rest, (size_t)(colon - rest));
	options[colon - rest] = '\0';
	*ret_inner = colon + 1;
	return 0;
}

bool uri_next_option(char **cursor, char separator, char **ret_name, char **ret_value)
{
	char *name = *cursor;
	char *end, *equals;

	if (!name)
		return false;
	end = strchr(name, separator);
	if (end)
		*end = '\0';
	*cursor = end ? end + 1 : NULL;
	equals = strchr(name, '=');
	if (equals)
		*equals = '\0';
	*ret_name = name;
	*ret_value = equals ? equals + 1 : NULL;
	return true;
}

int uri_parse_verb(const char *text, unsigned int *ret_verbs)
{
	if (!strcmp(text, "fetch"))
		*ret_verbs = 1u << BACKING_FETCH;
	else if (!strcmp(text, "store"))
		*ret_verbs = 1u << BACKING_STORE;
	else
		return -EINVAL;
	return 0;
}
