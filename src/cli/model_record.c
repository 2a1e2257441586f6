/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/model_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/option.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "cli/trace_file.h"
#include "format/lackey.h"

#define DEFAULT_OUTPUT "perdure.trace"
#define PIPE_BYTES (1 << 20) /* the most that users may ask for */
#define NAP_MS 10	     /* in which valgrind fills a part of it */

struct record_options {
	const char *output;
};

struct recording {
	struct trace_file file;
	char text[PIPE_BYTES]; /* lines, the last one begun */
	size_t length;
};

static int take_output(void *target, const char *text, struct error *why)
{
	if (!*text)
		return error_set(why, -EINVAL, "\"\" is no file name");
	((struct record_options *)target)->output = text;
	return 0;
}

static const struct option_spec specs[] = {
	{ "output", "FILE", "where the trace goes (default: " DEFAULT_OUTPUT ")", take_output },
};

static bool is_in_path(const char *name)
{
	const char *folder = getenv("PATH");
	char path[PATH_MAX];

	for (size_t length; folder; folder = folder[length] ? folder + length + 1 : NULL) {
		length = strcspn(folder, ":");
		if (snprintf(path, sizeof(path), "%.*s/%s", (int)length, folder, name) <
			    (int)sizeof(path) &&
		    access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* Does not return. valgrind takes the descriptor out of the program's way. */
static void become_valgrind(char **command, int argument_count, int log_fd)
{
	char log_option[32];
	const char *fixed[] = { "valgrind",
				"-q",
				"--tool=lackey",
				"--trace-mem=yes",
				"--child-silent-after-fork=yes",
				log_option,
				"--" };
	const char **all = calloc(ARRAY_COUNT(fixed) + (size_t)argument_count + 1, sizeof(*all));

	snprintf(log_option, sizeof(log_option), "--log-fd=%d", log_fd);
	if (all) {
		memcpy(all, fixed, sizeof(fixed));
		memcpy(all + ARRAY_COUNT(fixed), command, (size_t)argument_count * sizeof(*all));
		execvp("valgrind", (char **)all);
	}
	perror("perdure model record: valgrind");
	_exit(EXIT_NOT_EXECUTABLE);
}

static int take_line(struct recording *recording, const char *line, size_t length,
		     struct error *why)
{
	struct trace_reference reference;

	switch (lackey_read(line, length, &reference)) {
	case LACKEY_REFERENCE:
		return trace_file_add(&recording->file, reference, why);
	case LACKEY_WORDS:
		/* The statistics that lackey ends with, which it marks so, are of no use here. */
		if (length < 2 || memcmp(line, "==", 2) != 0)
			fprintf(stderr, "%.*s\n", (int)length, line);
		return 0;
	default:
		return 0;
	}
}

/* All whole lines; what is begun stays. A line that fills the buffer is none that is known. */
static int take_lines(struct recording *recording, struct error *why)
{
	char *line = recording->text, *end = recording->text + recording->length, *line_end;
	int ret = 0;

	while (!ret && (line_end = memchr(line, '\n', (size_t)(end - line)))) {
		ret = take_line(recording, line, (size_t)(line_end - line), why);
		line = line_end + 1;
	}
	recording->length = (size_t)(end - line);
	if (recording->length == sizeof(recording->text))
		recording->length = 0;
	memmove(recording->text, line, recording->length);
	return ret;
}

/* All that is in the pipe. 0 when it is empty now, 1 at its end. */
static int drain(struct recording *recording, int fd, struct error *why)
{
	for (;;) {
		ssize_t got = read(fd, recording->text + recording->length,
				   sizeof(recording->text) - recording->length);
		int ret;

		if (got == 0)
			return 1;
		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set(why, -errno, "reading from valgrind: %s", strerror(errno));
		recording->length += (size_t)got;
		ret = take_lines(recording, why);
		if (ret < 0)
			return ret;
	}
}

/*
 * To the end of what valgrind writes, which is a system call for each line. Nobody waits at the
 * other end of its large pipe, so that none of them has to wake anybody. Processes that the program
 * forked may outlive it and keep the pipe open: when valgrind has ended, what is there is all.
 */
static int take_all(struct recording *recording, int fd, pid_t pid, struct error *why)
{
	CLEANUP_FD int pid_fd = pidfd_open(pid, 0);
	struct pollfd polled = { .fd = pid_fd, .events = POLLIN };
	bool has_ended = false;
	int ret = 0;

	if (pid_fd < 0)
		return error_set(why, -errno, "pidfd_open: %s", strerror(errno));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES); /* more than a user may have: then it stays small */
	while (!ret && !has_ended) {
		has_ended = poll(&polled, 1, NAP_MS) > 0;
		ret = drain(recording, fd, why);
	}
	return ret < 0 ? ret : 0;
}

static int start(char **command, int argument_count, int *ret_fd, pid_t *ret_pid, struct error *why)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(why, -errno, "pipe: %s", strerror(errno));
	*ret_pid = fork();
	if (*ret_pid == 0) {
		fcntl(ends[1], F_SETFD, 0);
		become_valgrind(command, argument_count, ends[1]);
	}
	close(ends[1]);
	*ret_fd = ends[0];
	if (*ret_pid > 0)
		return 0;
	close(ends[0]);
	return error_set(why, -errno, "cannot start a process: %s", strerror(errno));
}

/* What the terminal sends is for the program; the recording ends with it. */
static void leave_keys_to_the_program(void)
{
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
}

static int exit_code_of(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

static int record(struct recording *recording, char **command, int argument_count,
		  int *ret_wait_status, struct error *why)
{
	CLEANUP_FD int fd = -1;
	pid_t pid = -1;
	int ret = start(command, argument_count, &fd, &pid, why);

	if (ret < 0)
		return ret;
	leave_keys_to_the_program();
	ret = take_all(recording, fd, pid, why);
	if (ret < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, ret_wait_status, 0) < 0 && errno == EINTR)
		continue;
	return ret;
}

static int fail(const struct error *why)
{
	fprintf(stderr, "perdure model record: %s\n", why->text);
	return EXIT_FAILED;
}

/* valgrind has told in its own words what kept the program from starting. */
static int end_empty(struct trace_file *file, int wait_status)
{
	struct error why;
	int code = exit_code_of(wait_status);

	trace_file_remove(file);
	error_set(&why, 0, "nothing was recorded, and \"%s\" was removed", file->path);
	return code ? code : fail(&why);
}

static int end(struct trace_file *file, int wait_status)
{
	char text[TEXT_AMOUNT_BYTES];
	struct error why;

	if (trace_file_finish(file, &why) < 0)
		return fail(&why);
	fprintf(stderr, "perdure model record: %s references in \"%s\"\n",
		text_count(file->writer.references_done, text), file->path);
	return exit_code_of(wait_status);
}

static int record_command(const char *output, char **command, int argument_count)
{
	CLEANUP_FREE struct recording *recording = calloc(1, sizeof(*recording));
	struct error why;
	int wait_status = 0;

	if (!recording)
		return EXIT_FAILED;
	if (!is_in_path("valgrind")) {
		error_set(&why, -ENOENT, "valgrind is missing; install the package valgrind");
		return fail(&why);
	}
	if (trace_file_create(&recording->file, output, &why) < 0)
		return fail(&why);
	if (record(recording, command, argument_count, &wait_status, &why) < 0) {
		trace_file_remove(&recording->file);
		return fail(&why);
	}
	if (!recording->file.writer.references && !recording->file.writer.references_done)
		return end_empty(&recording->file, wait_status);
	return end(&recording->file, wait_status);
}

static void print_help(void)
{
	puts("usage: perdure model record [OPTIONS] [--] COMMAND [ARGUMENT]...\n\n"
	     "Records the data references of a program, by valgrind's tool lackey.\n");
	option_print(specs, ARRAY_COUNT(specs), stdout);
}

int model_record(int argc, char **argv)
{
	struct record_options options = { .output = DEFAULT_OUTPUT };
	struct error why;
	bool help;
	int first, ret;

	ret = option_parse(specs, ARRAY_COUNT(specs), argc, argv, &options, &first, &help, &why);
	if (!ret && !help && first == argc)
		ret = error_set(&why, -EINVAL, "a command is missing; --help lists the options");
	if (ret < 0) {
		fprintf(stderr, "perdure model record: %s\n", why.text);
		return EXIT_USAGE;
	}
	if (!help)
		return record_command(options.output, argv + first, argc - first);
	print_help();
	return EXIT_DONE;
}
