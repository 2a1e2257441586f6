/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A client of a memory node, through the backing interface:
 * node_backing URI MODE, and the modes are:
 * - basic: random stores, of pages and of lines, and fetches checked, threads, fork and reattach;
 * - fill: reserves until there is no room, prints the words;
 * - traffic: stores and fetches until something fails, prints what and when;
 * - open: opens and reads the door;
 * - hold: reserves $HOLD_MIB, stores into it, and stays until it is killed.
 *
 * PERDURE_TEST_KEY names a key file. 0 when all was right, 1 with words when not.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing/backing.h"
#include "base/clock.h"
#include "base/random.h"

#define SLOTS_PER_THREAD 2048
#define THREADS 3
#define DEPTH 8
#define STEPS 4000
#define WAIT_MS 3000
#define STUCK_NS 5000000000ull /* an io that takes longer will never end */

/* libfabric 1.17 forgets some 1,900 bytes of each tcp connection; ours are still told. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libfabric.so";
}

static char *pages; /* THREADS × DEPTH × BACKING_IO_PAGES_MAX pages */
static struct backing *backing;

static void fail(const char *what, const char *words)
{
	fprintf(stderr, "node_backing: %s: %s\n", what, words);
	_exit(1);
}

static void open_backing(const char *uri, const uint8_t *ticket)
{
	struct backing_options options = {
		.key_file = getenv("PERDURE_TEST_KEY"),
		.ticket = ticket,
		.wait_ms_max = WAIT_MS,
	};
	struct error why = { "" };
	int ret = 0;

	pages = mmap(NULL, THREADS * DEPTH * BACKING_IO_PAGES_MAX * PAGE_BYTES,
		     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	options.pages = pages;
	options.pages_bytes = THREADS * DEPTH * BACKING_IO_PAGES_MAX * PAGE_BYTES;
	if (!strncmp(uri, "node:", 5))
		ret = backing_node_ops.open(uri + 5, &options, &backing, &why);
	if (ret)
		fail("open", why.text);
}

static struct backing_channel *open_channel(void)
{
	struct backing_channel *channel;
	struct error why = { "" };

	if (backing->ops->channel_open(backing, &channel, &why))
		fail("channel", why.text);
	return channel;
}

static void reserve(uint64_t slots)
{
	struct error why = { "" };

	if (backing->ops->reserve(backing, slots, &why))
		fail("reserve", why.text);
}

/* What slot `slot` holds in its version `version`: a word that no other has, all over the page. */
static void fill(char *page, uint64_t slot, uint32_t version)
{
	struct random_source source = random_from_seed(slot << 32 | version);

	random_fill(&source, page, PAGE_BYTES);
}

static bool holds(const char *page, uint64_t slot, uint32_t version)
{
	char right[PAGE_BYTES];

	fill(right, slot, version);
	return !memcmp(page, right, PAGE_BYTES);
}

static int submit(struct backing_channel *channel, struct backing_io *io)
{
	uint64_t begin = clock_now_ns();
	int ret;

	while ((ret = backing->ops->submit(channel, io)) == -EAGAIN) {
		backing->ops->poll(channel);
		if (clock_now_ns() - begin > STUCK_NS)
			return -ETIMEDOUT;
	}
	return ret;
}

static int wait_for(struct backing_channel *channel, struct backing_io *io)
{
	uint64_t begin = clock_now_ns();

	while (io->result == BACKING_PENDING) {
		backing->ops->poll(channel);
		if (clock_now_ns() - begin > STUCK_NS)
			return -ETIMEDOUT;
	}
	return io->result;
}

static int do_io(struct backing_channel *channel, struct backing_io *io)
{
	int ret = submit(channel, io);

	return ret ? ret : wait_for(channel, io);
}

struct runner {
	unsigned number;
	struct backing_channel *channel;
	uint32_t version; /* of what was filled last */
	char *right;	  /* what the slots hold, once they are `stored` */
	bool stored[SLOTS_PER_THREAD];
	struct backing_io ios[DEPTH];
	struct backing_lines lines[DEPTH][BACKING_IO_PAGES_MAX];
	struct random_source random;
};

/* A span of slots that no io on its way touches. */
static void choose_span(struct runner *runner, unsigned self, struct backing_io *io)
{
	uint64_t first = (uint64_t)runner->number * SLOTS_PER_THREAD;
	bool clash;

	do {
		clash = false;
		io->page_count = 1 + (uint32_t)random_below(&runner->random, BACKING_IO_PAGES_MAX);
		io->slot = first +
			   random_below(&runner->random, SLOTS_PER_THREAD - io->page_count + 1);
		for (unsigned i = 0; i < DEPTH; i++) {
			const struct backing_io *other = &runner->ios[i];

			if (i != self && other->page_count &&
			    io->slot < other->slot + other->page_count &&
			    other->slot < io->slot + io->page_count)
				clash = true;
		}
	} while (clash);
}

static void check_done(struct runner *runner, struct backing_io *io)
{
	uint64_t first = (uint64_t)runner->number * SLOTS_PER_THREAD;

	if (io->result)
		fail("io", strerror(-io->result));
	for (uint32_t i = 0; i < io->page_count && io->verb == BACKING_FETCH; i++) {
		uint64_t at = io->slot - first + i;

		if (runner->stored[at] && memcmp((char *)io->pages + i * PAGE_BYTES,
						 runner->right + at * PAGE_BYTES, PAGE_BYTES))
			fail("fetch", "wrong bytes");
	}
	io->page_count = 0;
}

/* A few lines, one run of them, or most. */
static uint64_t some_lines(struct random_source *random)
{
	uint64_t mask = random_next(random);
	uint64_t kind = random_below(random, 3);

	if (kind == 0)
		mask &= random_next(random) & random_next(random) & random_next(random);
	if (kind == 1)
		mask = (mask | 1) * ((1ull << random_below(random, 9)) - 1) | 1ull << (mask & 63);
	return mask ? mask : ~mask;
}

/* The span's pages are made anew; the store is of them whole, or of some of their lines. */
static void make_store(struct runner *runner, unsigned self, struct backing_io *io)
{
	uint64_t first = io->slot - (uint64_t)runner->number * SLOTS_PER_THREAD;
	bool lines = backing_takes_lines(runner->channel) && random_below(&runner->random, 2);

	for (uint32_t i = 0; i < io->page_count; i++) {
		char *page = (char *)io->pages + i * PAGE_BYTES;
		char *right = runner->right + (first + i) * PAGE_BYTES;
		uint64_t mask = some_lines(&runner->random);

		fill(page, io->slot + i, ++runner->version);
		runner->lines[self][i] =
			(struct backing_lines){ .slot = io->slot + i, .mask = mask, .page = page };
		for (uint32_t line = 0; line < PAGE_LINES; line++)
			if (!lines || mask >> line & 1)
				memcpy(right + line * LINE_BYTES,
				       page + line * LINE_BYTES, LINE_BYTES);
		runner->stored[first + i] |= !lines;
	}
	io->lines = lines ? runner->lines[self] : NULL;
}

static void begin_io(struct runner *runner, struct backing_channel *channel, unsigned self)
{
	struct backing_io *io = &runner->ios[self];
	int ret;

	choose_span(runner, self, io);
	io->verb = random_below(&runner->random, 2) ? BACKING_STORE : BACKING_FETCH;
	io->pages = pages + (runner->number * DEPTH + self) * BACKING_IO_PAGES_MAX * PAGE_BYTES;
	io->lines = NULL;
	if (io->verb == BACKING_STORE)
		make_store(runner, self, io);
	else
		memset(io->pages, 0x5a, io->page_count * PAGE_BYTES);
	ret = submit(channel, io);
	if (ret)
		fail("submit", strerror(-ret));
}

static void *run(void *argument)
{
	struct runner *runner = argument;
	struct backing_channel *channel = runner->channel;

	runner->random = random_from_seed(runner->number + 1);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned self = (unsigned)random_below(&runner->random, DEPTH);

		if (runner->ios[self].page_count) {
			if (wait_for(channel, &runner->ios[self]))
				fail("io", "did not end well");
			check_done(runner, &runner->ios[self]);
		}
		begin_io(runner, channel, self);
	}
	for (unsigned i = 0; i < DEPTH; i++) {
		if (runner->ios[i].page_count && wait_for(channel, &runner->ios[i]))
			fail("io", "did not end well");
	}
	return NULL;
}

static void run_threads(void)
{
	static struct runner runners[THREADS];
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		runners[i].number = i;
		runners[i].channel = open_channel();
		runners[i].right = calloc(SLOTS_PER_THREAD, PAGE_BYTES);
		if (!runners[i].right)
			fail("memory", "there is none");
	}
	for (unsigned i = 0; i < THREADS; i++) {
		if (pthread_create(&threads[i], NULL, run, &runners[i]))
			fail("thread", "cannot start");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < THREADS; i++)
		backing->ops->channel_close(runners[i].channel);
	for (unsigned i = 0; i < THREADS; i++)
		free(runners[i].right);
}

static struct backing_io page_io(enum backing_verb verb, uint64_t slot)
{
	return (struct backing_io){ .verb = verb, .page_count = 1, .slot = slot, .pages = pages };
}

static void store_one(struct backing_channel *channel, uint64_t slot, uint32_t version)
{
	struct backing_io io = page_io(BACKING_STORE, slot);

	fill(pages, slot, version);
	if (do_io(channel, &io))
		fail("store", strerror(-io.result));
}

static void fetch_one(struct backing_channel *channel, uint64_t slot, uint32_t version)
{
	struct backing_io io = page_io(BACKING_FETCH, slot);

	memset(pages, 0, PAGE_BYTES);
	if (do_io(channel, &io))
		fail("fetch", strerror(-io.result));
	if (!holds(pages, slot, version))
		fail("fetch", "wrong bytes");
}

/* A store that is done is seen through every other channel. */
static void run_across(void)
{
	struct backing_channel *channels[2] = { open_channel(), open_channel() };

	for (uint32_t version = 1; version <= 3000; version++) {
		store_one(channels[version % 2], 5, version);
		fetch_one(channels[1 - version % 2], 5, version);
	}
	backing->ops->channel_close(channels[0]);
	backing->ops->channel_close(channels[1]);
}

/* The child reads what the parent stored and the parent what the child did, over one session. */
static void run_fork(void)
{
	struct backing_channel *channel = open_channel();
	int status;
	pid_t child;

	for (uint64_t slot = 0; slot < 64; slot++)
		store_one(channel, slot, 1000);
	child = fork();
	if (child == 0) {
		struct backing_channel *own;
		struct error why = { "" };

		if (backing->ops->reattach(backing, backing->ticket, &why))
			fail("reattach", why.text);
		own = open_channel();
		for (uint64_t slot = 0; slot < 64; slot++)
			fetch_one(own, slot, 1000);
		for (uint64_t slot = 64; slot < 128; slot++)
			store_one(own, slot, 2000);
		backing->ops->channel_close(channel);
		backing->ops->channel_close(own);
		backing_close(backing);
		exit(0);
	}
	/* The parent's channel works on while the child makes its own and leaves. */
	for (unsigned i = 0; waitpid(child, &status, WNOHANG) == 0; i++)
		fetch_one(channel, i % 64, 1000);
	if (status)
		fail("fork", "the child failed");
	for (uint64_t slot = 0; slot < 64; slot++)
		fetch_one(channel, slot, 1000);
	for (uint64_t slot = 64; slot < 128; slot++)
		fetch_one(channel, slot, 2000);
	backing->ops->channel_close(channel);
}

static int run_fill(void)
{
	struct error why = { "" };
	uint64_t slots = 0;
	int ret = 0;

	while (!ret && slots < (1ull << 40) / PAGE_BYTES) {
		slots += 16 * MIB / PAGE_BYTES;
		ret = backing->ops->reserve(backing, slots, &why);
	}
	printf("%llu slots, then: %s\n", (unsigned long long)(slots - 16 * MIB / PAGE_BYTES),
	       why.text);
	if (ret != -ENOSPC)
		fail("fill", "the end was not -ENOSPC");
	/* What was granted still works. */
	if (slots > 16 * MIB / PAGE_BYTES) {
		struct backing_channel *channel = open_channel();

		store_one(channel, slots - 16 * MIB / PAGE_BYTES - 1, 7);
		fetch_one(channel, slots - 16 * MIB / PAGE_BYTES - 1, 7);
		backing->ops->channel_close(channel);
	}
	return 0;
}

static void run_traffic(void)
{
	struct backing_channel *channel;
	struct random_source random = random_from_seed(1);
	struct backing_io ios[DEPTH] = { { .page_count = 0 } };
	uint64_t last_ns;
	int ret = 0;

	reserve(SLOTS_PER_THREAD);
	channel = open_channel();
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		last_ns = clock_now_ns();
		for (unsigned i = 0; i < DEPTH && !ret; i++) {
			ios[i] = (struct backing_io){
				.verb = random_below(&random, 2) ? BACKING_STORE : BACKING_FETCH,
				.page_count = 16,
				.slot = random_below(&random, SLOTS_PER_THREAD - 16),
				.pages = pages + i * BACKING_IO_PAGES_MAX * PAGE_BYTES,
			};
			ret = submit(channel, &ios[i]);
		}
		for (unsigned i = 0; i < DEPTH && !ret; i++)
			ret = wait_for(channel, &ios[i]);
		if (ret)
			break;
	}
	backing->ops->channel_close(channel);
	printf("failed: %s after %llu ms\n", strerror(-ret),
	       (unsigned long long)(clock_now_ns() - last_ns) / 1000000);
}

static void run_hold(void)
{
	const char *mib = getenv("HOLD_MIB");
	uint64_t slots = (mib ? strtoull(mib, NULL, 10) : 16) * MIB / PAGE_BYTES;
	struct backing_channel *channel;

	reserve(slots);
	channel = open_channel();
	for (uint64_t slot = 0; slot < slots; slot += 64)
		store_one(channel, slot, 1);
	printf("ready\n");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "";

	if (argc < 3)
		fail("usage", "node_backing URI MODE");
	open_backing(argv[1], NULL);
	if (!strcmp(mode, "basic")) {
		reserve(THREADS * SLOTS_PER_THREAD);
		run_threads();
		run_across();
		run_fork();
	} else if (!strcmp(mode, "fill")) {
		run_fill();
	} else if (!strcmp(mode, "traffic")) {
		run_traffic();
	} else if (!strcmp(mode, "hold")) {
		run_hold();
	} else if (strcmp(mode, "open")) {
		fail("usage", "no such mode");
	}
	backing->ops->close(backing);
	return 0;
}
