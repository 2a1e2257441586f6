/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_COMMAND_LINE_H
#define CLI_COMMAND_LINE_H

/* How the commands begin that take options and nothing else. */

#include <stdbool.h>
#include <stddef.h>

#include "base/option.h"

/*
 * Reads the options into `target`. True: the command goes on. False: it has ended with *ret_exit,
 * after its help on standard output or one line of what is wrong on standard error. `purpose` is a
 * sentence for the help.
 */
bool command_line_read(const char *purpose, const struct option_spec *specs, size_t spec_count,
		       int argc, char **argv, void *target, int *ret_exit);

#endif
