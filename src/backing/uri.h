/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_URI_H
#define BACKING_URI_H

/*
 * What the parsers of backing URIs share. Pure; any thread.
 *
 *   URI    = SCHEME ":" REST
 *   filter = SCHEME ":" OPTION {"," OPTION} ":" URI      no option holds a comma or a colon
 */

#include "backing/backing.h"

/* `bad backing URI "SCHEME:REST": REASON` into `why`; returns -EINVAL. A long URI is cut. */
int uri_bad(struct error *why, const char *scheme, const char *rest, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Cuts a filter's `rest` at its first colon: the options go to `options`, and *ret_inner points
 * behind the colon, into `rest`. -EINVAL in words when there is no colon or nothing behind it.
 */
int uri_split_filter(const char *scheme, const char *rest, char options[BACKING_URI_BYTES],
		     const char **ret_inner, struct error *why);

/*
 * The next of the options that `separator` divides: *cursor moves on, *ret_name and *ret_value are
 * cut out of the text in place; *ret_value is NULL without "=". False at the end.
 */
bool uri_next_option(char **cursor, char separator, char **ret_name, char **ret_value);

/* "fetch" or "store": a bit a verb, (1u << BACKING_FETCH). 0, or -EINVAL without words. */
int uri_parse_verb(const char *text, unsigned int *ret_verbs);

#define URI_BOTH_VERBS ((1u << BACKING_FETCH) | (1u << BACKING_STORE))

#endif
