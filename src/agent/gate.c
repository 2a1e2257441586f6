/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/descriptor.h"

#define EVENT_BYTES 4096
#define ALL_RESTORED 'x'

/* What the kernel asks is answered; it asks nothing more once the mark is gone. */
static void answer_all(int fd, uint32_t answer)
{
	char events[EVENT_BYTES] __attribute__((aligned(8)));
	ssize_t bytes;

	while ((bytes = read(fd, events, sizeof(events))) > 0) {
		const struct fanotify_event_metadata *event = (const void *)events;

		for (; FAN_EVENT_OK(event, bytes); event = FAN_EVENT_NEXT(event, bytes)) {
			struct fanotify_response response = { .fd = event->fd, .response = answer };

			if (event->fd < 0)
				continue;
			(void)!write(fd, &response, sizeof(response));
			close(event->fd);
		}
	}
}

static void end(struct gate *gate, uint32_t answer)
{
	fanotify_mark(gate->fd, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
	answer_all(gate->fd, answer);
	close(gate->fd);
	gate->fd = -1;
}

int gate_shut(struct gate *gate, const char *hidden, const char *named, struct error *why)
{
	gate->fd =
		fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE,
			      O_RDONLY | O_CLOEXEC);
	if (gate->fd < 0)
		return error_set(why, -errno, "fanotify: %s", strerror(errno));
	snprintf(gate->hidden, sizeof(gate->hidden), "%s", hidden);
	snprintf(gate->named, sizeof(gate->named), "%s", named);
	if (fanotify_mark(gate->fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, hidden) ||
	    rename(hidden, named)) {
		int err = -errno;

		close(gate->fd);
		gate->fd = -1;
		return error_set(why, err, "cannot have \"%s\" wait: %s", named, strerror(-err));
	}
	return 0;
}

void gate_open(struct gate *gate)
{
	if (gate->fd >= 0)
		end(gate, FAN_ALLOW);
}

void gate_refuse(struct gate *gate)
{
	if (gate->fd < 0)
		return;
	rename(gate->named, gate->hidden);
	end(gate, FAN_DENY);
}

/* ---- The gatekeeper ---- */

/*
 * Async-signal-safe: the agent has threads. A userfaultfd that stayed open here would keep writers
 * waiting for an agent that is gone.
 */
static void keep_gates(struct gate *gates, unsigned count, int pipe_fd, int lock_fd)
{
	int fds[GATES_MAX + 2];
	char word = 0;

	for (unsigned i = 0; i < count; i++)
		fds[i] = gates[i].fd;
	fds[count] = pipe_fd;
	fds[count + 1] = lock_fd;
	descriptor_keep_only(fds, count + 2);
	while (read(fds[count], &word, 1) < 0 && errno == EINTR)
		;
	if (word == ALL_RESTORED)
		_exit(0);
	for (unsigned i = 0; i < count; i++) {
		gates[i].fd = fds[i];
		gate_refuse(&gates[i]);
	}
	_exit(0);
}

int gatekeeper_start(struct gatekeeper *keeper, const struct gate *const *gates, unsigned count,
		     int lock_fd, struct error *why)
{
	static struct gate kept[GATES_MAX];
	int ends[2];

	for (unsigned i = 0; i < count; i++)
		kept[i] = *gates[i];
	if (pipe2(ends, O_CLOEXEC))
		return error_set(why, -errno, "no pipe: %s", strerror(errno));
	keeper->pid = fork();
	if (keeper->pid == 0) {
		close(ends[1]);
		keep_gates(kept, count, ends[0], lock_fd);
	}
	close(ends[0]);
	if (keeper->pid < 0) {
		keeper->pid = 0;
		close(ends[1]);
		return error_set(why, -errno, "cannot fork: %s", strerror(errno));
	}
	keeper->pipe_fd = ends[1];
	return 0;
}

void gatekeeper_end(struct gatekeeper *keeper)
{
	const char word = ALL_RESTORED;

	if (!keeper->pid)
		return;
	(void)!write(keeper->pipe_fd, &word, 1);
	close(keeper->pipe_fd);
	waitpid(keeper->pid, NULL, 0);
	keeper->pid = 0;
}
