/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which handlers wait for faults (docs/decisions/0070-handlers-stay-away.md). Each fault wakes all
 * that wait: one beside the thread that faults serves it for little, one on another CPU delays that
 * thread by its wake-up alone and costs several times as much if it comes first. So a handler
 * beside which no thread faults stays away, until one does that another handler notices.
 */
#include "pump/pager_state.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/thread_cpu.h"

#define PAGER_MISSES_MAX 16	/* wakes in a row for faults that others took */
#define PAGER_LOOK_FAULTS 16	/* between two looks where a thread faults: a look costs 1 us */
#define PAGER_FOREIGN_MAX 4	/* looks in a row that found a thread of another CPU */
#define PAGER_PUSH_MS 50	/* between two looks at what is on its way while nothing faults */
#define PAGER_AWAY_NS 100000000 /* then it tries again, where no look can tell */

static struct lane *lane_of(struct pager *pager, int cpu)
{
	for (uint32_t i = 0; i < pager->lane_count; i++)
		if (pager->lanes[i].cpu == cpu)
			return &pager->lanes[i];
	return NULL;
}

/* What may be far is not read, not even where a thread's own memory lies in the region. */
static bool is_managed(const struct pager *pager, uintptr_t address)
{
	return address - (uintptr_t)pager->start < pager->page_count * PAGE_BYTES ||
	       address - (uintptr_t)pager->pool < pager_pool_bytes(pager);
}

static bool call(struct lane *lane)
{
	if (!atomic_exchange(&lane->away, 0))
		return false;
	syscall(SYS_futex, &lane->away, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return true;
}

void pager_call_another(struct pager *pager)
{
	for (uint32_t i = 0; i < pager->lane_count; i++)
		if (call(&pager->lanes[i]))
			return;
}

void pager_look_beside(struct lane *lane, int32_t thread)
{
	struct pager *pager = lane->pager;
	struct lane *other;
	uintptr_t place;

	if (++lane->looks % PAGER_LOOK_FAULTS)
		return;
	place = thread_cpu_place(thread);
	if (!place || is_managed(pager, place))
		return;
	other = lane_of(pager, thread_cpu_read(pager->memory_fd, place));
	if (other == lane)
		lane->foreign = 0;
	else if (other)
		lane->foreign++;
	if (other)
		call(other);
}

/* The last handler that waits never leaves. */
static void stay_away(struct lane *lane)
{
	const struct timespec limit = { .tv_nsec = PAGER_AWAY_NS };
	struct pager *pager = lane->pager;

	if (atomic_fetch_sub(&pager->waiting, 1) > 1) {
		atomic_store(&lane->away, 1);
		syscall(SYS_futex, &lane->away, FUTEX_WAIT_PRIVATE, 1, &limit, NULL, 0);
		atomic_store(&lane->away, 0);
	}
	atomic_fetch_add(&pager->waiting, 1);
	lane->misses = 0;
	lane->foreign = 0;
}

static bool has_pending(const struct lane *lane)
{
	return far_stores_pending(lane->far) || far_reads_pending(lane->far);
}

/* What is on its way ends also when no fault comes. True when something still is. */
static bool push_pending(struct lane *lane)
{
	bool pending = has_pending(lane);

	if (!pending)
		return false;
	pthread_mutex_lock(&lane->lock);
	pager_reap(lane);
	pending = has_pending(lane);
	pthread_mutex_unlock(&lane->lock);
	return pending;
}

int pager_wait(struct lane *lane, struct uffd_message *ret_message)
{
	const struct uffd *uffd = &lane->pager->uffd;
	int err;

	for (;;) {
		if (lane->misses >= PAGER_MISSES_MAX || lane->foreign >= PAGER_FOREIGN_MAX)
			stay_away(lane);
		/* A thread on this CPU has often faulted again before this handler is back. */
		err = uffd_read(uffd, ret_message);
		if (err == -EAGAIN) {
			uffd_wait(uffd, push_pending(lane) ? PAGER_PUSH_MS : -1);
			err = uffd_read(uffd, ret_message);
		}
		if (err != -EAGAIN && err != -EINTR)
			break;
		lane->misses++;
	}
	lane->misses = 0;
	return err;
}
