/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_BYTES_MAX 512

static const char *prefix = "perdure";

static struct {
	uint64_t second;
	unsigned lines;
	unsigned left_out;
} rate;

static bool may_log(unsigned *ret_left_out)
{
	uint64_t second = clock_now_ns() / 1000000000u;

	*ret_left_out = 0;
	if (second != rate.second) {
		*ret_left_out = rate.left_out;
		rate.second = second;
		rate.lines = 0;
		rate.left_out = 0;
	}
	if (rate.lines == LOG_LINES_PER_SECOND) {
		rate.left_out++;
		return false;
	}
	rate.lines++;
	return true;
}

/* One write a line: the lines of a program's processes do not mix. */
static void put_line(const char *line, int bytes)
{
	ssize_t ret = write(STDERR_FILENO, line, (size_t)bytes);

	(void)ret; /* a log that cannot be written is no reason to stop working */
}

void log_begin(const char *program)
{
	prefix = program;
}

void log_line(const char *format, ...)
{
	char line[LINE_BYTES_MAX];
	unsigned left_out;
	va_list list;
	int bytes;

	if (!may_log(&left_out))
		return;
	if (left_out) {
		bytes = snprintf(line, sizeof(line), "%s: %u lines left out\n", prefix, left_out);
		put_line(line, bytes);
	}
	bytes = snprintf(line, sizeof(line), "%s: ", prefix);
	va_start(list, format);
	bytes += vsnprintf(line + bytes, sizeof(line) - (size_t)bytes - 1, format, list);
	va_end(list);
	if (bytes > (int)sizeof(line) - 2)
		bytes = sizeof(line) - 2;
	line[bytes] = '\n';
	put_line(line, bytes + 1);
}
