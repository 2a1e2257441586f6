/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Those that the kernel raises for a process's own mistake; blocking them would hide ours. */
static const int own_faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT };

static int block_signals(struct run_child *child, struct error *why)
{
	sigset_t mask;
	size_t i;

	/* A parent that ignores SIGCHLD would have the program's status thrown away. */
	sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_DFL }, &child->sigchld_before);
	sigfillset(&mask);
	for (i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
		sigdelset(&mask, own_faults[i]);
	sigprocmask(SIG_BLOCK, &mask, &child->mask_before);
	child->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (child->signal_fd < 0)
		return error_set(why, -errno, "signalfd: %s", strerror(errno));
	return 0;
}

static int set_number(const char *name, unsigned long long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", number);
	return setenv(name, text, 1);
}

static int set_far(const struct run_options *options)
{
	char lines[RUN_BACKINGS_MAX * RUN_URI_BYTES];
	size_t used = 0;
	uint32_t i;

	for (i = 0; i < options->far_count; i++)
		used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%s%s", i ? "\n" : "",
					 options->far[i]);
	return setenv("PERDURE_FAR", lines, 1);
}

static int set_preload(const char *path)
{
	const char *before = getenv("LD_PRELOAD");
	CLEANUP_FREE char *both = NULL;

	if (!before || !*before)
		return setenv("LD_PRELOAD", path, 1);
	if (asprintf(&both, "%s:%s", path, before) < 0)
		return -1;
	return setenv("LD_PRELOAD", both, 1);
}

static int set_environment(const struct run_environment *environment)
{
	const struct run_options *options = environment->options;
	int rc = 0;

	rc |= set_preload(environment->preload_path);
	rc |= setenv("PERDURE_SOCKET", environment->socket_name, 1);
	rc |= set_number("PERDURE_LOCAL", options->local_bytes);
	rc |= set_far(options);
	rc |= set_number("PERDURE_MIRROR", options->mirror);
	rc |= set_number("PERDURE_TIMEOUT_MS", options->timeout_ms);
	rc |= setenv("PERDURE_KERNEL", options->kernel, 1);
	rc |= setenv("PERDURE_STORE", options->store, 1);
	rc |= setenv("PERDURE_PREFETCH", options->prefetch, 1);
	rc |= set_number("PERDURE_PREFETCH_TIMER_NS", options->prefetch_timer_ns);
	if (options->key_file)
		rc |= setenv("PERDURE_KEY_FILE", options->key_file, 1);
	else
		rc |= unsetenv("PERDURE_KEY_FILE");
	return rc;
}

/* In the child. Writes the errno to `report_fd` when it comes back. */
static void become(const char *path, const struct run_environment *environment,
		   const struct run_child *child, pid_t launcher, int report_fd)
{
	int code;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The launcher may have died before the line above; then nobody would ever kill us. */
	if (getppid() != launcher)
		_exit(1);
	sigaction(SIGCHLD, &child->sigchld_before, NULL);
	sigprocmask(SIG_SETMASK, &child->mask_before, NULL);
	/* With a slash in it execvp searches nothing; it gives a file without "#!" to the shell. */
	if (set_environment(environment) == 0)
		execvp(path, environment->options->command);
	code = errno;
	(void)!write(report_fd, &code, sizeof(code));
	_exit(1);
}

/* The pipe closes at the exec, or carries the errno of the one that failed. */
static int await_exec(int fd, pid_t pid, const char *path, struct error *why)
{
	int code = 0;
	ssize_t got;

	do {
		got = read(fd, &code, sizeof(code));
	} while (got < 0 && errno == EINTR);
	if (got != sizeof(code))
		return 0;
	waitpid(pid, NULL, 0);
	return error_set(why, -code, "cannot run \"%s\": %s", path, strerror(code));
}

int run_child_start(const char *path, const struct run_environment *environment,
		    struct run_child *ret_child, struct error *why)
{
	struct run_child child = { .signal_fd = -1 };
	pid_t launcher = getpid();
	int ends[2], rc;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(why, -errno, "pipe: %s", strerror(errno));
	CLEANUP_FD int read_end = ends[0];
	CLEANUP_FD int write_end = ends[1];

	rc = block_signals(&child, why);
	if (rc < 0)
		return rc;
	child.pid = fork();
	if (child.pid == 0)
		become(path, environment, &child, launcher, write_end);
	if (child.pid < 0) {
		rc = error_set(why, -errno, "cannot start a process: %s", strerror(errno));
	} else {
		close(take_fd(&write_end));
		rc = await_exec(read_end, child.pid, path, why);
	}
	if (rc < 0) {
		close(child.signal_fd);
		sigprocmask(SIG_SETMASK, &child.mask_before, NULL);
		return rc;
	}
	*ret_child = child;
	return 0;
}

/*
 * Stops as the child was stopped, so that the shell sees its job stop, and comes back when the
 * shell continues it.
 */
static void stop_alike(int signal)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, signal);
	kill(getpid(), signal);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	sigprocmask(SIG_BLOCK, &one, NULL);
}

static void look_at_child(struct run_child *child)
{
	int status;

	while (!child->ended && waitpid(child->pid, &status, WNOHANG | WUNTRACED) == child->pid) {
		if (WIFSTOPPED(status)) {
			stop_alike(WSTOPSIG(status));
		} else {
			child->ended = true;
			child->wait_status = status;
		}
	}
}

/*
 * What the terminal sends reaches the whole process group, the program included; what a process
 * sent may have been meant for this process alone, and the two cannot be told apart when it was
 * sent to the group. The program itself is never echoed.
 */
static bool is_to_forward(const struct signalfd_siginfo *info, const struct run_child *child)
{
	return info->ssi_code <= 0 && (pid_t)info->ssi_pid != child->pid;
}

void run_child_signals(struct run_child *child)
{
	struct signalfd_siginfo info;

	while (read(child->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			look_at_child(child);
		else if (!child->ended && is_to_forward(&info, child))
			kill(child->pid, (int)info.ssi_signo);
	}
}

int run_child_pass_on(const struct run_child *child)
{
	sigset_t one;
	int signal;

	if (WIFEXITED(child->wait_status))
		return WEXITSTATUS(child->wait_status);
	signal = WTERMSIG(child->wait_status);
	/* The program has left its core, if it was to leave one; ours would overwrite it. */
	prctl(PR_SET_DUMPABLE, 0);
	sigemptyset(&one);
	sigaddset(&one, signal);
	sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
	kill(getpid(), signal);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	/* Of no effect on this process: say it as shells do. */
	return 128 + signal;
}
