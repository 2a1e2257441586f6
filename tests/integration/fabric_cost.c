/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What an operation of the fabric costs: fabric_cost tcp|shm|cma BYTES DEPTH read|write
 * [spin|sleep]. The target is a forked process that progresses without a pause (spin) or only when
 * its descriptor says so, at the latest every millisecond (sleep). Prints microseconds per
 * operation.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fabric/fabric.h"

#define MEMORY_BYTES ((size_t)256 << 20)
#define DEPTH_MAX 64
#define OPERATIONS 50000

struct slot {
	struct fabric_context context;
	char *buffer;
};

static const struct fabric_module *module;
static const struct fabric_ops *ops;

static double now_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void fail(const char *what, const char *reason)
{
	fprintf(stderr, "%s: %s\n", what, reason);
	exit(1);
}

static void run_target(enum fabric_transport transport, bool sleep_ok, int pipe_fd)
{
	char *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct fabric_target_options options = { .transport = transport,
						 .host = "127.0.0.1",
						 .memory = memory,
						 .memory_bytes = MEMORY_BYTES,
						 .key = 0x1234567890abcdef };
	struct fabric_address address;
	struct fabric_target *target;
	struct error why;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ops->target_open(&options, &target, &why))
		fail("target", why.text);
	ops->target_address(target, &address);
	if (write(pipe_fd, &address, sizeof(address)) != sizeof(address))
		fail("target", "pipe");
	for (;;) {
		struct pollfd fd = { ops->target_wait_fd(target), POLLIN, 0 };

		while (ops->target_progress(target))
			;
		if (sleep_ok && ops->target_may_sleep(target))
			poll(&fd, 1, 1);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int start(struct fabric_channel *channel, struct slot *slot, size_t bytes, bool writes)
{
	uint64_t offset = ((uint64_t)rand() % (MEMORY_BYTES / bytes)) * bytes;
	struct fabric_piece piece = { slot->buffer, bytes, offset };

	return writes ? ops->write(channel, &piece, 1, &slot->context)
		      : ops->read(channel, slot->buffer, bytes, offset, &slot->context);
}

struct measurement {
	struct fabric_channel *channel;
	struct slot slots[DEPTH_MAX];
	double times[OPERATIONS]; /* between one completion and the next */
	size_t bytes;
	unsigned depth;
	unsigned refused;
	bool writes;
};

/* Starts what can be started; an operation refused is tried again after the next poll. */
static unsigned start_idle(struct measurement *m, bool *idle, bool connected)
{
	unsigned started = 0;

	for (unsigned i = 0; i < m->depth; i++) {
		int ret;

		if (!idle[i])
			continue;
		ret = start(m->channel, &m->slots[i], m->bytes, m->writes);
		if (ret && ret != -EAGAIN)
			fail("start", strerror(-ret));
		m->refused += ret && connected;
		if (ret)
			break;
		idle[i] = false;
		started++;
	}
	return started;
}

/* Mean microseconds an operation; the first, which makes the connection, is left out. */
static double measure(struct measurement *m)
{
	bool idle[DEPTH_MAX];
	unsigned done_count = 0;
	double begin = 0, last = now_us();

	memset(idle, true, sizeof(idle));
	while (done_count < OPERATIONS) {
		struct fabric_done done;
		int count;

		start_idle(m, idle, done_count > 0);
		count = ops->poll(m->channel, &done, 1);
		if (count < 0 || (count && done.result))
			fail("poll", strerror(count < 0 ? -count : -done.result));
		if (!count)
			continue;
		idle[(struct slot *)done.context - m->slots] = true;
		m->times[done_count] = now_us() - last;
		last += m->times[done_count];
		if (done_count++ == 0)
			begin = last;
	}
	return (last - begin) / (OPERATIONS - 1);
}

static void open_channel(struct measurement *m, enum fabric_transport transport, int pipe_fd)
{
	struct fabric_address address;
	struct error why = { "" };
	double begin;

	if (read(pipe_fd, &address, sizeof(address)) != sizeof(address))
		fail("setup", "the target did not start");
	begin = now_us();
	if (ops->channel_open(transport, &address, DEPTH_MAX, &m->channel, &why))
		fail("channel", why.text);
	printf("open %.0f us\n", now_us() - begin);
	for (unsigned i = 0; i < m->depth; i++) {
		m->slots[i].buffer = aligned_alloc(4096, m->bytes < 4096 ? 4096 : m->bytes);
		memset(m->slots[i].buffer, 1, m->bytes);
	}
}

int main(int argc, char **argv)
{
	static struct measurement m;
	const char *name = argc > 1 ? argv[1] : "tcp";
	enum fabric_transport transport = !strcmp(name, "shm")	 ? FABRIC_SHM
					  : !strcmp(name, "cma") ? FABRIC_CMA
								 : FABRIC_TCP;
	bool sleeps = argc > 5 && !strcmp(argv[5], "sleep");
	struct error why = { "" };
	int fds[2];
	pid_t child;
	double mean;

	m.bytes = argc > 2 ? (size_t)atol(argv[2]) : 4096;
	m.depth = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	m.writes = argc > 4 && !strcmp(argv[4], "write");
	if (m.depth < 1 || m.depth > DEPTH_MAX || m.bytes < 1 || fabric_load(&module, &why) ||
	    pipe(fds))
		fail("setup", why.text);
	ops = fabric_of(module, transport);
	child = fork();
	if (!child)
		run_target(transport, sleeps, fds[1]);
	close(fds[1]);
	open_channel(&m, transport, fds[0]);
	mean = measure(&m);
	qsort(m.times, OPERATIONS, sizeof(m.times[0]), compare);
	printf("%s %zu bytes, depth %u, %s, target %s: "
	       "mean %.2f us, p50 %.2f, p99 %.2f, refused %u\n",
	       name, m.bytes, m.depth, m.writes ? "write" : "read", sleeps ? "asleep" : "spinning",
	       mean, m.times[OPERATIONS / 2], m.times[OPERATIONS * 99 / 100], m.refused);
	ops->channel_close(m.channel);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	fabric_clean_stale();
	return 0;
}
