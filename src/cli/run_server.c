/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_server.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/descriptor_pass.h"
#include "cli/run_counters.h"

#define NAME_TRIES 8   /* another user may sit on our name; a few suffixes get around an accident */
#define LISTEN_BACKLOG 64 /* a program that forks fast; beyond it connect() waits its turn */

static int make_segment(struct run_server *server, struct error *why)
{
	CLEANUP_FD int fd = memfd_create("perdure-run", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *mapped;

	if (fd < 0 || ftruncate(fd, sizeof(struct run_segment)) < 0)
		return error_set(why, -errno, "cannot make the run segment: %s", strerror(errno));
	/* A reader checks these seals: with them its mapping cannot be cut off under it. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return error_set(why, -errno, "cannot seal the run segment: %s", strerror(errno));
	mapped = mmap(NULL, sizeof(struct run_segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		return error_set(why, -errno, "cannot map the run segment: %s", strerror(errno));
	server->segment = mapped;
	if (getrandom(server->segment->nonce, RUN_NONCE_BYTES, 0) != RUN_NONCE_BYTES)
		return error_set(why, -EIO, "getrandom: %s", strerror(errno));
	server->memfd = take_fd(&fd);
	return 0;
}

static int bind_name(int fd, struct run_server *server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int try, length;

	for (try = 0; try < NAME_TRIES; try++) {
		length = snprintf(server->name, sizeof(server->name),
				  try ? "perdure/run/%d.%d" : "perdure/run/%d", getpid(), try);
		memcpy(address.sun_path + 1, server->name, (size_t)length);
		if (bind(fd, (struct sockaddr *)&address,
			 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) == 0)
			return 0;
		if (errno != EADDRINUSE)
			break;
	}
	return -errno;
}

static int start_listening(struct run_server *server, struct error *why)
{
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind_name(fd, server) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return error_set(why, -errno, "cannot listen on the socket \"@%s\": %s",
				 server->name, strerror(errno));
	server->listen_fd = take_fd(&fd);
	return 0;
}

int run_server_open(struct run_server *server, struct error *why)
{
	uint32_t i;
	int rc;

	memset(server, 0, sizeof(*server));
	server->memfd = -1;
	server->listen_fd = -1;
	for (i = 0; i < RUN_PEERS_MAX; i++)
		server->peers[i].fd = -1;
	server->ended = calloc(RUN_ENDED_MAX, sizeof(*server->ended));
	if (!server->ended)
		return error_set(why, -ENOMEM, "no memory for the launcher's own books");
	rc = make_segment(server, why);
	if (rc == 0)
		rc = start_listening(server, why);
	if (rc < 0)
		run_server_close(server);
	return rc;
}

void run_server_close(struct run_server *server)
{
	const char goodbye = RUN_GOODBYE;
	uint32_t i;

	for (i = 0; i < RUN_PEERS_MAX; i++) {
		if (server->peers[i].fd < 0)
			continue;
		(void)send(server->peers[i].fd, &goodbye, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		close(server->peers[i].fd);
	}
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	if (server->memfd >= 0)
		close(server->memfd);
	if (server->segment)
		munmap(server->segment, sizeof(*server->segment));
	free(server->ended);
	memset(server, 0, sizeof(*server));
}

nfds_t run_server_fill(const struct run_server *server, struct pollfd *fds)
{
	nfds_t count = 0;
	uint32_t i;

	fds[count++] = (struct pollfd){ .fd = server->listen_fd, .events = POLLIN };
	for (i = 0; i < RUN_PEERS_MAX; i++)
		if (server->peers[i].fd >= 0)
			fds[count++] =
				(struct pollfd){ .fd = server->peers[i].fd, .events = POLLIN };
	return count;
}

static void read_command(int32_t pid, char *ret_command)
{
	char path[64];
	ssize_t length, i;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? 0 : read(fd, ret_command, RUN_COMMAND_BYTES - 1);
	if (length < 0)
		length = 0;
	ret_command[length] = '\0';
	for (i = 0; i < length - 1; i++)
		if (ret_command[i] == '\0')
			ret_command[i] = ' ';
}

static uint32_t take_member(struct run_server *server, int32_t pid)
{
	struct run_member *member;
	uint32_t i;

	for (i = 0; i < RUN_MEMBERS_MAX; i++) {
		member = &server->segment->members[i];
		if (atomic_load_explicit(&member->state, memory_order_relaxed) == RUN_MEMBER_LIVE)
			continue;
		memset(member, 0, sizeof(*member));
		atomic_store_explicit(&member->pid, pid, memory_order_relaxed);
		read_command(pid, member->command);
		/* Publishes the emptied counters and the name above to readers. */
		atomic_store_explicit(&member->state, RUN_MEMBER_LIVE, memory_order_release);
		return i;
	}
	return UINT32_MAX;
}

static void end_member(struct run_server *server, uint32_t index)
{
	struct run_member *member = &server->segment->members[index];

	assert(index < RUN_MEMBERS_MAX);
	if (server->ended_count < RUN_ENDED_MAX)
		memcpy(&server->ended[server->ended_count++], member, sizeof(*member));
	else
		server->ended_unlisted++;
	/* Not live before it is in the sums: a reader between the two misses it, never doubles it.
	 */
	atomic_store_explicit(&member->state, RUN_MEMBER_ENDED, memory_order_release);
	run_counters_fold_ended(&server->segment->ended, &member->counters);
}

static void drop_peer(struct run_server *server, struct run_peer *peer)
{
	if (peer->member_index != UINT32_MAX)
		end_member(server, peer->member_index);
	close(peer->fd);
	peer->fd = -1;
}

/* A free place, or the one of the oldest peer that never said what it is; NULL if all are members.
 */
static struct run_peer *peer_place(struct run_server *server)
{
	struct run_peer *oldest = NULL;
	uint32_t i, strangers = 0;

	for (i = 0; i < RUN_PEERS_MAX; i++) {
		struct run_peer *peer = &server->peers[i];

		if (peer->fd < 0 || peer->member_index != UINT32_MAX)
			continue;
		strangers++;
		if (!oldest || peer->arrival < oldest->arrival)
			oldest = peer;
	}
	if (strangers >= RUN_STRANGERS_MAX)
		drop_peer(server, oldest);
	for (i = 0; i < RUN_PEERS_MAX; i++)
		if (server->peers[i].fd < 0)
			return &server->peers[i];
	return NULL;
}

static void accept_peer(struct run_server *server)
{
	struct ucred credentials;
	socklen_t length = sizeof(credentials);
	struct run_peer *place;
	CLEANUP_FD int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
		return;
	place = peer_place(server);
	if (!place)
		return;
	*place = (struct run_peer){
		.fd = take_fd(&fd),
		.pid = credentials.pid,
		.trusted = credentials.uid == geteuid() || credentials.uid == getuid() ||
			   credentials.uid == 0,
		.member_index = UINT32_MAX,
		.arrival = server->arrivals++,
	};
}

static int send_welcome(const struct run_server *server, int fd, uint32_t member_index)
{
	struct run_welcome welcome = { RUN_SEGMENT_VERSION, member_index };

	/* A fresh socket has room for one message, so this is either whole or the peer is gone. */
	return descriptor_send(fd, &welcome, sizeof(welcome), server->memfd, MSG_DONTWAIT);
}

/* Whether the peer says that it is a member, and may say so. */
static bool is_member(const struct run_server *server, const struct run_peer *peer,
		      const struct run_hello *hello, size_t bytes)
{
	if (hello->verb == RUN_HELLO_MEMBER)
		return peer->trusted;
	return hello->verb == RUN_HELLO_CHILD && bytes == sizeof(*hello) &&
	       !memcmp(hello->nonce, server->segment->nonce, RUN_NONCE_BYTES);
}

/* What a peer sends: a hello, once. A member's later bytes mean nothing; its end does. */
static void hear_peer(struct run_server *server, struct run_peer *peer)
{
	struct run_hello hello;
	ssize_t got = recv(peer->fd, &hello, sizeof(hello), MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0 && peer->member_index != UINT32_MAX)
		return;
	if (got > 0 && is_member(server, peer, &hello, (size_t)got)) {
		peer->member_index = take_member(server, peer->pid);
		if (send_welcome(server, peer->fd, peer->member_index) == 0 &&
		    peer->member_index != UINT32_MAX)
			return;
	} else if (got > 0 && peer->trusted && hello.verb == RUN_HELLO_READER) {
		(void)send_welcome(server, peer->fd, UINT32_MAX);
	}
	drop_peer(server, peer);
}

void run_server_handle(struct run_server *server, const struct pollfd *fds, nfds_t fd_count)
{
	nfds_t i;
	uint32_t p;

	for (i = 1; i < fd_count; i++) {
		if (!fds[i].revents)
			continue;
		for (p = 0; p < RUN_PEERS_MAX && server->peers[p].fd != fds[i].fd; p++)
			;
		if (p < RUN_PEERS_MAX)
			hear_peer(server, &server->peers[p]);
	}
	/* Last: an accepted descriptor may have the number of one that was just closed. */
	if (fds[0].revents)
		accept_peer(server);
}
