/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/module.h"
#include "cli/program.h"
#include "cli/run_check.h"
#include "cli/run_child.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/run_server.h"

#define NS_PER_MS 1000000u

static int complain(int exit_code, const struct error *why)
{
	fprintf(stderr, "perdure run: %s\n", why->text);
	return exit_code;
}

static int find_program(const char *command, char *ret_path)
{
	struct error why;
	int rc = program_find(command, ret_path, &why);

	if (rc == -ENOENT)
		return complain(EXIT_NOT_FOUND, &why);
	if (rc == -EACCES)
		return complain(EXIT_NOT_EXECUTABLE, &why);
	return rc < 0 ? complain(EXIT_FAILED, &why) : EXIT_DONE;
}

/* The command line as one text, cut off where the segment's field ends. */
static void join_command(char *const *command, char *ret_text)
{
	size_t used = 0;
	int put;

	for (; *command && used < RUN_COMMAND_BYTES - 1; command++) {
		put = snprintf(ret_text + used, RUN_COMMAND_BYTES - used, "%s%s", used ? " " : "",
			       *command);
		used += (size_t)put;
	}
}

static void describe(struct run_segment *segment, const struct run_options *options)
{
	uint32_t i;

	segment->version = RUN_SEGMENT_VERSION;
	segment->backing_count = options->far_count;
	segment->launcher_pid = getpid();
	segment->mirror = options->mirror;
	segment->local_bytes_limit = options->local_bytes;
	segment->started_unix_ms = clock_unix_ns() / NS_PER_MS;
	join_command(options->command, segment->command);
	for (i = 0; i < options->far_count; i++)
		snprintf(segment->backing_uri[i], RUN_URI_BYTES, "%s", options->far[i]);
	segment->magic = RUN_SEGMENT_MAGIC;
}

/* Serves the run until the program has ended, and its processes' last words are in the books. */
static void watch(struct run_server *server, struct run_child *child)
{
	struct pollfd fds[RUN_POLL_FDS_MAX + 1];
	nfds_t count;

	while (!child->ended) {
		count = run_server_fill(server, fds);
		fds[count] = (struct pollfd){ .fd = child->signal_fd, .events = POLLIN };
		if (poll(fds, count + 1, -1) < 0)
			continue;
		run_server_handle(server, fds, count);
		if (fds[count].revents)
			run_child_signals(child);
	}
	/* The child's connection ended before the child did. */
	count = run_server_fill(server, fds);
	if (poll(fds, count, 0) > 0)
		run_server_handle(server, fds, count);
}

static int run(const struct run_options *options, const char *path, const char *preload_path)
{
	static struct run_server server; /* too large for some stacks */
	uint64_t started_ms = clock_now_ns() / NS_PER_MS;
	struct run_environment environment;
	struct run_child child;
	struct error why;
	int rc;

	if (run_server_open(&server, &why) < 0)
		return complain(EXIT_FAILED, &why);
	describe(server.segment, options);
	environment = (struct run_environment){ options, preload_path, server.name };
	rc = run_child_start(path, &environment, &child, &why);
	if (rc < 0) {
		run_server_close(&server);
		return complain(rc == -ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, &why);
	}
	watch(&server, &child);
	if (options->report_path &&
	    run_report_write(options->report_path, &server, child.wait_status,
			     clock_now_ns() / NS_PER_MS - started_ms, &why) < 0)
		complain(EXIT_FAILED, &why);
	run_server_close(&server);
	return run_child_pass_on(&child);
}

int cmd_run(int argc, char **argv)
{
	char path[PATH_MAX], preload_path[PATH_MAX];
	struct run_options options;
	struct error why;
	bool help;
	int code;

	if (run_options_parse(argc, argv, &options, &help, &why) < 0)
		return complain(EXIT_USAGE, &why);
	if (help) {
		run_options_print(stdout);
		return EXIT_DONE;
	}
	code = find_program(options.command[0], path);
	if (code != EXIT_DONE)
		return code;
	if (options.report_path && run_check_report(options.report_path, &why) < 0)
		return complain(EXIT_FAILED, &why);
	if (module_find_preload(preload_path, &why) < 0 || run_check_kernel(&why) < 0 ||
	    run_check_backings(&options, &why) < 0)
		return complain(EXIT_FAILED, &why);
	return run(&options, path, preload_path);
}
