/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/option.h"
#include "base/units.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/run_counters.h"
#include "cli/run_reader.h"
#include "cli/text.h"

#define SHOWN_COMMAND_BYTES 25
#define INTERVAL_MS_MIN 100 /* a look costs about a megabyte of reading a run */
#define INTERVAL_MS_MAX 3600000

struct top_options {
	uint32_t interval_ms;
	unsigned long count; /* refreshes; 0: until the user ends it */
};

/* What a run had counted at the last look; found again by pid and start. */
struct top_row {
	int32_t pid;
	uint64_t started_unix_ms, faults, fetched, written;
};

struct top {
	bool terminal; /* else plain text, one block a refresh */
	struct termios before;
	struct top_row rows[RUN_READ_MAX];
	uint32_t row_count;
	uint64_t looked_ns;
};

static int take_interval(void *target, const char *text, struct error *why)
{
	struct top_options *options = target;
	uint64_t ns;
	int rc = parse_duration(text, &ns, why);

	if (rc < 0)
		return rc;
	if (ns < INTERVAL_MS_MIN * 1000000ull || ns > INTERVAL_MS_MAX * 1000000ull)
		return error_set(why, -EINVAL, "\"%s\" is not between %dms and %ds", text,
				 INTERVAL_MS_MIN, INTERVAL_MS_MAX / 1000);
	options->interval_ms = (uint32_t)(ns / 1000000);
	return 0;
}

static int take_count(void *target, const char *text, struct error *why)
{
	return option_parse_number(text, 1, 1000000, &((struct top_options *)target)->count, why);
}

static const struct option_spec specs[] = {
	{ "interval", "TIME", "between two looks (default: 1s)", take_interval },
	{ "count", "N", "end after N looks (default: until q or Ctrl-C)", take_count },
};

static struct top_row row_of(const struct run_segment *segment, const struct run_counters *total)
{
	return (struct top_row){
		.pid = segment->launcher_pid,
		.started_unix_ms = segment->started_unix_ms,
		.faults = count_of(&total->faults),
		.fetched = count_of(&total->pages_fetched),
		.written = count_of(&total->pages_written),
	};
}

static const struct top_row *row_before(const struct top *top, const struct top_row *row)
{
	uint32_t i;

	for (i = 0; i < top->row_count; i++)
		if (top->rows[i].pid == row->pid &&
		    top->rows[i].started_unix_ms == row->started_unix_ms)
			return &top->rows[i];
	return NULL;
}

static const char *rate(uint64_t now, uint64_t before, uint64_t ns, char *ret_text)
{
	uint64_t grown = now > before ? now - before : 0;

	return text_count(ns ? (uint64_t)((double)grown * 1e9 / (double)ns) : 0, ret_text);
}

static void print_run(const struct top *top, const struct run_segment *segment,
		      const struct run_counters *total, const struct top_row *row, uint64_t ns)
{
	const struct top_row *before = row_before(top, row);
	char command[SHOWN_COMMAND_BYTES], amounts[8][TEXT_AMOUNT_BYTES];

	if (!before)
		before = row; /* its first look: no rate yet */
	text_harmless(segment->command, RUN_COMMAND_BYTES, command, sizeof(command));
	printf("%7d  %-24s %6s/%-6s %7s %9s %9s %9s %7s %7s\n", row->pid, command,
	       text_bytes(count_of(&total->local_bytes), amounts[0]),
	       text_bytes(segment->local_bytes_limit, amounts[1]),
	       text_bytes(count_of(&total->region_bytes), amounts[2]),
	       rate(row->faults, before->faults, ns, amounts[3]),
	       rate(row->fetched, before->fetched, ns, amounts[4]),
	       rate(row->written, before->written, ns, amounts[5]),
	       text_time_ns(run_counters_fault_ns(total, 500), amounts[6]),
	       text_time_ns(run_counters_fault_ns(total, 990), amounts[7]));
}

static void look(struct top *top)
{
	static struct run_reader readers[RUN_READ_MAX];
	static struct top_row rows[RUN_READ_MAX];
	struct run_counters total;
	uint32_t count, mute, i;
	uint64_t at_ns = clock_now_ns();

	count = run_reader_open_all(readers, &mute);
	if (top->terminal)
		fputs("\033[H\033[2J", stdout);
	printf("%7s  %-24s %13s %7s %9s %9s %9s %7s %7s\n", "PID", "COMMAND", "LOCAL/LIMIT",
	       "REGION", "FAULTS/s", "FETCHED/s", "WRITTEN/s", "P50", "P99");
	for (i = 0; i < count; i++) {
		run_counters_total(readers[i].segment, &total);
		rows[i] = row_of(readers[i].segment, &total);
		print_run(top, readers[i].segment, &total, &rows[i], at_ns - top->looked_ns);
	}
	if (count == 0)
		puts("no `perdure run` is running here");
	if (mute)
		printf("%u more did not answer, or are of another version\n", mute);
	fflush(stdout);
	run_reader_close_all(readers, count);
	memcpy(top->rows, rows, sizeof(rows));
	top->row_count = count;
	top->looked_ns = at_ns;
}

static void enter_terminal(struct top *top)
{
	struct termios raw;

	top->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) &&
			tcgetattr(STDIN_FILENO, &top->before) == 0;
	if (!top->terminal)
		return;
	raw = top->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout);
}

static void leave_terminal(const struct top *top)
{
	if (!top->terminal)
		return;
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &top->before);
}

/* Waits for the next look; true when the user wants no more. */
static bool wait_for_end(const struct top *top, int signal_fd, uint32_t interval_ms)
{
	struct pollfd fds[2] = { { .fd = signal_fd, .events = POLLIN },
				 { .fd = top->terminal ? STDIN_FILENO : -1, .events = POLLIN } };
	char key = 'q';

	if (poll(fds, 2, (int)interval_ms) <= 0)
		return false;
	if (fds[0].revents)
		return true;
	return read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 'Q';
}

static void run_top(const struct top_options *options)
{
	static struct top top;
	sigset_t ending;
	unsigned long looks = 0;
	int signal_fd;

	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	sigprocmask(SIG_BLOCK, &ending, NULL);
	signal_fd = signalfd(-1, &ending, SFD_CLOEXEC);
	enter_terminal(&top);
	do {
		look(&top);
		looks++;
	} while ((options->count == 0 || looks < options->count) && !ferror(stdout) &&
		 !wait_for_end(&top, signal_fd, options->interval_ms));
	leave_terminal(&top);
	close(signal_fd);
}

int cmd_top(int argc, char **argv)
{
	struct top_options options = { .interval_ms = 1000 };
	int code;

	if (!command_line_read("Shows every `perdure run` of this host, again and again.",
			       specs, ARRAY_COUNT(specs), argc, argv, &options, &code))
		return code;
	run_top(&options);
	return ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}
