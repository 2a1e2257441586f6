/* SPDX-License-Identifier: Apache-2.0 */
#include "floor_link.h"

#include "fabric/fabric.h"
#include "latency.h"
#include "pattern.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * How often a spinning wait looks at the clock, and gives way: with fewer CPUs than threads the
 * other side may be waiting for this very CPU, and would get it only at the end of a time slice.
 */
#define YIELD_SPINS 128
#define CHANNEL_DEPTH 1 /* one fault, one fetch */

/* A request is the page's number plus one; the far side stores 0 after the page's bytes. */
struct ring_slot {
	_Alignas(PAGE_BYTES) _Atomic uint64_t request;
	_Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
};

/* In memory that both processes share. */
struct shared {
	_Atomic int ready; /* publishes `address` */
	_Atomic int stop;
	struct fabric_address address;
	struct ring_slot slots[FLOOR_LINKS_MAX];
};

struct floor_far {
	struct shared *shared;
	enum fabric_transport transport;
	bool is_ring;
	const uint64_t *local_pages; /* `local` alone: there is no process */
	pid_t pid;
};

struct floor_link {
	struct fabric_context context; /* first: see fabric.h */
	struct floor_far *far;
	struct ring_slot *slot;
	struct fabric_channel *channel;
};

static void __attribute__((noreturn)) die(const char *what, const char *words)
{
	fprintf(stderr, "floor: %s: %s\n", what, words);
	exit(EXIT_FAILURE);
}

static void check_wait(uint64_t *spins, uint64_t *until_ns)
{
	if (++*spins % YIELD_SPINS)
		return;
	sched_yield();
	if (!*until_ns)
		*until_ns = latency_now_ns() + FLOOR_WAIT_MS_MAX * 1000000ull;
	else if (latency_now_ns() > *until_ns)
		die("fetch", "no answer within the limit");
}

static uint64_t *make_lent_pages(uint64_t page_count)
{
	uint64_t *pages = mmap(NULL, page_count * PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		die("the lent pages", strerror(errno));
	for (uint64_t i = 0; i < page_count; i++)
		pattern_fill(pages + i * PATTERN_PAGE_WORDS, i);
	return pages;
}

/* Gives way when there has been nothing to do for a while. */
static void rest(bool worked, uint64_t *idle_spins)
{
	*idle_spins = worked ? 0 : *idle_spins + 1;
	if (*idle_spins >= YIELD_SPINS)
		sched_yield();
}

static bool progress_ring(struct shared *shared, const uint64_t *pages)
{
	bool worked = false;

	for (unsigned int i = 0; i < FLOOR_LINKS_MAX; i++) {
		struct ring_slot *slot = &shared->slots[i];
		uint64_t request = atomic_load_explicit(&slot->request, memory_order_acquire);

		if (!request)
			continue;
		memcpy(slot->page, pages + (request - 1) * PATTERN_PAGE_WORDS, PAGE_BYTES);
		atomic_store_explicit(&slot->request, 0, memory_order_release);
		worked = true;
	}
	return worked;
}

static void serve_ring(struct shared *shared, const uint64_t *pages)
{
	uint64_t idle_spins = 0;

	atomic_store(&shared->ready, 1);
	while (!atomic_load_explicit(&shared->stop, memory_order_relaxed))
		rest(progress_ring(shared, pages), &idle_spins);
}

static void serve_fabric(struct floor_far *far, uint64_t *pages, uint64_t page_count)
{
	struct fabric_target_options options = {
		.transport = far->transport,
		.host = "127.0.0.1",
		.memory = pages,
		.memory_bytes = page_count * PAGE_BYTES,
		.key = 0x666c6f6f72,
	};
	const struct fabric_module *module;
	const struct fabric_ops *ops;
	struct fabric_target *target;
	struct error why = { "" };
	uint64_t idle_spins = 0;

	if (fabric_load(&module, &why))
		die("the far side", why.text);
	ops = fabric_of(module, far->transport);
	if (ops->target_open(&options, &target, &why))
		die("the far side", why.text);
	ops->target_address(target, &far->shared->address);
	atomic_store(&far->shared->ready, 1);
	while (!atomic_load_explicit(&far->shared->stop, memory_order_relaxed))
		rest(ops->target_progress(target), &idle_spins);
	ops->target_close(target);
}

static void __attribute__((noreturn)) far_main(struct floor_far *far, uint64_t page_count, int cpu)
{
	uint64_t *pages;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			die("the far side's CPU", strerror(errno));
	}
	pages = make_lent_pages(page_count);
	if (far->is_ring)
		serve_ring(far->shared, pages);
	else
		serve_fabric(far, pages, page_count);
	exit(EXIT_SUCCESS);
}

static void wait_until_ready(struct floor_far *far)
{
	for (unsigned int ms = 0; ms < FLOOR_WAIT_MS_MAX; ms++) {
		if (atomic_load(&far->shared->ready))
			return;
		if (waitpid(far->pid, NULL, WNOHANG) == far->pid)
			exit(EXIT_FAILURE); /* it has said why */
		usleep(1000);
	}
	kill(far->pid, SIGKILL);
	die("the far side", "not ready within the limit");
}

struct floor_far *floor_far_start(const char *transport, uint64_t page_count, int cpu)
{
	struct floor_far *far = calloc(1, sizeof(*far));

	if (!far)
		die("start", strerror(ENOMEM));
	if (!strcmp(transport, "local")) {
		far->local_pages = make_lent_pages(page_count);
		return far;
	}
	far->is_ring = !strcmp(transport, "ring");
	far->transport = !strcmp(transport, "tcp")   ? FABRIC_TCP
			 : !strcmp(transport, "cma") ? FABRIC_CMA
						     : FABRIC_SHM;
	far->shared = mmap(NULL, sizeof(*far->shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (far->shared == MAP_FAILED)
		die("start", strerror(errno));
	far->pid = fork();
	if (far->pid < 0)
		die("start", strerror(errno));
	if (!far->pid)
		far_main(far, page_count, cpu);
	wait_until_ready(far);
	return far;
}

void floor_far_stop(struct floor_far *far)
{
	if (!far->local_pages) {
		atomic_store(&far->shared->stop, 1);
		waitpid(far->pid, NULL, 0);
		munmap(far->shared, sizeof(*far->shared));
	}
	free(far);
}

struct floor_link *floor_link_open(struct floor_far *far, unsigned int index)
{
	struct floor_link *link = calloc(1, sizeof(*link));
	const struct fabric_module *module;
	struct error why = { "" };

	if (!link)
		die("link", strerror(ENOMEM));
	link->far = far;
	if (far->local_pages)
		return link;
	link->slot = &far->shared->slots[index];
	if (far->is_ring)
		return link;
	if (fabric_load(&module, &why) ||
	    fabric_of(module, far->transport)
		    ->channel_open(far->transport, &far->shared->address, CHANNEL_DEPTH,
				   &link->channel, &why))
		die("link", why.text);
	return link;
}

static void fetch_by_ring(struct floor_link *link, uint64_t page, void *into)
{
	uint64_t spins = 0, until_ns = 0;

	atomic_store_explicit(&link->slot->request, page + 1, memory_order_release);
	while (atomic_load_explicit(&link->slot->request, memory_order_acquire))
		check_wait(&spins, &until_ns);
	memcpy(into, link->slot->page, PAGE_BYTES);
}

static void fetch_by_fabric(struct floor_link *link, uint64_t page, void *into)
{
	const struct fabric_ops *ops = link->channel->ops;
	struct fabric_done done = { .result = 0 };
	uint64_t spins = 0, until_ns = 0;
	int count, result;

	while ((result = ops->read(link->channel, into, PAGE_BYTES, page * PAGE_BYTES,
				   &link->context)) == -EAGAIN) {
		ops->poll(link->channel, &done, 1);
		check_wait(&spins, &until_ns);
	}
	if (result)
		die("fetch", strerror(-result));
	while (!(count = ops->poll(link->channel, &done, 1)))
		check_wait(&spins, &until_ns);
	if (count < 0 || done.result)
		die("fetch", strerror(count < 0 ? -count : -done.result));
}

void floor_link_fetch(struct floor_link *link, uint64_t page, void *into)
{
	if (link->far->local_pages)
		memcpy(into, link->far->local_pages + page * PATTERN_PAGE_WORDS, PAGE_BYTES);
	else if (link->far->is_ring)
		fetch_by_ring(link, page, into);
	else
		fetch_by_fabric(link, page, into);
}

void floor_link_close(struct floor_link *link)
{
	if (link && link->channel)
		link->channel->ops->channel_close(link->channel);
	free(link);
}
