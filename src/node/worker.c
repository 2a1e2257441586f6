/* SPDX-License-Identifier: Apache-2.0 */
#include "node/worker.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "fabric/address.h"
#include "base/log.h"
#include "node/task.h"
#include "node/worker_fabric.h"
#include "node/worker_lines.h"
#include "node/worker_peer.h"

#define EVENTS_AT_ONCE 16
/* Those for lines have the places behind the others', and leave these free for processes. */
#define PEERS_MAX (NODE_CONNECTIONS_MAX + NODE_LINES_CONNECTIONS_MAX)

struct worker {
	const struct worker_options *options;
	struct worker_fabric fabric;
	struct lent lent;
	int epoll;
	struct worker_peer *peers[PEERS_MAX];
	unsigned peer_count;
	bool had_peer;
	bool asked; /* the keeper has a TASK_WANT of ours to answer */
	int tcp_fd; /* in the epoll set; -1: none yet */
};

/* What an epoll event is of, beside a peer's index. */
enum { EVENT_KEEPER = PEERS_MAX, EVENT_TCP };

static int watch(struct worker *worker, int fd, unsigned event)
{
	struct epoll_event wanted = { .events = EPOLLIN, .data.u32 = event };

	return epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &wanted) ? -errno : 0;
}

static void drop_peer(struct worker *worker, unsigned index, const char *reason)
{
	if (reason)
		log_line("client %s dropped: %s", worker->peers[index]->name, reason);
	worker_peer_free(worker->peers[index]);
	worker->peers[index] = NULL;
	worker->peer_count--;
}

static void send_extended(struct worker *worker, unsigned index, int result, const char *words)
{
	struct wire_extended answer = {
		.header = wire_header_of(WIRE_EXTENDED),
		.result = le32_of((uint32_t)-result),
		.bytes = le64_of(worker->lent.usable_bytes),
	};

	snprintf(answer.words, sizeof(answer.words), "%s", words);
	worker->peers[index]->wanted_bytes = 0;
	if (worker_peer_send(worker->peers[index], &answer, sizeof(answer)))
		drop_peer(worker, index, "it does not read its answers");
}

/* Answers what can be answered, and asks the keeper on behalf of one that cannot. */
static void go_on_extending(struct worker *worker)
{
	for (unsigned i = 0; i < NODE_CONNECTIONS_MAX; i++) {
		struct worker_peer *peer = worker->peers[i];
		struct task task = { .kind = TASK_WANT };

		if (!peer || !peer->wanted_bytes)
			continue;
		if (peer->wanted_bytes <= worker->lent.usable_bytes) {
			send_extended(worker, i, 0, "");
			continue;
		}
		if (worker->asked)
			continue;
		task.bytes = peer->wanted_bytes;
		if (task_send(worker->options->keeper, &task, -1))
			exit(1); /* a keeper that does not answer its workers has ended or hangs */
		worker->asked = true;
	}
}

static void progress_between(void *context)
{
	worker_fabric_progress(context);
}

static void take_grant(struct worker *worker, const struct task *grant)
{
	int result = grant->result;
	const char *words = grant->words;

	worker->asked = false;
	if (!result) {
		result =
			lent_extend(&worker->lent, grant->bytes, progress_between, &worker->fabric);
		if (result) {
			struct task task = { .kind = TASK_RETURN,
					     .bytes = worker->lent.usable_bytes };

			words = "has no room: its host is out of memory";
			task_send(worker->options->keeper, &task, -1);
		}
	}
	for (unsigned i = 0; i < NODE_CONNECTIONS_MAX && result; i++) {
		struct worker_peer *peer = worker->peers[i];

		if (peer && peer->wanted_bytes > worker->lent.usable_bytes)
			send_extended(worker, i, result, words);
	}
	go_on_extending(worker);
}

static void own_host(int fd, char *ret_host, size_t bytes)
{
	struct sockaddr_storage address;
	socklen_t address_bytes = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &address_bytes) ||
	    getnameinfo((struct sockaddr *)&address, address_bytes, ret_host, (socklen_t)bytes,
			NULL, 0, NI_NUMERICHOST))
		snprintf(ret_host, bytes, "127.0.0.1");
}

/* shm and cma are for clients of this very host. */
static uint32_t transports_for(const struct worker *worker, const struct wire_hello *hello)
{
	uint32_t wanted = le32_get(hello->transports) & worker->options->node->transports;

	if (memcmp(hello->boot_id, worker->options->boot_id, sizeof(hello->boot_id)))
		wanted &= 1u << FABRIC_TCP;
	return wanted;
}

static void open_fabric(struct worker *worker, const struct worker_peer *peer, uint32_t wanted)
{
	struct fabric_target *tcp;
	struct error why = { "" };
	char host[64];

	own_host(peer->fd, host, sizeof(host));
	if (worker_fabric_open(&worker->fabric, wanted, host, &worker->lent, &why))
		log_line("client %s: %s", peer->name, why.text);
	tcp = worker->fabric.targets[FABRIC_TCP];
	if (!tcp || worker->tcp_fd >= 0)
		return;
	worker->tcp_fd = tcp->ops->target_wait_fd(tcp);
	if (worker->tcp_fd >= 0 && watch(worker, worker->tcp_fd, EVENT_TCP))
		worker->tcp_fd = -1;
}

static int send_welcome(struct worker *worker, struct worker_peer *peer, const struct task *task)
{
	const struct worker_options *options = worker->options;
	uint32_t wanted = transports_for(worker, &task->hello);
	struct wire_welcome welcome = { .header = wire_header_of(WIRE_WELCOME),
					.session = le64_of(options->session),
					.quota_bytes = le64_of(options->quota_bytes) };
	struct wire_proof_prefix prefix = { .label = { 0 } };
	int ret;

	open_fabric(worker, peer, wanted);
	memcpy(welcome.secret, options->secret, sizeof(welcome.secret));
	for (unsigned i = 0; i < FABRIC_TRANSPORTS; i++) {
		struct fabric_target *target = worker->fabric.targets[i];
		struct fabric_address address = { .bytes = 0 };

		if (target && wanted & (1u << i))
			target->ops->target_address(target, &address);
		welcome.addresses[i] = fabric_address_to_wire(&address);
	}
	memcpy(prefix.label, WIRE_LABEL_NODE, sizeof(prefix.label));
	memcpy(prefix.node_nonce, task->node_nonce, sizeof(prefix.node_nonce));
	memcpy(prefix.client_nonce, task->hello.nonce, sizeof(prefix.client_nonce));
	ret = cluster_key_prove(options->module, &options->node->key, &prefix, &welcome,
				WIRE_PROVEN_BYTES(wire_welcome), welcome.proof);
	return ret ? ret : worker_peer_send(peer, &welcome, sizeof(welcome));
}

static void take_connection(struct worker *worker, const struct task *task, int fd)
{
	struct worker_peer *peer = worker_peer_make(fd, task->peer);
	bool lines = le32_get(task->hello.transports) == 0;
	unsigned index = lines ? NODE_CONNECTIONS_MAX : 0;
	unsigned end = lines ? PEERS_MAX : NODE_CONNECTIONS_MAX;
	int ret;

	if (!peer)
		return;
	while (index < end && worker->peers[index])
		index++;
	if (index == end) {
		log_line("client %s dropped: its session has %d connections%s already", peer->name,
			 lines ? NODE_LINES_CONNECTIONS_MAX : NODE_CONNECTIONS_MAX,
			 lines ? " for lines" : "");
		worker_peer_free(peer);
		return;
	}
	worker->peers[index] = peer;
	worker->peer_count++;
	worker->had_peer = true;
	ret = send_welcome(worker, peer, task);
	if (!ret)
		ret = watch(worker, peer->fd, index);
	if (ret)
		drop_peer(worker, index, strerror(-ret));
}

static void serve_keeper(struct worker *worker)
{
	struct task task;
	int fd;

	for (;;) {
		int ret = task_receive(worker->options->keeper, &task, &fd);

		if (ret == -EAGAIN)
			return;
		if (ret)
			exit(0); /* the keeper has ended, and its workers with it */
		if (task.kind == TASK_CONNECTION && fd >= 0)
			take_connection(worker, &task, fd);
		else if (task.kind == TASK_GRANT)
			take_grant(worker, &task);
	}
}

/* NULL: an end that is not worth a word. */
static const char *reason_of(int error)
{
	switch (error) {
	case -EPIPE:
	case -ECONNRESET:
		return NULL;
	case -EPROTO:
		return "it sent what is no message of this protocol";
	case -EPROTONOSUPPORT:
		return "it speaks another version of the protocol";
	case -EAGAIN:
		return "it does not read its answers";
	default:
		return strerror(-error);
	}
}

static void take_extend(struct worker *worker, unsigned index)
{
	struct worker_peer *peer = worker->peers[index];
	struct wire_extend extend;

	memcpy(&extend, peer->arrived, sizeof(extend));
	if (peer->wanted_bytes) {
		drop_peer(worker, index, "it asked again before the answer");
		return;
	}
	/* Zero is granted from the beginning; one byte stands for it in `wanted_bytes`. */
	peer->wanted_bytes = le64_get(extend.bytes);
	if (!peer->wanted_bytes)
		send_extended(worker, index, 0, "");
	else
		go_on_extending(worker);
}

static void serve_peer(struct worker *worker, unsigned index)
{
	while (worker->peers[index]) {
		enum wire_type type;
		int ret = worker_peer_receive(worker->peers[index], &type);

		if (ret == -EAGAIN)
			return;
		if (ret) {
			drop_peer(worker, index, reason_of(ret));
			return;
		}
		if (type == WIRE_EXTEND)
			take_extend(worker, index);
		else
			worker_fabric_rung(&worker->fabric);
	}
}

static void serve_lines(struct worker *worker, unsigned index)
{
	int ret = worker_lines_serve(worker->peers[index], &worker->lent);

	worker_fabric_woken(&worker->fabric);
	if (ret)
		drop_peer(worker, index, reason_of(ret));
}

static void serve(struct worker *worker, int wait_ms)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int count = epoll_wait(worker->epoll, events, EVENTS_AT_ONCE, wait_ms);

	for (int i = 0; i < count; i++) {
		unsigned event = events[i].data.u32;

		if (event == EVENT_KEEPER)
			serve_keeper(worker);
		else if (event == EVENT_TCP)
			worker_fabric_woken(&worker->fabric);
		else if (worker->peers[event] && event >= NODE_CONNECTIONS_MAX)
			serve_lines(worker, event);
		else if (worker->peers[event])
			serve_peer(worker, event);
	}
}

/* Each look at the control side is a system call; the fabric's are dearer and more urgent. */
#define PROGRESS_PER_LOOK 16

static void loop(struct worker *worker)
{
	while (!worker->had_peer || worker->peer_count) {
		int wait_ms;

		for (unsigned i = 0; i < PROGRESS_PER_LOOK; i++)
			worker_fabric_progress(&worker->fabric);
		wait_ms = worker_fabric_sleep_ms(&worker->fabric);
		serve(worker, wait_ms);
	}
}

/* The worker dies with the keeper; the terminal's SIGINT is the keeper's to act on. */
static void set_signals(void)
{
	sigset_t none;

	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* A session of many processes has more connections than programs are given descriptors. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void worker_run(const struct worker_options *options)
{
	static struct worker worker;
	int ret = 0;

	set_signals();
	raise_descriptors();
	worker.options = options;
	worker.tcp_fd = -1;
	worker.fabric.module = options->module;
	worker.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (worker.epoll < 0 || getrandom(&worker.fabric.key, sizeof(worker.fabric.key), 0) < 0)
		ret = -errno;
	if (!ret)
		ret = lent_open(&worker.lent, options->quota_bytes, worker.fabric.key);
	if (!ret)
		ret = watch(&worker, options->keeper, EVENT_KEEPER);
	if (ret) {
		log_line("session %llu: cannot begin: %s", (unsigned long long)options->session,
			 strerror(-ret));
		_exit(1);
	}
	loop(&worker);
	worker_fabric_close(&worker.fabric);
	_exit(0);
}
