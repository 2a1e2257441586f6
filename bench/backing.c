/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What one operation on a backing costs: stores and then fetches runs of 1, 8 and 32 pages, one at
 * a time or several at once, on any URI that `perdure run --far` takes. It spins on poll, as the
 * pager does, so the times are those that a fault sees. Every page fetched is checked.
 */

#include "backing/backing.h"
#include "latency.h"
#include "pattern.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS 16384 /* 64 MiB: more than any cache, soon filled */
#define DEPTH_MAX 32
#define WAIT_MS_MAX 10000 /* an operation that takes longer is broken */
#define YIELD_SPINS 256	  /* a server that needs this CPU must get it */
#define EXIT_USAGE 2

static const uint32_t run_pages[] = { 1, 8, 32 };

static const char *uri;
static const char *key_file;
static unsigned int depth = 1;
static uint64_t operations = 20000;
static enum pattern_data data;

static uint8_t *pages; /* DEPTH_MAX runs */
static struct backing_channel *channel;
static struct backing_io ios[DEPTH_MAX];
static uint64_t started_ns[DEPTH_MAX];
static struct latency latency;

static void __attribute__((noreturn)) die(const char *words)
{
	fprintf(stderr, "backing: %s: %s\n", uri, words);
	exit(EXIT_FAILURE);
}

static uint64_t *run_words(unsigned int index)
{
	return (uint64_t *)(pages + (uint64_t)index * BACKING_IO_PAGES_MAX * PAGE_BYTES);
}

static void prepare(const struct backing_io *io, unsigned int index)
{
	for (uint32_t i = 0; i < io->page_count; i++)
		pattern_fill(run_words(index) + i * PATTERN_PAGE_WORDS, io->slot + i);
}

static void check(const struct backing_io *io, unsigned int index)
{
	for (uint32_t i = 0; i < io->page_count; i++)
		if (!pattern_is_right(run_words(index) + i * PATTERN_PAGE_WORDS, io->slot + i, 0))
			die("a fetched page is not what was stored");
}

static void start(unsigned int index, enum backing_verb verb, uint64_t slot, uint32_t page_count)
{
	struct backing_io *io = &ios[index];
	uint64_t until_ns = latency_now_ns() + WAIT_MS_MAX * 1000000ull;
	int result;

	*io = (struct backing_io){
		.verb = verb,
		.page_count = page_count,
		.slot = slot,
		.pages = run_words(index),
	};
	if (verb == BACKING_STORE)
		prepare(io, index);
	started_ns[index] = latency_now_ns();
	while ((result = channel->ops->submit(channel, io)) == -EAGAIN) {
		channel->ops->poll(channel);
		if (latency_now_ns() > until_ns)
			die("takes no operation within the limit");
	}
	if (result)
		die(strerror(-result));
}

static void finish(unsigned int index)
{
	struct backing_io *io = &ios[index];
	uint64_t spins = 0;

	while (io->result == BACKING_PENDING) {
		channel->ops->poll(channel);
		if (++spins % YIELD_SPINS)
			continue;
		sched_yield();
		if (latency_now_ns() - started_ns[index] > WAIT_MS_MAX * 1000000ull)
			die("an operation is not done within the limit");
	}
	if (io->result)
		die(strerror(-io->result));
	latency_add(&latency, latency_now_ns() - started_ns[index]);
	if (io->verb == BACKING_FETCH)
		check(io, index);
}

static void run(enum backing_verb verb, uint32_t page_count)
{
	uint64_t runs = SLOTS / page_count, count = operations < runs ? operations : runs;
	uint64_t start_ns, wall_ns;

	/* All slots are stored once before a fetch of any. */
	if (verb == BACKING_STORE)
		count = runs;
	count -= count % depth;
	latency_clear(&latency);
	start_ns = latency_now_ns();
	for (uint64_t done = 0; done < count; done += depth) {
		for (unsigned int i = 0; i < depth; i++) {
			uint64_t at =
				verb == BACKING_STORE ? done + i : pattern_mix(done + i) % runs;

			start(i, verb, at * page_count, page_count);
		}
		for (unsigned int i = 0; i < depth; i++)
			finish(i);
	}
	wall_ns = latency_now_ns() - start_ns;
	printf("{\"uri\": \"%s\", \"verb\": \"%s\", \"pages\": %u, \"depth\": %u"
	       ", \"operations\": %" PRIu64 ", \"mean_ns\": %.1f, \"p50_ns\": %.1f"
	       ", \"p99_ns\": %.1f, \"mb_s\": %.1f}\n",
	       uri, verb == BACKING_STORE ? "store" : "fetch", page_count, depth, count,
	       (double)latency.sum_ns / (double)latency.count,
	       latency_percentile(&latency, 0.50, 0), latency_percentile(&latency, 0.99, 0),
	       (double)(count * page_count * PAGE_BYTES) / 1e6 / ((double)wall_ns / 1e9));
}

static void usage(void)
{
	fprintf(stderr, "usage: backing [--depth N] [--operations N] [--data words|text|random]\n"
			"               [--key-file FILE] URI\n");
	exit(EXIT_USAGE);
}

static void parse_options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "depth", required_argument, NULL, 'd' },
		{ "operations", required_argument, NULL, 'n' },
		{ "data", required_argument, NULL, 'D' },
		{ "key-file", required_argument, NULL, 'k' },
		{ 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (letter == 'd')
			depth = (unsigned int)atoi(optarg);
		else if (letter == 'n')
			operations = strtoull(optarg, NULL, 10);
		else if (letter == 'k')
			key_file = optarg;
		else if (letter != 'D' || pattern_parse(optarg, &data))
			usage();
	}
	if (optind + 1 != argc || !depth || depth > DEPTH_MAX || operations < depth)
		usage();
	uri = argv[optind];
}

int main(int argc, char **argv)
{
	uint64_t pages_bytes = DEPTH_MAX * BACKING_IO_PAGES_MAX * PAGE_BYTES;
	struct backing *backing;
	struct error why = { "" };
	struct backing_options options = { .wait_ms_max = WAIT_MS_MAX };

	parse_options(argc, argv);
	pattern_prepare(data, 1);
	pages = mmap(NULL, pages_bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (pages == MAP_FAILED)
		die(strerror(errno));
	options.key_file = key_file;
	options.pages = pages;
	options.pages_bytes = pages_bytes;
	if (backing_open(uri, &options, &backing, &why) ||
	    backing->ops->reserve(backing, SLOTS, &why) ||
	    backing->ops->channel_open(backing, &channel, &why))
		die(why.text);
	for (unsigned int i = 0; i < ARRAY_COUNT(run_pages); i++) {
		run(BACKING_STORE, run_pages[i]);
		run(BACKING_FETCH, run_pages[i]);
	}
	channel->ops->channel_close(channel);
	backing_close(backing);
	return EXIT_SUCCESS;
}
