/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_CHECK_H
#define CLI_RUN_CHECK_H

/*
 * What must hold before the program starts. Each check gives 0, or -errno with one line that says
 * what is wrong and what to do.
 */

#include "base/error.h"
#include "cli/run_options.h"

/*
 * May a process of this user have its faults served, those of the kernel's own accesses and those
 * of forked children included? Hands CAP_SYS_PTRACE on to the program when this binary has it from
 * file capabilities.
 */
int run_check_kernel(struct error *why);

/* Opens every --far once, asks it for some room, and lets it go. */
int run_check_backings(const struct run_options *options, struct error *why);

/* Can the report be written where it is wanted? Leaves nothing behind. */
int run_check_report(const char *path, struct error *why);

#endif
