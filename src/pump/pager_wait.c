/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which handlers wait for faults (docs/decisions/0070-handlers-stay-away.md). Each fault wakes all
 * that wait: one beside the thread that faults serves it for little, one on another CPU delays that
 * thread by its wake-up alone and costs several times as much if it comes first. So a handler
 * beside which no thread faults stays away, until one does that another handler notices.
 */
#include "pump/pager_state.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/thread_cpu.h"

#define PAGER_MISSES_MAX 16	/* wakes in a row for faults that others took */
#define PAGER_LOOK_FAULTS 16	/* between two looks where a thread faults: a look costs 1 us */
#define PAGER_FOREIGN_MAX 4	/* looks in a row that found a thread of another CPU */
#define PAGER_AWAY_NS 100000000 /* then it tries again, where no look can tell */

static struct lane *lane_of(struct pager *pager, int cpu)
{
	for (uint32_t i = 0; i < pager->lane_count; i++)
		if (pager->lanes[i].cpu == cpu)
			return &pager->lanes[i];
	return NULL;
}

/* Nothing of the program's is touched, not even where its threads' own memory lies in the region.
 */
static bool is_managed(const struct pager *pager, uintptr_t address)
{
	return address - (uintptr_t)pager->start < pager->page_count * PAGE_BYTES;
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
	other = lane_of(pager, thread_cpu_read(place));
	if (other == lane)
		lane->foreign = 0;
	else if (other)
		lane->foreign++;
	if (other && atomic_exchange(&other->away, 0))
		syscall(SYS_futex, &other->away, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
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
			uffd_wait(uffd);
			err = uffd_read(uffd, ret_message);
		}
		if (err != -EAGAIN && err != -EINTR)
			break;
		lane->misses++;
	}
	lane->misses = 0;
	return err;
}
