/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/descriptor.h"
#include "base/descriptor_pass.h"
#include "base/own_memory.h"
#include "base/own_thread.h"
#include "base/raw_map.h"
#include "preload/preload.h"

#define ANSWER_LIMIT_S 10 /* the launcher answers at once unless it is stopped */
#define WATCH_STACK_BYTES ((size_t)128 << 10)

int preload_socket = -1;
static char launcher_name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
static struct run_segment *segment;
static struct run_hello hello = { .verb = RUN_HELLO_MEMBER };

static int connect_launcher(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_LIMIT_S };
	size_t length = strlen(name);

	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(address.sun_path + 1, name, length);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) < 0)
		return -errno;
	return take_fd(&fd);
}

static int receive_welcome(int fd, struct run_welcome *ret_welcome, int *ret_memfd)
{
	size_t hello_bytes = hello.verb == RUN_HELLO_CHILD ? sizeof(hello) : 1;

	if (send(fd, &hello, hello_bytes, MSG_NOSIGNAL) != (ssize_t)hello_bytes)
		return -errno;
	if (descriptor_receive(fd, ret_welcome, sizeof(*ret_welcome), ret_memfd, 0) !=
		    sizeof(*ret_welcome) ||
	    *ret_memfd < 0)
		return -EPROTO;
	return 0;
}

static int map_segment(int fd, struct run_member **ret_member, struct error *why)
{
	struct run_welcome welcome;
	CLEANUP_FD int memfd = -1;
	void *mapped;
	int err = receive_welcome(fd, &welcome, &memfd);

	if (err)
		return error_set(why, err, "the launcher does not answer: %s", strerror(-err));
	if (welcome.version != RUN_SEGMENT_VERSION)
		return error_set(why, -EPROTO, "the launcher is of another version of Perdure");
	if (welcome.member_index >= RUN_MEMBERS_MAX)
		return error_set(why, -EAGAIN, "this run has %d processes already, the most it can",
				 RUN_MEMBERS_MAX);
	err = raw_mmap(NULL, sizeof(*segment), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0,
		       &mapped);
	if (err)
		return error_set(why, err, "cannot map the run segment: %s", strerror(-err));
	segment = mapped;
	*ret_member = &segment->members[welcome.member_index];
	return 0;
}

/* An end without a goodbye means that the launcher was killed: the run ends with it. */
static void *watch_launcher(void *unused)
{
	char byte = 0;
	ssize_t got;

	inside_enter();
	do {
		got = recv(preload_socket, &byte, 1, 0);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	if (got != 1 || byte != RUN_GOODBYE)
		kill(getpid(), SIGKILL);
	return NULL;
}

static int start_watch(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, WATCH_STACK_BYTES);
	err = own_thread_start(&thread, &attributes, watch_launcher, NULL);
	pthread_attr_destroy(&attributes);
	return err;
}

int join_run(struct run_member **ret_member, struct error *why)
{
	void *memory;
	int err;
	CLEANUP_FD int fd = *launcher_name ? connect_launcher(launcher_name) : -ENOENT;

	if (fd < 0) {
		err = own_memory_map(sizeof(struct run_member), &memory);
		if (err)
			return error_set(why, err, "no memory for counters: %s", strerror(-err));
		*ret_member = memory;
		return 0;
	}
	err = map_segment(fd, ret_member, why);
	if (err)
		return err;
	preload_socket = descriptor_move_up(take_fd(&fd));
	err = start_watch();
	return err ? error_set(why, err, "cannot start a thread: %s", strerror(-err)) : 0;
}

void join_prepare(void)
{
	const char *name = getenv("PERDURE_SOCKET");

	if (name && strlen(name) < sizeof(launcher_name))
		strcpy(launcher_name, name);
}

int join_again(struct run_member **ret_member, struct error *why)
{
	if (segment) {
		hello.verb = RUN_HELLO_CHILD;
		memcpy(hello.nonce, segment->nonce, RUN_NONCE_BYTES);
		raw_munmap(segment, sizeof(*segment));
	}
	descriptor_close(preload_socket);
	segment = NULL;
	preload_socket = -1;
	return join_run(ret_member, why);
}
