/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_REPORT_H
#define CLI_RUN_REPORT_H

/*
 * The report of a run that has ended, perdure-report(5).
 */

#include <stdint.h>

#include "base/error.h"
#include "cli/run_server.h"

/*
 * Writes it to `path`, whole or not at all: a file is replaced by rename; to anything else
 * (a pipe, a device, a link) it is appended. `wait_status` is the program's. -errno in words.
 */
int run_report_write(const char *path, const struct run_server *server, int wait_status,
		     uint64_t seconds_ms, struct error *why);

#endif
