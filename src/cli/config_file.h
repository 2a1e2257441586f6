/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CONFIG_FILE_H
#define CLI_CONFIG_FILE_H

/*
 * A command's options from a file, by the same table as its command line: a line NAME = VALUE for
 * each, NAME alone for a switch; what is behind a # is a comment. perdure.conf(5).
 *
 * Texts that the table takes point into memory that is never given back: once a process.
 */

#include "base/option.h"

#define CONFIG_FILE_BYTES_MAX 65536 /* more than anybody writes by hand */

/* -EINVAL in words with file and line; another -errno if it cannot be read. */
int config_file_read(const char *path, const struct option_spec *specs, size_t spec_count,
		     void *target, struct error *why);

/* The same of a text in memory, with its final NUL, which is changed and stays used. */
int config_file_parse(const char *path, char *text, const struct option_spec *specs,
		      size_t spec_count, void *target, struct error *why);

#endif
