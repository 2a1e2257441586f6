/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/freezer.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/descriptor.h"

#define STOP_WAIT_NS 1000000000u /* for threads that are in the kernel when the signal comes */
#define STOP_NAP_NS 500000u

struct stopped {
	pid_t pid;
	int fd; /* a pidfd: its number cannot become another process's */
};

struct frozen {
	dev_t device;
	int fd; /* of the root of the mount */
};

struct freezer {
	int fd;
	int bell_fd;
	struct stopped stopped[FREEZER_PIDS_MAX];
	uint32_t stopped_count;
	struct frozen frozen[FREEZER_FILE_SYSTEMS_MAX];
	uint32_t frozen_count;
};

/* ---- Processes ---- */

/* As ps(1) shows it; 0: it is gone. `path` is a stat file of /proc. */
static char read_state(const char *path)
{
	char text[512];
	const char *end;
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (bytes <= 0)
		return 0;
	text[bytes] = '\0';
	/* "PID (NAME) STATE": a name may have brackets in it. */
	end = strrchr(text, ')');
	return end && end[1] == ' ' ? end[2] : 0;
}

static bool is_still(char state)
{
	return state == 0 || strchr("TtZXx", state);
}

static bool are_threads_still(pid_t pid)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool still = true;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	folder = opendir(path);
	while (folder && still && (entry = readdir(folder))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", (int)pid, entry->d_name);
		still = is_still(read_state(path));
	}
	if (folder)
		closedir(folder);
	return still;
}

static bool is_known(const struct freezer *freezer, pid_t pid)
{
	for (uint32_t i = 0; i < freezer->stopped_count; i++) {
		struct pollfd gone = { .fd = freezer->stopped[i].fd, .events = POLLIN };

		if (freezer->stopped[i].pid == pid && poll(&gone, 1, 0) == 0)
			return true;
	}
	return false;
}

/* True if it was not stopped already and has got the signal. */
static bool stop(struct freezer *freezer, pid_t pid)
{
	char path[64];
	CLEANUP_FD int fd = -1;

	if (pid <= 1 || pid == getpid() || pid == getppid() ||
	    freezer->stopped_count == FREEZER_PIDS_MAX || is_known(freezer, pid))
		return false;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fd < 0 || is_still(read_state(path)) ||
	    syscall(SYS_pidfd_send_signal, fd, SIGSTOP, NULL, 0))
		return false;
	freezer->stopped[freezer->stopped_count++] = (struct stopped){ pid, take_fd(&fd) };
	return true;
}

static int stop_all(struct freezer *freezer, const struct freezer_request *request,
		    struct error *why)
{
	uint32_t first = freezer->stopped_count;
	uint64_t end_ns = clock_now_ns() + STOP_WAIT_NS;

	for (uint32_t i = 0; i < request->count; i++)
		stop(freezer, request->pids[i]);
	for (uint32_t i = first; i < freezer->stopped_count; i++) {
		while (!are_threads_still(freezer->stopped[i].pid)) {
			if (clock_now_ns() >= end_ns)
				return error_set(why, -ETIMEDOUT,
						 "process %d was told to stop and has not",
						 (int)freezer->stopped[i].pid);
			clock_sleep_ns(STOP_NAP_NS);
		}
	}
	return 0;
}

/* ---- File systems ---- */

static int freeze(struct freezer *freezer, const struct freezer_request *request, struct error *why)
{
	CLEANUP_FD int fd = -1;
	struct stat status;

	for (uint32_t i = 0; i < freezer->frozen_count; i++) {
		if (freezer->frozen[i].device == request->device)
			return 0;
	}
	if (freezer->frozen_count == FREEZER_FILE_SYSTEMS_MAX)
		return error_set(why, -ENOSPC, "\"%s\": %d file systems are the most",
				 request->path, FREEZER_FILE_SYSTEMS_MAX);
	fd = open(request->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) || status.st_dev != request->device)
		return error_set(why, -ENOENT, "\"%s\" cannot be opened any more", request->path);
	if (ioctl(fd, FIFREEZE, 0)) {
		/* Somebody else has frozen it, and thaws it. */
		if (errno == EBUSY)
			return 0;
		return error_set(why, -errno, "the file system at \"%s\" cannot be frozen: %s",
				 request->path, strerror(errno));
	}
	freezer->frozen[freezer->frozen_count++] = (struct frozen){ request->device, take_fd(&fd) };
	return 0;
}

static void undo(struct freezer *freezer)
{
	for (uint32_t i = 0; i < freezer->frozen_count; i++) {
		ioctl(freezer->frozen[i].fd, FITHAW, 0);
		close(freezer->frozen[i].fd);
	}
	for (uint32_t i = 0; i < freezer->stopped_count; i++) {
		syscall(SYS_pidfd_send_signal, freezer->stopped[i].fd, SIGCONT, NULL, 0);
		close(freezer->stopped[i].fd);
	}
	freezer->frozen_count = 0;
	freezer->stopped_count = 0;
}

/* ---- The process ---- */

static void answer(struct freezer *freezer, const struct freezer_request *request)
{
	struct freezer_answer answer = { 0 };
	uint64_t one = 1;

	answer.result = request->verb == FREEZER_STOP ? stop_all(freezer, request, &answer.why)
						      : freeze(freezer, request, &answer.why);
	(void)!send(freezer->fd, &answer, sizeof(answer), MSG_NOSIGNAL);
	(void)!write(freezer->bell_fd, &one, sizeof(one));
}

/* Nothing of the agent's stays open here but the two: its lock would outlive it. */
static void keep_only(struct freezer *freezer)
{
	int fds[] = { freezer->fd, freezer->bell_fd };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	descriptor_keep_only(fds, ARRAY_COUNT(fds));
	freezer->fd = fds[0];
	freezer->bell_fd = fds[1];
}

static void run(struct freezer *freezer)
{
	static struct freezer_request request;
	sigset_t all;
	ssize_t bytes;

	/* It ends with the agent, and not before. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "perdure-freezer");
	keep_only(freezer);
	(void)!chdir("/");
	while ((bytes = recv(freezer->fd, &request, sizeof(request), 0)) > 0 || errno == EINTR) {
		if (bytes != sizeof(request))
			continue;
		if (request.verb == FREEZER_UNDO)
			undo(freezer);
		else
			answer(freezer, &request);
	}
	undo(freezer);
	_exit(0);
}

int freezer_start(int bell_fd, int *ret_fd, struct error *why)
{
	static struct freezer freezer;
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return error_set(why, -errno, "no sockets: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		freezer = (struct freezer){ .fd = fds[1], .bell_fd = bell_fd };
		run(&freezer);
	}
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return error_set(why, -errno, "cannot fork: %s", strerror(errno));
	}
	*ret_fd = fds[0];
	return 0;
}
