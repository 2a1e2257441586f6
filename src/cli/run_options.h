/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_OPTIONS_H
#define CLI_RUN_OPTIONS_H

/*
 * What the user asked of `perdure run`, understood and made whole. The strings are argv's own.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "format/run_segment.h"

#define RUN_TIMEOUT_MS_MIN 10
#define RUN_TIMEOUT_MS_MAX 60000
/*
 * With another copy to turn to, a lost packet's retransmissions or a busy node's pause are waited
 * for. Without one, giving up is a loss, and a host in trouble is given time; a disk that others
 * write to as fast as they can was seen to take more than ten seconds.
 */
#define RUN_TIMEOUT_MS_MIRRORED 2000
#define RUN_TIMEOUT_MS_ALONE 10000
#define RUN_TIMEOUT_MS_DISK RUN_TIMEOUT_MS_MAX

struct run_options {
	uint64_t local_bytes; /* a multiple of PAGE_BYTES */
	const char *far[RUN_BACKINGS_MAX];
	uint32_t far_count;
	uint32_t mirror;	 /* copies of each page */
	const char *report_path; /* NULL: none */
	const char *key_file;	 /* NULL: none */
	uint32_t timeout_ms;
	const char *kernel;	    /* "auto", "move" or "copy" */
	const char *prefetch;	    /* "none", "line" or "adaptive" */
	const char *store;	    /* "lines" or "pages" */
	uint64_t prefetch_timer_ns; /* below the timeout; 0: auto */
	char **command;		    /* argv of the program, NULL-terminated */
};

/*
 * argv[0] is "run". 0, or -EINVAL in words. With *ret_help nothing else was set.
 */
int run_options_parse(int argc, char **argv, struct run_options *ret_options, bool *ret_help,
		      struct error *why);

void run_options_print(FILE *out);

#endif
