/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_CHILD_H
#define CLI_RUN_CHILD_H

/*
 * The program as the launcher's child, and the launcher's conduct towards it and the shell above:
 * signals go through, a stop stops both, and the end of the one is the end of the other.
 */

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "cli/run_options.h"

struct run_child {
	pid_t pid;
	int signal_fd;	      /* readable: run_child_signals() */
	sigset_t mask_before; /* this and the next: what the program inherits */
	struct sigaction sigchld_before;
	bool ended;
	int wait_status; /* as waitpid() gives it, once ended */
};

struct run_environment {
	const struct run_options *options;
	const char *preload_path;
	const char *socket_name;
};

/*
 * Starts `path` as options->command. It dies with the launcher. -errno in words when it cannot be
 * executed; then nothing is left of it.
 */
int run_child_start(const char *path, const struct run_environment *environment,
		    struct run_child *ret_child, struct error *why);

/* Reads what signal_fd has: forwards signals, stops with the child, notices its end. */
void run_child_signals(struct run_child *child);

/* The program's exit status for main() to return; if a signal ended it, does not return. */
int run_child_pass_on(const struct run_child *child);

#endif
