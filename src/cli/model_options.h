/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_MODEL_OPTIONS_H
#define CLI_MODEL_OPTIONS_H

/* The options of `perdure model`: a modelled machine, a trace, and how to print. */

#include <stdbool.h>

#include "base/error.h"
#include "model/config.h"

struct model_options {
	struct model_config config;
	const char *trace_path;
	bool json;
};

/*
 * Reads the command line; options stand before and behind the trace. 0, or -EINVAL with one line.
 * With *ret_help set only the help was asked for.
 */
int model_options_read(int argc, char **argv, struct model_options *ret_options, bool *ret_help,
		       struct error *why);

void model_options_print_help(void);

/* "line", "none", "next-7": as --policy takes it. Returns `text`. */
const char *model_policy_name(enum model_policy policy, uint32_t next_pages, char text[static 16]);

#endif
