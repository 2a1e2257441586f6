/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "fabric/address.h"
#include "node/guest.h"
#include "node/session.h"

#define EVENTS_AT_ONCE 32
#define BACKLOG 128
#define NS_PER_MS 1000000u

/* What an epoll event is of: its kind, and the index or number in the rest. */
enum event_kind { EVENT_LISTENING, EVENT_SIGNAL, EVENT_GUEST, EVENT_WORKER, EVENT_WORKER_ENDED };

struct keeper {
	struct session_table table;
	struct guest *guests[NODE_GUESTS_MAX];
	int epoll;
	int listening;
	int signals;
	bool stopping;
};

static uint64_t event_of(enum event_kind kind, uint64_t number)
{
	return (uint64_t)kind << 56 | number;
}

static int watch(struct keeper *keeper, int fd, enum event_kind kind, uint64_t number)
{
	struct epoll_event wanted = { .events = EPOLLIN, .data.u64 = event_of(kind, number) };

	return epoll_ctl(keeper->epoll, EPOLL_CTL_ADD, fd, &wanted) ? -errno : 0;
}

static void drop_guest(struct keeper *keeper, unsigned index, const char *reason)
{
	if (reason)
		log_line("client %s refused: %s", keeper->guests[index]->peer, reason);
	/* A connection that was handed to a worker stays open there, and so watched here. */
	epoll_ctl(keeper->epoll, EPOLL_CTL_DEL, keeper->guests[index]->fd, NULL);
	guest_free(keeper->guests[index]);
	keeper->guests[index] = NULL;
}

/* A free place; when all are taken, the one who has waited longest for its hello must go. */
static unsigned place_for_guest(struct keeper *keeper)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < NODE_GUESTS_MAX; i++) {
		if (!keeper->guests[i])
			return i;
		if (keeper->guests[i]->accepted_ns < keeper->guests[oldest]->accepted_ns)
			oldest = i;
	}
	drop_guest(keeper, oldest, "too many connections wait for their hello");
	return oldest;
}

static void serve_listening(struct keeper *keeper)
{
	struct guest *guest;
	unsigned place;

	/* One at a time: a flood of connections does not keep the others waiting. */
	if (guest_accept(keeper->listening, &keeper->table, &guest))
		return;
	place = place_for_guest(keeper);
	keeper->guests[place] = guest;
	if (watch(keeper, guest->fd, EVENT_GUEST, place))
		drop_guest(keeper, place, "out of memory");
}

static void welcome_session(struct keeper *keeper, struct session *session)
{
	char text[UNITS_TEXT_BYTES];

	log_line("client %s admitted: session %" PRIu64 ", quota %s", session->peer,
		 session->number, format_size(session_quota(&keeper->table), text));
	/* A worker that cannot be watched is ended; its end is seen by the next that begins. */
	if (watch(keeper, session->socket, EVENT_WORKER, session->number) ||
	    watch(keeper, session->pidfd, EVENT_WORKER_ENDED, session->number)) {
		kill(session->pid, SIGKILL);
		session_end(&keeper->table, session);
	}
}

static void serve_guest(struct keeper *keeper, unsigned index)
{
	struct guest *guest = keeper->guests[index];
	struct session *session = NULL;
	struct error why = { "" };
	bool is_new = false;
	int ret;

	if (!guest)
		return;
	ret = guest_receive(guest, &keeper->table, &why);
	if (ret == -EAGAIN)
		return;
	if (!ret)
		ret = guest_admit(guest, &keeper->table, &session, &is_new, &why);
	if (!ret && is_new)
		welcome_session(keeper, session);
	drop_guest(keeper, index, ret ? why.text : NULL);
}

static void serve_worker(struct keeper *keeper, uint64_t number, bool ended)
{
	struct session *session = session_find(&keeper->table, number);

	if (!session)
		return;
	if (ended)
		session_end(&keeper->table, session);
	else if (!session_serve(&keeper->table, session))
		epoll_ctl(keeper->epoll, EPOLL_CTL_DEL, session->socket, NULL);
}

static void serve_event(struct keeper *keeper, uint64_t event)
{
	uint64_t number = event & ~(0xffull << 56);

	switch ((enum event_kind)(event >> 56)) {
	case EVENT_LISTENING:
		serve_listening(keeper);
		break;
	case EVENT_SIGNAL:
		keeper->stopping = true;
		break;
	case EVENT_GUEST:
		serve_guest(keeper, (unsigned)number);
		break;
	case EVENT_WORKER:
		serve_worker(keeper, number, false);
		break;
	case EVENT_WORKER_ENDED:
		serve_worker(keeper, number, true);
		break;
	}
}

/* Drops the guests whose time is over; milliseconds until the next one's is, -1 without guests. */
static int check_guests(struct keeper *keeper)
{
	uint64_t now_ns = clock_now_ns();
	int wait_ms = -1;

	for (unsigned i = 0; i < NODE_GUESTS_MAX; i++) {
		uint64_t waited_ms;
		int left_ms;

		if (!keeper->guests[i])
			continue;
		waited_ms = (now_ns - keeper->guests[i]->accepted_ns) / NS_PER_MS;
		if (waited_ms >= NODE_HANDSHAKE_MS) {
			drop_guest(keeper, i, "no whole hello in time");
			continue;
		}
		left_ms = (int)(NODE_HANDSHAKE_MS - waited_ms);
		if (wait_ms < 0 || left_ms < wait_ms)
			wait_ms = left_ms;
	}
	return wait_ms;
}

static void loop(struct keeper *keeper)
{
	struct epoll_event events[EVENTS_AT_ONCE];

	while (!keeper->stopping) {
		int count = epoll_wait(keeper->epoll, events, EVENTS_AT_ONCE, check_guests(keeper));

		for (int i = 0; i < count; i++)
			serve_event(keeper, events[i].data.u64);
	}
}

static unsigned count_sessions(const struct keeper *keeper)
{
	unsigned count = 0;

	for (unsigned i = 0; i < NODE_SESSIONS_MAX; i++)
		count += keeper->table.sessions[i] != NULL;
	return count;
}

static void end_all(struct keeper *keeper, int signal_number)
{
	for (unsigned i = 0; i < NODE_SESSIONS_MAX; i++) {
		if (keeper->table.sessions[i])
			kill(keeper->table.sessions[i]->pid, signal_number);
	}
}

static void stop(struct keeper *keeper)
{
	uint64_t until_ns = clock_now_ns() + (uint64_t)NODE_STOP_MS * NS_PER_MS;
	struct epoll_event events[EVENTS_AT_ONCE];

	close(take_fd(&keeper->listening));
	for (unsigned i = 0; i < NODE_GUESTS_MAX; i++) {
		if (keeper->guests[i])
			drop_guest(keeper, i, NULL);
	}
	end_all(keeper, SIGTERM);
	while (count_sessions(keeper)) {
		int count = epoll_wait(keeper->epoll, events, EVENTS_AT_ONCE, 100);

		for (int i = 0; i < count; i++) {
			if (events[i].data.u64 >> 56 == EVENT_WORKER_ENDED ||
			    events[i].data.u64 >> 56 == EVENT_WORKER)
				serve_event(keeper, events[i].data.u64);
		}
		if (clock_now_ns() > until_ns)
			end_all(keeper, SIGKILL);
	}
	fabric_clean_stale();
}

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int listen_at(const struct node_options *options, const struct addrinfo *info, int *ret_fd,
		     struct error *why)
{
	CLEANUP_FD int fd = -1;
	int one = 1;

	if (!options->key.bytes && !is_loopback(info->ai_addr))
		return error_set(why, -EINVAL,
				 "\"%s\" is not a loopback address, and without "
				 "--key-file anyone there could use the memory; give a key file",
				 options->listen_host);
	fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, BACKLOG))
		return error_set(why, -errno, "cannot listen on %s:%s: %s", options->listen_host,
				 options->listen_port, strerror(errno));
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_listening(struct keeper *keeper, struct error *why)
{
	const struct node_options *options = keeper->table.options;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *info;
	int ret = getaddrinfo(options->listen_host, options->listen_port, &hints, &info);

	if (ret)
		return error_set(why, -EINVAL, "cannot listen on %s:%s: %s", options->listen_host,
				 options->listen_port, gai_strerror(ret));
	ret = listen_at(options, info, &keeper->listening, why);
	freeaddrinfo(info);
	return ret;
}

static void say_ready(const struct keeper *keeper)
{
	struct sockaddr_storage address;
	socklen_t bytes = sizeof(address);
	char host[64] = "?", port[8] = "?", text[UNITS_TEXT_BYTES];

	getsockname(keeper->listening, (struct sockaddr *)&address, &bytes);
	getnameinfo((struct sockaddr *)&address, bytes, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	log_line(strchr(host, ':') ? "listening on [%s]:%s, lending %s"
				   : "listening on %s:%s, lending %s",
		 host, port, format_size(keeper->table.options->memory_bytes, text));
}

static int write_pid_file(const char *path, struct error *why)
{
	FILE *file = path ? fopen(path, "we") : NULL;
	bool written;

	if (!path)
		return 0;
	written = file && fprintf(file, "%d\n", (int)getpid()) > 0;
	if ((file && fclose(file)) || !written)
		return error_set(why, -EIO, "cannot write pid file \"%s\": %s", path,
				 strerror(errno));
	return 0;
}

static int watch_signals(struct keeper *keeper)
{
	sigset_t stopping;

	sigemptyset(&stopping);
	sigaddset(&stopping, SIGTERM);
	sigaddset(&stopping, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &stopping, NULL))
		return -errno;
	keeper->signals = signalfd(-1, &stopping, SFD_CLOEXEC | SFD_NONBLOCK);
	return keeper->signals < 0 ? -errno : watch(keeper, keeper->signals, EVENT_SIGNAL, 0);
}

static int begin(struct keeper *keeper, struct error *why)
{
	int ret = fabric_load(&keeper->table.module, why);

	if (!ret)
		ret = open_listening(keeper, why);
	if (ret)
		return ret;
	fabric_boot_id(keeper->table.boot_id);
	fabric_clean_stale();
	keeper->epoll = epoll_create1(EPOLL_CLOEXEC);
	ret = keeper->epoll < 0 ? -errno : watch_signals(keeper);
	if (!ret)
		ret = watch(keeper, keeper->listening, EVENT_LISTENING, 0);
	if (ret)
		return error_set(why, ret, "cannot begin: %s", strerror(-ret));
	return write_pid_file(keeper->table.options->pid_file, why);
}

int node_run(const struct node_options *options, struct error *why)
{
	static struct keeper keeper;
	int ret;

	keeper = (struct keeper){
		.table.options = options, .epoll = -1, .listening = -1, .signals = -1
	};
	log_begin("perdure node");
	ret = begin(&keeper, why);
	if (!ret) {
		say_ready(&keeper);
		loop(&keeper);
		stop(&keeper);
		log_line("stopped");
		if (options->pid_file)
			unlink(options->pid_file);
	}
	cleanup_fd(&keeper.epoll);
	cleanup_fd(&keeper.listening);
	cleanup_fd(&keeper.signals);
	return ret;
}
