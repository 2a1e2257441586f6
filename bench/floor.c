/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The bare floor of a far fault: userfaultfd, one handler thread pinned to each CPU and blocked in
 * read(), the transport, and nothing else: no eviction, no check of the bytes by the handler, no
 * bookkeeping. What Perdure's fault costs is compared with this.
 *
 * A page is installed by UFFDIO_COPY, or by UFFDIO_MOVE of a frame into which it was fetched; the
 * frames are moved back between rounds, outside of the times. Every page faults once a round, in a
 * scattered order. The first round warms up and is not counted.
 */

#include "floor_link.h"
#include "latency.h"
#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/uffd_abi.h"

#define THREADS_MAX 16
#define REGION_PAGES 8192 /* a power of two, so that an odd step scatters its pages */
#define ORDER_STEP 4099
#define EXIT_USAGE 2
#define EXIT_SKIP 77

struct handler {
	unsigned int cpu;
	pthread_t thread;
	struct floor_link *link;
	uint8_t *buffer;
};

struct faulter {
	unsigned int index;
	pthread_t thread;
	uint64_t wrong;
	struct latency latency;
};

static const char *transport = "local";
static bool by_move;
static unsigned int rounds = 9;
static unsigned int thread_count = 1;
static int cpus[THREADS_MAX];
static unsigned int cpu_count;
static int far_cpu = -1;
static unsigned int handlers_max = FLOOR_LINKS_MAX;
static bool batch_handlers;

static int uffd;
static uint8_t *region;
static uint8_t *frames;
static unsigned int handler_count;
static struct handler handlers[FLOOR_LINKS_MAX];
static struct faulter faulters[THREADS_MAX];
static struct latency total;
static pthread_barrier_t round_line; /* the faulters and the main thread */

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void pin_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("a thread cannot be pinned");
}

static void move_pages(uint8_t *to, uint8_t *from, uint64_t bytes)
{
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = bytes,
	};

	if (ioctl(uffd, UFFDIO_MOVE, &move))
		die("UFFDIO_MOVE");
}

static void serve(struct handler *handler, uint64_t page)
{
	uint8_t *to = region + page * PAGE_BYTES;
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)handler->buffer,
		.len = PAGE_BYTES,
	};

	if (by_move) {
		floor_link_fetch(handler->link, page, frames + page * PAGE_BYTES);
		move_pages(to, frames + page * PAGE_BYTES, PAGE_BYTES);
		return;
	}
	floor_link_fetch(handler->link, page, handler->buffer);
	if (ioctl(uffd, UFFDIO_COPY, &copy))
		die("UFFDIO_COPY");
}

/*
 * The kernel wakes every reader of the userfaultfd. Under SCHED_BATCH a woken handler does not
 * preempt what runs on its CPU, so only the CPU of the faulting thread, which sleeps, runs one.
 */
static void be_patient(void)
{
	struct sched_param parameter = { 0 };

	if (batch_handlers && sched_setscheduler(0, SCHED_BATCH, &parameter))
		die("a handler's scheduling policy");
}

/* Each page has one faulting thread, so no fault is seen by two handlers. */
static void *handler_main(void *argument)
{
	struct handler *handler = argument;
	struct uffd_msg message;

	pin_to(handler->cpu);
	be_patient();
	for (;;) {
		ssize_t got = read(uffd, &message, sizeof(message));

		if (got < 0 && errno == EAGAIN)
			continue;
		if (got != sizeof(message))
			die("read from the userfaultfd");
		if (message.event == UFFD_EVENT_PAGEFAULT)
			serve(handler,
			      (message.arg.pagefault.address - (uintptr_t)region) >> PAGE_SHIFT);
	}
	return NULL;
}

/* The pages of this thread in a scattered order, each once. */
static void fault_round(struct faulter *faulter)
{
	uint64_t slice = REGION_PAGES / thread_count;
	uint64_t before_ns = latency_now_ns();

	for (uint64_t i = 0; i < slice; i++) {
		uint64_t page = faulter->index + (i * ORDER_STEP % slice) * thread_count, now_ns;

		faulter->wrong += *pattern_tag_word((uint64_t *)(region + page * PAGE_BYTES),
						    page) != pattern_tag(page, 0);
		now_ns = latency_now_ns();
		latency_add(&faulter->latency, now_ns - before_ns);
		before_ns = now_ns;
	}
}

static void *faulter_main(void *argument)
{
	struct faulter *faulter = argument;

	if (cpu_count)
		pin_to((unsigned int)cpus[faulter->index % cpu_count]);
	for (unsigned int round = 0; round < rounds; round++) {
		pthread_barrier_wait(&round_line);
		fault_round(faulter);
		if (!round)
			latency_clear(&faulter->latency);
		pthread_barrier_wait(&round_line);
	}
	return NULL;
}

static uint8_t *make_region(void)
{
	uint8_t *memory = mmap(NULL, REGION_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("a region cannot be mapped");
	return memory;
}

static void watch(uint8_t *memory)
{
	struct uffdio_register area = {
		.range = { .start = (uintptr_t)memory, .len = REGION_PAGES * PAGE_BYTES },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(uffd, UFFDIO_REGISTER, &area))
		die("UFFDIO_REGISTER");
}

static void open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = by_move ? UFFD_FEATURE_MOVE : 0 };

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) {
		fprintf(stderr, "floor: userfaultfd%s is missing here: %s\n",
			by_move ? " with MOVE" : "", strerror(errno));
		exit(EXIT_SKIP);
	}
	region = make_region();
	frames = make_region();
	memset(frames, 1, REGION_PAGES * PAGE_BYTES);
	watch(region);
	if (by_move)
		watch(frames);
}

static void start_handlers(struct floor_far *far)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);

	handler_count = count < (long)handlers_max ? (unsigned int)count : handlers_max;
	for (unsigned int i = 0; i < handler_count; i++) {
		struct handler *handler = &handlers[i];

		handler->cpu = i;
		handler->link = floor_link_open(far, i);
		handler->buffer = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
		if (!handler->buffer)
			die("a buffer");
		if (pthread_create(&handler->thread, NULL, handler_main, handler))
			die("a handler cannot be started");
	}
}

/* read() on a userfaultfd is a cancellation point: the handlers end there, links untouched. */
static void stop_handlers(void)
{
	for (unsigned int i = 0; i < handler_count; i++) {
		pthread_cancel(handlers[i].thread);
		pthread_join(handlers[i].thread, NULL);
		floor_link_close(handlers[i].link);
		free(handlers[i].buffer);
	}
}

static void make_far_again(void)
{
	if (by_move)
		move_pages(frames, region, REGION_PAGES * PAGE_BYTES);
	else
		madvise(region, REGION_PAGES * PAGE_BYTES, MADV_DONTNEED);
}

/* Returns the time that the counted rounds took, from the start of the first to the last's end. */
static uint64_t run_rounds(void)
{
	uint64_t counted_ns = 0;

	pthread_barrier_init(&round_line, NULL, thread_count + 1);
	for (unsigned int i = 0; i < thread_count; i++) {
		faulters[i].index = i;
		if (pthread_create(&faulters[i].thread, NULL, faulter_main, &faulters[i]))
			die("a thread cannot be started");
	}
	for (unsigned int round = 0; round < rounds; round++) {
		uint64_t start_ns = latency_now_ns();

		pthread_barrier_wait(&round_line);
		pthread_barrier_wait(&round_line);
		if (round)
			counted_ns += latency_now_ns() - start_ns;
		/* The faulters wait at the line of the next round until this is done. */
		make_far_again();
	}
	for (unsigned int i = 0; i < thread_count; i++)
		pthread_join(faulters[i].thread, NULL);
	return counted_ns;
}

static void print_result(uint64_t counted_ns)
{
	uint64_t wrong = 0;

	for (unsigned int i = 0; i < thread_count; i++) {
		latency_merge(&total, &faulters[i].latency);
		wrong += faulters[i].wrong;
	}
	printf("{\"transport\": \"%s\", \"install\": \"%s\", \"threads\": %u, \"pinned\": %s"
	       ", \"faults\": %" PRIu64 ", \"mean_ns\": %.1f, \"p50_ns\": %.1f, \"p99_ns\": %.1f"
	       ", \"far_a_second\": %.1f, \"clock_ns\": %.1f}\n",
	       transport, by_move ? "move" : "copy", thread_count, cpu_count ? "true" : "false",
	       total.count, (double)total.sum_ns / (double)total.count,
	       latency_percentile(&total, 0.50, 0), latency_percentile(&total, 0.99, 0),
	       (double)total.count / ((double)counted_ns / 1e9), latency_clock_cost_ns());
	if (wrong) {
		fprintf(stderr, "floor: %" PRIu64 " pages hold what was not lent\n", wrong);
		exit(EXIT_FAILURE);
	}
}

static void usage(const char *text)
{
	fprintf(stderr, "floor: cannot use \"%s\"\n", text);
	fprintf(stderr, "usage: floor [--transport local|ring|cma|shm|tcp] [--install copy|move]\n"
			"             [--threads 1|2|4|8|16] [--cpu LIST] [--far-cpu N]\n"
			"             [--rounds N] [--handlers N] [--batch-handlers]\n");
	exit(EXIT_USAGE);
}

static unsigned int parse_count(const char *text, unsigned int max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value > max)
		usage(text);
	return (unsigned int)value;
}

static void parse_option(int letter, char *text)
{
	char *save = NULL;

	if (letter == 'T')
		transport = text;
	else if (letter == 'i')
		by_move = !strcmp(text, "move");
	else if (letter == 't')
		thread_count = parse_count(text, THREADS_MAX);
	else if (letter == 'f')
		far_cpu = (int)parse_count(text, CPU_SETSIZE - 1);
	else if (letter == 'b')
		batch_handlers = true;
	else if (letter == 'h')
		handlers_max = parse_count(text, FLOOR_LINKS_MAX);
	else if (letter == 'r')
		rounds = parse_count(text, 10000);
	else
		for (char *item = strtok_r(text, ",", &save); item && cpu_count < THREADS_MAX;
		     item = strtok_r(NULL, ",", &save))
			cpus[cpu_count++] = (int)parse_count(item, CPU_SETSIZE - 1);
}

static void parse_options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "transport", required_argument, NULL, 'T' },
		{ "install", required_argument, NULL, 'i' },
		{ "threads", required_argument, NULL, 't' },
		{ "cpu", required_argument, NULL, 'c' },
		{ "far-cpu", required_argument, NULL, 'f' },
		{ "batch-handlers", no_argument, NULL, 'b' },
		{ "handlers", required_argument, NULL, 'h' },
		{ "rounds", required_argument, NULL, 'r' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (letter == '?')
			usage(argv[optind - 1]);
		parse_option(letter, optarg);
	}
	if (strcmp(transport, "local") && strcmp(transport, "ring") && strcmp(transport, "cma") &&
	    strcmp(transport, "shm") && strcmp(transport, "tcp"))
		usage(transport);
	if (!thread_count || (thread_count & (thread_count - 1)) || rounds < 2 || !handlers_max)
		usage("--threads, --rounds or --handlers");
}

int main(int argc, char **argv)
{
	struct floor_far *far;
	uint64_t counted_ns;

	parse_options(argc, argv);
	pattern_prepare(PATTERN_WORDS, 1);
	far = floor_far_start(transport, REGION_PAGES, far_cpu);
	open_uffd();
	start_handlers(far);
	counted_ns = run_rounds();
	print_result(counted_ns);
	stop_handlers();
	floor_far_stop(far);
	return EXIT_SUCCESS;
}
