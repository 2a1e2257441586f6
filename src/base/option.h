/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

/*
 * A command's options as one table, from which the parser and the help text are made. The lint
 * checks that every name in such a table is in a man page.
 *
 * Parsing stops at the first argument that is no option, or behind "--": what follows belongs to
 * the command. One thread; getopt's global state is reset at each call.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

#define OPTION_COUNT_MAX 32 /* in one table; keeps the parser off the heap */

struct option_spec {
	const char *name;  /* without "--" */
	const char *value; /* "SIZE", as the help shows it; NULL for a switch */
	const char *help;  /* one line */
	/*
	 * Takes the option into `target`; `text` is its value, NULL for a switch. 0, or -EINVAL
	 * with words; the parser puts the option's name before them.
	 */
	int (*take)(void *target, const char *text, struct error *why);
};

/*
 * Reads argv[1] on. On success *ret_first is the index of the first argument behind the options
 * (argc when there is none). *ret_help is set when "--help" was met, and then nothing else is
 * checked. -EINVAL in words otherwise.
 */
int option_parse(const struct option_spec *specs, size_t spec_count, int argc, char **argv,
		 void *target, int *ret_first, bool *ret_help, struct error *why);

/* The options as help text, one a line, "--help" last. */
void option_print(const struct option_spec *specs, size_t spec_count, FILE *out);

/*
 * A whole decimal number from `min` to `max`; -EINVAL with words that quote `text`.
 */
int option_parse_number(const char *text, unsigned long min, unsigned long max,
			unsigned long *ret_number, struct error *why);

#endif
