/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The workload of the paging benchmarks: one region of anonymous memory, walked in phases. It knows
 * nothing of who pages it: the same program runs under no limit, under a memory cgroup with kernel
 * swap, and under `perdure run`.
 *
 * A touch is timed from the end of the touch before it, so each time holds one reading of the clock
 * and the drawing of a page number (clock_ns tells the former). All bookkeeping is static data: a
 * pager that manages malloc's and mmap's memory does not manage it.
 *
 * Warm-up: the first fifth of a random phase's touches (or of its seconds, when they end first) is
 * run and checked but not counted, so that what the phase before left local is gone. A sequential
 * phase has none: it begins where the last one stopped, on the pages that have been away longest.
 */

#include "latency.h"
#include "pattern.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define THREADS_MAX 16
#define REGION_PAGES_MAX ((16 * GIB) >> PAGE_SHIFT) /* a byte of static data each */
#define STREAM_RUN_PAGES 16 /* a stream is timed by 64 KiB, so that the clock costs little */
/* Shorter touches found the page local: a miss of caches and TLB is less, a page fault more. */
#define FAR_NS_MIN 1500

#define EXIT_USAGE 2

struct options {
	uint64_t region_pages;
	uint64_t touches;
	double seconds_max;
	uint64_t seed;
	enum pattern_data data;
	unsigned int thread_count;
	int cpus[THREADS_MAX];
	unsigned int cpu_count; /* 0: threads are not pinned */
	const char *phases;
};

struct phase;

/* One thread's share of a phase. */
struct worker {
	const struct phase *phase;
	unsigned int index;
	uint64_t touches_max;
	uint64_t touches;
	uint64_t wrong;
	uint64_t random;
	uint64_t start_ns;
	uint64_t end_ns;
	struct latency latency;
};

struct phase {
	const char *name;
	void (*run)(struct worker *worker);
	bool random;
	unsigned int pages_a_time; /* pages that one time of the histogram covers */
};

static struct options options = {
	.region_pages = GIB >> PAGE_SHIFT,
	.touches = 200000,
	.seconds_max = 20,
	.seed = 1,
	.thread_count = 1,
	.phases = "fill,touch,stream,random_read,random_write,verify",
};
static uint64_t *region;
static uint8_t generation[REGION_PAGES_MAX];
static struct worker workers[THREADS_MAX];
static struct latency total;
static uint64_t sequential_from; /* where the next sequential phase begins */
static pthread_barrier_t start_line;

static uint64_t *page_at(uint64_t page)
{
	return region + page * PATTERN_PAGE_WORDS;
}

static uint64_t deadline_ns(double share)
{
	return latency_now_ns() + (uint64_t)(options.seconds_max * 1e9 * share);
}

/* A thread walks its own slice of the region; `i` counts from where the last walk stopped. */
static uint64_t sequential_page(const struct worker *worker, uint64_t i)
{
	uint64_t slice = options.region_pages / options.thread_count;

	return worker->index * slice + (sequential_from + i) % slice;
}

static uint64_t random_page(struct worker *worker)
{
	worker->random += 0x9e3779b97f4a7c15u;
	return (uint64_t)((unsigned __int128)pattern_mix(worker->random) * options.region_pages >>
			  64);
}

static void run_fill(struct worker *worker)
{
	uint64_t before_ns = latency_now_ns();

	for (uint64_t i = 0; i < worker->touches_max; i++) {
		uint64_t page = sequential_page(worker, i), now_ns;

		pattern_fill(page_at(page), page);
		generation[page] = 0;
		now_ns = latency_now_ns();
		latency_add(&worker->latency, now_ns - before_ns);
		before_ns = now_ns;
	}
	worker->touches = worker->touches_max;
}

static bool read_tag(uint64_t page)
{
	return *pattern_tag_word(page_at(page), page) == pattern_tag(page, generation[page]);
}

static void run_touch(struct worker *worker)
{
	uint64_t before_ns = latency_now_ns(), until_ns = deadline_ns(1);
	uint64_t i;

	for (i = 0; i < worker->touches_max && before_ns < until_ns; i++) {
		uint64_t now_ns;

		worker->wrong += !read_tag(sequential_page(worker, i));
		now_ns = latency_now_ns();
		latency_add(&worker->latency, now_ns - before_ns);
		before_ns = now_ns;
	}
	worker->touches = i;
}

static void run_stream(struct worker *worker)
{
	uint64_t before_ns = latency_now_ns(), until_ns = deadline_ns(1);
	uint64_t i;

	for (i = 0; i < worker->touches_max && before_ns < until_ns; i += STREAM_RUN_PAGES) {
		uint64_t now_ns;

		for (unsigned int j = 0; j < STREAM_RUN_PAGES; j++) {
			uint64_t page = sequential_page(worker, i + j);

			worker->wrong += !pattern_is_right(page_at(page), page, generation[page]);
		}
		now_ns = latency_now_ns();
		latency_add(&worker->latency, now_ns - before_ns);
		before_ns = now_ns;
	}
	worker->touches = i;
}

/* Forgets the warm-up: see the top of this file. */
static uint64_t begin_counting(struct worker *worker)
{
	latency_clear(&worker->latency);
	worker->start_ns = latency_now_ns();
	return worker->start_ns;
}

static void random_touches(struct worker *worker, bool (*touch_one)(struct worker *, uint64_t))
{
	uint64_t warm_touches = worker->touches_max / 5, touches = 0;
	uint64_t until_ns = deadline_ns(1), warm_ns = deadline_ns(0.2), before_ns;
	bool warm = true;

	before_ns = latency_now_ns();
	while (touches < worker->touches_max && before_ns < until_ns) {
		uint64_t page = random_page(worker), now_ns;

		worker->wrong += !touch_one(worker, page);
		now_ns = latency_now_ns();
		latency_add(&worker->latency, now_ns - before_ns);
		before_ns = now_ns;
		touches++;
		if (warm && (touches >= warm_touches || now_ns >= warm_ns)) {
			before_ns = begin_counting(worker);
			warm = false;
		}
	}
	worker->touches = worker->latency.count;
}

static bool read_one(struct worker *worker, uint64_t page)
{
	return read_tag(page);
}

/* Writes without reading first, as a program that fills a record does. */
static bool write_one(struct worker *worker, uint64_t page)
{
	/* A page has one writer thread: the pages are dealt out by their number. */
	page -= page % options.thread_count;
	page += worker->index;
	if (page >= options.region_pages)
		page -= options.thread_count;
	generation[page]++;
	*pattern_tag_word(page_at(page), page) = pattern_tag(page, generation[page]);
	return true;
}

static void run_random_read(struct worker *worker)
{
	random_touches(worker, read_one);
}

static void run_random_write(struct worker *worker)
{
	random_touches(worker, write_one);
}

static const struct phase phases[] = {
	{ "fill", run_fill, false, 1 },
	{ "touch", run_touch, false, 1 },
	{ "stream", run_stream, false, STREAM_RUN_PAGES },
	{ "random_read", run_random_read, true, 1 },
	{ "random_write", run_random_write, true, 1 },
	{ "verify", run_stream, false, STREAM_RUN_PAGES },
};

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		fprintf(stderr, "touch: CPU %d cannot be used\n", cpu);
		exit(EXIT_FAILURE);
	}
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;

	if (options.cpu_count)
		pin_to(options.cpus[worker->index % options.cpu_count]);
	pthread_barrier_wait(&start_line);
	worker->start_ns = latency_now_ns();
	worker->phase->run(worker);
	worker->end_ns = latency_now_ns();
	return NULL;
}

static void print_phase(const struct phase *phase, uint64_t touches, uint64_t wanted,
			uint64_t wall_ns)
{
	uint64_t far_min_ns = FAR_NS_MIN * phase->pages_a_time;
	uint64_t far_count = phase->pages_a_time == 1 ? latency_count_from(&total, far_min_ns) : 0;
	double seconds = (double)wall_ns / 1e9;

	printf("{\"phase\": \"%s\", \"threads\": %u, \"pinned\": %s, \"touches\": %" PRIu64
	       ", \"complete\": %s, \"seconds\": %.4f, \"mean_ns\": %.1f",
	       phase->name, options.thread_count, options.cpu_count ? "true" : "false", touches,
	       touches >= wanted ? "true" : "false", seconds,
	       (double)total.sum_ns / (double)(touches ? touches : 1));
	printf(", \"pages_a_time\": %u, \"p50_ns\": %.1f, \"p99_ns\": %.1f, \"max_ns\": %" PRIu64,
	       phase->pages_a_time, latency_percentile(&total, 0.50, 0),
	       latency_percentile(&total, 0.99, 0), total.max_ns);
	printf(", \"far\": %" PRIu64 ", \"far_p50_ns\": %.1f, \"far_p99_ns\": %.1f"
	       ", \"far_a_second\": %.1f",
	       far_count, far_count ? latency_percentile(&total, 0.50, far_min_ns) : 0,
	       far_count ? latency_percentile(&total, 0.99, far_min_ns) : 0,
	       (double)far_count / seconds);
	printf(", \"mb_s\": %.2f, \"clock_ns\": %.1f}\n",
	       (double)(touches * PAGE_BYTES) / 1e6 / seconds, latency_clock_cost_ns());
	fflush(stdout);
}

/* Adds the workers up. Exits when a worker read what nobody wrote. */
static void finish_phase(const struct phase *phase)
{
	uint64_t touches = 0, wanted = 0, wrong = 0, start_ns = UINT64_MAX, end_ns = 0;

	latency_clear(&total);
	for (unsigned int i = 0; i < options.thread_count; i++) {
		const struct worker *worker = &workers[i];

		latency_merge(&total, &worker->latency);
		touches += worker->touches;
		wanted += worker->touches_max;
		wrong += worker->wrong;
		if (worker->start_ns < start_ns)
			start_ns = worker->start_ns;
		if (worker->end_ns > end_ns)
			end_ns = worker->end_ns;
	}
	if (phase->random)
		wanted = wanted * 4 / 5;
	else
		sequential_from = (sequential_from + workers[0].touches) %
				  (options.region_pages / options.thread_count);
	print_phase(phase, touches, wanted, end_ns - start_ns);
	if (wrong) {
		fprintf(stderr, "touch: %s: %" PRIu64 " pages hold what was not written to them\n",
			phase->name, wrong);
		exit(EXIT_FAILURE);
	}
}

static void run_phase(const struct phase *phase)
{
	uint64_t touches = phase->random ? options.touches : options.region_pages;
	pthread_t threads[THREADS_MAX];

	pthread_barrier_init(&start_line, NULL, options.thread_count);
	for (unsigned int i = 0; i < options.thread_count; i++) {
		struct worker *worker = &workers[i];

		latency_clear(&worker->latency);
		worker->phase = phase;
		worker->index = i;
		worker->touches_max = touches / options.thread_count;
		worker->touches = 0;
		worker->wrong = 0;
		worker->random = pattern_mix(options.seed + i * 1000 + (uint64_t)(phase - phases));
		if (i && pthread_create(&threads[i], NULL, worker_main, worker)) {
			fprintf(stderr, "touch: thread %u cannot be started\n", i);
			exit(EXIT_FAILURE);
		}
	}
	worker_main(&workers[0]);
	for (unsigned int i = 1; i < options.thread_count; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start_line);
	finish_phase(phase);
}

static void usage(const char *complaint, const char *text)
{
	fprintf(stderr, "touch: %s \"%s\"\n", complaint, text);
	fprintf(stderr,
		"usage: touch [--size MIB] [--phases LIST] [--threads N] [--cpu LIST]\n"
		"             [--touches N] [--seconds S] [--seed N] [--data words|text|random]\n");
	exit(EXIT_USAGE);
}

static uint64_t parse_count(const char *text, uint64_t max)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end || !value || value > max)
		usage("not a usable number:", text);
	return value;
}

static void parse_cpus(char *list)
{
	char *save = NULL;

	for (char *item = strtok_r(list, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		if (options.cpu_count == THREADS_MAX)
			usage("too many CPUs at", item);
		options.cpus[options.cpu_count++] = atoi(item);
	}
}

static void parse_options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "size", required_argument, NULL, 's' },
		{ "phases", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "cpu", required_argument, NULL, 'c' },
		{ "touches", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 'S' },
		{ "seed", required_argument, NULL, 'r' },
		{ "data", required_argument, NULL, 'd' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (letter == 's')
			options.region_pages =
				parse_count(optarg, (REGION_PAGES_MAX << PAGE_SHIFT) / MIB) *
				(MIB >> PAGE_SHIFT);
		else if (letter == 'p')
			options.phases = optarg;
		else if (letter == 't')
			options.thread_count = (unsigned int)parse_count(optarg, THREADS_MAX);
		else if (letter == 'c')
			parse_cpus(optarg);
		else if (letter == 'n')
			options.touches = parse_count(optarg, 1000000000);
		else if (letter == 'S')
			options.seconds_max = (double)parse_count(optarg, 3600);
		else if (letter == 'r')
			options.seed = parse_count(optarg, UINT32_MAX);
		else if (letter != 'd')
			usage("wrong option", argv[optind - 1]);
		else if (pattern_parse(optarg, &options.data))
			usage("no such kind of data:", optarg);
	}
	if (optind < argc)
		usage("unexpected", argv[optind]);
}

static void run_phase_named(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_COUNT(phases); i++) {
		if (!strcmp(name, phases[i].name)) {
			run_phase(&phases[i]);
			return;
		}
	}
	usage("no such phase:", name);
}

int main(int argc, char **argv)
{
	char *list, *save = NULL;

	parse_options(argc, argv);
	pattern_prepare(options.data, options.seed);
	memset(workers, 0, sizeof(workers));
	region = mmap(NULL, options.region_pages << PAGE_SHIFT, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (region == MAP_FAILED) {
		perror("touch: the region cannot be mapped");
		return EXIT_FAILURE;
	}
	list = strdup(options.phases);
	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save))
		run_phase_named(name);
	free(list);
	return EXIT_SUCCESS;
}
