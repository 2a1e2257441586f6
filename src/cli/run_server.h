/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_RUN_SERVER_H
#define CLI_RUN_SERVER_H

/*
 * The launcher's side of a run: it owns the run segment, lets the processes of the run join and
 * readers look, and keeps the books of those that are gone (format/run_segment.h).
 *
 * One thread. Nothing here waits: the caller polls the descriptors that run_server_fill() names
 * and hands them back to run_server_handle(). A failure in it concerns one peer, who is dropped.
 */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "format/run_segment.h"

#define RUN_SOCKET_NAME_BYTES 64
#define RUN_STRANGERS_MAX 32	/* connected and silent: the oldest makes room for the next */
#define RUN_PEERS_MAX (RUN_MEMBERS_MAX + RUN_STRANGERS_MAX)
#define RUN_POLL_FDS_MAX (1 + RUN_PEERS_MAX)
#define RUN_ENDED_MAX 256	/* ended processes that the report lists one by one */

struct run_peer {
	int fd;		       /* -1: this place is free */
	int32_t pid;	       /* as SO_PEERCRED has it */
	bool trusted;	       /* by its user */
	uint32_t member_index; /* UINT32_MAX until it has said that it is a member */
	uint64_t arrival;      /* order of arrival, to find the oldest stranger */
};

struct run_server {
	struct run_segment *segment;
	int memfd;
	int listen_fd;
	char name[RUN_SOCKET_NAME_BYTES]; /* without the leading NUL */
	uint64_t arrivals;
	struct run_peer peers[RUN_PEERS_MAX];
	struct run_member *ended; /* RUN_ENDED_MAX of them, copies of what is gone */
	uint32_t ended_count;
	uint64_t ended_unlisted; /* more than the list holds; they are in the sums */
};

/* Makes the segment (counters zero, header left to the caller) and listens. */
int run_server_open(struct run_server *server, struct error *why);
/* Tells the members that are left that the run ended in good order, and lets everything go. */
void run_server_close(struct run_server *server);

/* Fills `fds` (RUN_POLL_FDS_MAX places) and returns how many there are. */
nfds_t run_server_fill(const struct run_server *server, struct pollfd *fds);
/* `fds` as poll() left them. */
void run_server_handle(struct run_server *server, const struct pollfd *fds, nfds_t fd_count);

#endif
