/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/run_json.h"

static json_t *processes_json(const struct run_server *server)
{
	json_t *list = json_array();
	uint32_t i;

	for (i = 0; i < server->ended_count; i++)
		json_array_append_new(list, run_json_member(&server->ended[i]));
	json_t *living = run_json_members(server->segment);

	json_array_extend(list, living);
	json_decref(living);
	return list;
}

static json_t *report_json(const struct run_server *server, int wait_status, uint64_t seconds_ms)
{
	json_t *report = run_json(server->segment);

	json_object_set_new(report, "version", json_string(PERDURE_VERSION));
	json_object_set_new(report, "seconds", json_real((double)seconds_ms / 1000));
	if (WIFEXITED(wait_status))
		json_object_set_new(report, "exit_status", json_integer(WEXITSTATUS(wait_status)));
	else
		json_object_set_new(report, "signal", json_integer(WTERMSIG(wait_status)));
	json_object_set_new(report, "processes", processes_json(server));
	json_object_set_new(report, "processes_unlisted",
			    json_integer((json_int_t)server->ended_unlisted));
	return report;
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);
	ssize_t put;

	while (left > 0) {
		put = write(fd, text, left);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		text += put;
		left -= (size_t)put;
	}
	return 0;
}

/*
 * Only a file, or nothing yet, is replaced. Whatever else bears the name (a pipe, a terminal, or a
 * link such as /dev/stdout, which must stay a link) is appended to, beside what others write there.
 */
static bool is_replaceable(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 ? errno == ENOENT : S_ISREG(st.st_mode);
}

static int append(const char *path, const char *text)
{
	/* Without waiting: a named pipe that nobody reads must not keep the launcher. */
	CLEANUP_FD int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : write_all(fd, text);
}

static int replace(const char *path, const char *text)
{
	char beside[PATH_MAX];
	int rc;

	if (snprintf(beside, sizeof(beside), "%s.%d", path, getpid()) >= (int)sizeof(beside))
		return -ENAMETOOLONG;
	CLEANUP_FD int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0)
		return -errno;
	rc = write_all(fd, text);
	if (rc == 0 && rename(beside, path) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(beside);
	return rc;
}

int run_report_write(const char *path, const struct run_server *server, int wait_status,
		     uint64_t seconds_ms, struct error *why)
{
	json_t *report = report_json(server, wait_status, seconds_ms);
	CLEANUP_FREE char *json = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	CLEANUP_FREE char *text = NULL;
	int rc = -ENOMEM;

	json_decref(report);
	if (json && asprintf(&text, "%s\n", json) >= 0)
		rc = is_replaceable(path) ? replace(path, text) : append(path, text);
	if (rc < 0)
		return error_set(why, rc, "cannot write the report \"%s\": %s", path,
				 strerror(-rc));
	return 0;
}
