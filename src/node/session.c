/* SPDX-License-Identifier: Apache-2.0 */
#include "node/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "base/log.h"
#include "node/worker.h"

#define KEEPER_FD 3 /* of a worker: the first behind the standard streams, the rest are closed */

uint64_t session_quota(const struct session_table *table)
{
	const struct node_options *options = table->options;

	return options->quota_bytes && options->quota_bytes < options->memory_bytes
		       ? options->quota_bytes
		       : options->memory_bytes;
}

struct session *session_find(const struct session_table *table, uint64_t number)
{
	for (unsigned i = 0; i < NODE_SESSIONS_MAX; i++) {
		if (table->sessions[i] && table->sessions[i]->number == number)
			return table->sessions[i];
	}
	return NULL;
}

static _Noreturn void become_worker(const struct session_table *table,
				    const struct session *session, int socket)
{
	struct worker_options options = {
		.node = table->options,
		.module = table->module,
		.session = session->number,
		.quota_bytes = session_quota(table),
		.keeper = KEEPER_FD,
	};
	char name[16];

	/* Nothing of other clients, of guests or of the listening socket stays in this process. */
	if (socket != KEEPER_FD && dup2(socket, KEEPER_FD) < 0)
		_exit(1);
	syscall(SYS_close_range, KEEPER_FD + 1, ~0u, 0);
	snprintf(name, sizeof(name), "session %" PRIu64, session->number);
	prctl(PR_SET_NAME, name);
	memcpy(options.secret, session->secret, sizeof(options.secret));
	memcpy(options.boot_id, table->boot_id, sizeof(options.boot_id));
	worker_run(&options);
}

static int fork_worker(struct session_table *table, struct session *session)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid == 0)
		become_worker(table, session, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -errno;
	}
	session->pid = pid;
	session->socket = pair[0];
	session->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (session->pidfd >= 0)
		return 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pair[0]);
	return -ENOMEM;
}

int session_begin(struct session_table *table, const char *peer, struct session **ret_session,
		  struct error *why)
{
	CLEANUP_FREE struct session *session = NULL;
	unsigned index = 0;
	int ret = 0;

	while (index < NODE_SESSIONS_MAX && table->sessions[index])
		index++;
	if (index == NODE_SESSIONS_MAX)
		return error_set(why, -EUSERS, "has no room: it serves %d clients already",
				 NODE_SESSIONS_MAX);
	session = calloc(1, sizeof(*session));
	if (!session)
		return error_set(why, -ENOMEM, "has no room: its host is out of memory");
	session->number = ++table->last_number;
	snprintf(session->peer, sizeof(session->peer), "%s", peer);
	if (getrandom(session->secret, sizeof(session->secret), 0) < 0)
		ret = -errno;
	if (!ret)
		ret = fork_worker(table, session);
	if (ret)
		return error_set(why, ret, "cannot start a worker: %s", strerror(-ret));
	*ret_session = table->sessions[index] = take_pointer(session);
	return 0;
}

/* What is granted in all when `bytes` are wanted, or the refusal in words. */
static int decide(const struct session_table *table, const struct session *session, uint64_t bytes,
		  uint64_t *ret_bytes, struct error *why)
{
	uint64_t quota = session_quota(table);
	uint64_t free_bytes = table->options->memory_bytes - table->granted_bytes;
	char texts[3][UNITS_TEXT_BYTES];
	uint64_t rounded, more;

	if (bytes > quota)
		return error_set(why, -ENOSPC,
				 "has no room: %s wanted, the quota of one client is %s",
				 format_size(bytes, texts[0]), format_size(quota, texts[1]));
	rounded = (bytes + NODE_GRANT_BYTES - 1) / NODE_GRANT_BYTES * NODE_GRANT_BYTES;
	if (rounded > quota)
		rounded = quota;
	more = rounded > session->granted_bytes ? rounded - session->granted_bytes : 0;
	if (more > free_bytes)
		return error_set(why, -ENOSPC, "has no room: %s of %s free, %s wanted",
				 format_size(free_bytes, texts[0]),
				 format_size(table->options->memory_bytes, texts[1]),
				 format_size(more, texts[2]));
	*ret_bytes = session->granted_bytes + more;
	return 0;
}

static void take_want(struct session_table *table, struct session *session, uint64_t bytes)
{
	struct task answer = { .kind = TASK_GRANT };
	uint64_t granted = session->granted_bytes;
	struct error why = { "" };

	answer.result = decide(table, session, bytes, &granted, &why);
	answer.bytes = granted;
	snprintf(answer.words, sizeof(answer.words), "%.*s", WIRE_WORDS_BYTES - 1, why.text);
	if (answer.result)
		log_line("client %s refused: %s", session->peer, why.text);
	table->granted_bytes += granted - session->granted_bytes;
	session->granted_bytes = granted;
	assert(table->granted_bytes <= table->options->memory_bytes);
	task_send(session->socket, &answer, -1);
}

static void take_return(struct session_table *table, struct session *session, uint64_t bytes)
{
	if (bytes > session->granted_bytes)
		return;
	table->granted_bytes -= session->granted_bytes - bytes;
	session->granted_bytes = bytes;
}

bool session_serve(struct session_table *table, struct session *session)
{
	struct task task;
	int fd;
	int ret;

	while (!(ret = task_receive(session->socket, &task, &fd))) {
		if (fd >= 0)
			close(fd);
		if (task.kind == TASK_WANT)
			take_want(table, session, task.bytes);
		else if (task.kind == TASK_RETURN)
			take_return(table, session, task.bytes);
	}
	return ret == -EAGAIN;
}

void session_end(struct session_table *table, struct session *session)
{
	char text[UNITS_TEXT_BYTES];
	int status = 0;

	waitpid(session->pid, &status, 0);
	if (WIFSIGNALED(status))
		log_line("client %s: its worker was ended by signal %d", session->peer,
			 WTERMSIG(status));
	log_line("client %s gone: session %" PRIu64 ", %s freed", session->peer, session->number,
		 format_size(session->granted_bytes, text));
	table->granted_bytes -= session->granted_bytes;
	for (unsigned i = 0; i < NODE_SESSIONS_MAX; i++) {
		if (table->sessions[i] == session)
			table->sessions[i] = NULL;
	}
	close(session->pidfd);
	close(session->socket);
	explicit_bzero(session, sizeof(*session));
	free(session);
	fabric_clean_stale();
}
