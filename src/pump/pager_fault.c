/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pager_state.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/histogram.h"
#include "base/inside.h"
#include "base/raw_map.h"

#define PAGER_ASKS_BEFORE_NAP 8	  /* about the time of a fetch from a node */
#define PAGER_NAP_NS 20000	  /* the kernel rounds it up to some 70 us */
#define PAGER_REFUSAL_NS 10000000 /* a woken thread runs by then; one that did not asks again */
#define PAGER_SLOW_NS 300000 /* a fault that waits for a disk: others should not wait behind it */
#define PAGER_NO_MEMORY_NAP_NS 1000000 /* between two tries, while there is room to wait for */

/* The only words that Perdure ever writes to the program's standard error: something is lost. */
void pager_say_lost(struct pager *pager, uint64_t page, uint32_t backing, int err)
{
	char line[512];
	int n = snprintf(
		line, sizeof(line),
		"perdure: page %p is lost: %s: %s; the thread that touched it gets SIGBUS\n",
		(void *)pager_page(pager, page), far_uri(pager->far, backing),
		strerrordesc_np(-err) ? strerrordesc_np(-err) : "unknown error");

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* -ENOSPC is the end of all room, -ENOMEM the kernel's: each in words that are true. */
static void say_refused(struct pager *pager, uint64_t page, int err)
{
	char line[512];
	const char *words =
		err == -ENOSPC ? "local memory is full and no backing takes more; give more with "
				 "--far or --local"
			       : "the kernel has no memory for it; give the system or the "
				 "program's control group more";
	int n = snprintf(line, sizeof(line), "perdure: no room for page %p: %s\n",
			 (void *)pager_page(pager, page), words);

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* What waits for the page has to be woken: nothing of what was done has woken it. */
#define NOT_WOKEN 1

/*
 * The touch under way fails: as SIGBUS, within a system call as EFAULT. The caller has the entry.
 * Only what is lost stays poisoned; of the rest the bytes are still to be had when there is room,
 * and the poison is there for the threads that wait now. A signal alone would not do: a system call
 * does not take it before it has the page. 0, NOT_WOKEN, or -EAGAIN during a fork.
 */
static int refuse(struct pager *pager, uint64_t page, bool lost, int32_t thread)
{
	char *at = pager_page(pager, page);
	int err = pager->uffd.can_poison ? uffd_poison(&pager->uffd, at) : -ENOSYS;

	if (!err && !lost) {
		clock_sleep_ns(PAGER_REFUSAL_NS);
		raw_madvise(at, PAGE_BYTES, MADV_DONTNEED);
	}
	if (!err || err == -EAGAIN)
		return err;
	if (err != -EEXIST) /* poisoned already */
		syscall(SYS_tgkill, getpid(), thread, SIGBUS);
	return NOT_WOKEN;
}

/* True when the kernel may yet have memory for what it just had none for. */
static bool may_try_again(struct pager *pager, int err, uint64_t *deadline_ns)
{
	uint64_t now_ns;

	if (err != -ENOMEM || atomic_load(&pager->still))
		return false;
	now_ns = clock_now_ns();
	if (!*deadline_ns)
		*deadline_ns = now_ns + pager->room_wait_ns;
	clock_sleep_ns(PAGER_NO_MEMORY_NAP_NS);
	return now_ns < *deadline_ns;
}

/* Fills the page from `source`; the room for it is reserved. */
static int fill(struct lane *lane, uint64_t page, const char *source)
{
	struct pager *pager = lane->pager;
	uint64_t deadline_ns = 0;
	int err;

	do
		err = uffd_copy(&pager->uffd, pager_page(pager, page), source);
	while (may_try_again(pager, err, &deadline_ns));
	if (err)
		pager_unreserve(pager);
	return err == -EEXIST ? NOT_WOKEN : err;
}

static int bring_zero(struct lane *lane, uint64_t page)
{
	int err = pager_reserve(lane);

	if (err)
		return err;
	pager_count(&lane->pager->counters->pages_zeroed, 1);
	return fill(lane, page, lane->pager->zero_page);
}

/* -ENODATA: lost, said and marked in the entry. */
static int bring_far(struct lane *lane, uint64_t page, uint64_t *entry)
{
	struct pager *pager = lane->pager;
	uint32_t backing = 0;
	uint64_t begun_ns;
	bool whole;
	int err;

	if (pager_bring_ahead(lane, page, entry))
		return 0;
	err = pager_reserve(lane);
	if (err)
		return err;
	begun_ns = clock_now_ns();
	err = far_fetch(lane->far, page_entry_slot(*entry), pager->checksums[page], lane->buffer,
			&backing);
	if (err < 0) {
		pager_unreserve(pager);
		pager_count(&pager->counters->pages_lost, 1);
		pager_say_lost(pager, page, backing, err);
		*entry = page_entry_with_state(*entry, PAGE_LOST);
		return -ENODATA;
	}
	pager_note_fetch(pager, clock_now_ns() - begun_ns);
	pager_count(&pager->counters->pages_fetched, 1);
	*entry = page_entry_counted(*entry);
	whole = err == 0;
	err = fill(lane, page, lane->buffer);
	/* The program runs already. Where a copy is bad, lines would leave it so. */
	if (err >= 0 && whole)
		pager_record(lane, entry, lane->buffer);
	return err;
}

static int bring_victim(struct lane *lane, uint64_t page, uint64_t *entry)
{
	uint64_t deadline_ns = 0;
	int err;

	do
		err = pager_take_back(lane, page, entry);
	while (may_try_again(lane->pager, err, &deadline_ns));
	if (!err)
		pager_count(&lane->pager->counters->second_chances, 1);
	return err;
}

/*
 * Brings the page, whose entry we have, into the region. 0, NOT_WOKEN or -errno; -ENODATA: lost,
 * -ENOSPC: no room, -ENOMEM: the kernel has no memory.
 */
static int bring(struct lane *lane, uint64_t page, uint64_t *entry)
{
	struct pager *pager = lane->pager;
	int err = 0;

	switch (page_entry_state(*entry)) {
	case PAGE_UNTOUCHED:
		err = bring_zero(lane, page);
		break;
	case PAGE_VICTIM:
		return bring_victim(lane, page, entry);
	case PAGE_FAR:
		err = bring_far(lane, page, entry);
		break;
	case PAGE_LOCAL: /* it came while the message was on its way */
		err = NOT_WOKEN;
		break;
	case PAGE_LOST:
		return -ENODATA;
	}
	if (err < 0)
		return err;
	*entry = page_entry_with_state(*entry, PAGE_LOCAL);
	pager_list(pager, page);
	return err;
}

/*
 * Another is at the page, or its store is on its way: the thread asks again, and finds it or comes
 * back. Where that is most of what comes, they wait for something slow, a disk: others may have
 * the CPU then.
 */
static void ask_again(struct lane *lane, char *at)
{
	if (++lane->asks < PAGER_ASKS_BEFORE_NAP)
		sched_yield();
	else
		clock_sleep_ns(PAGER_NAP_NS);
	uffd_wake(&lane->pager->uffd, at);
}

static void serve(struct lane *lane, const struct uffd_message *message)
{
	struct pager *pager = lane->pager;
	char *at = (char *)message->address;
	uint64_t page = (uint64_t)(at - pager->start) / PAGE_BYTES, entry;
	int err;

	assert(page < pager->page_count); /* not a frame: those are full when we touch them */
	if (!page_table_acquire(&pager->table, page, &entry)) {
		ask_again(lane, at);
		return;
	}
	if (!pager_is_at_rest(pager, entry)) {
		page_table_release(&pager->table, page, entry);
		pager_push_stores(lane);
		ask_again(lane, at);
		return;
	}
	lane->asks /= 2;
	err = bring(lane, page, &entry);
	/* A fork must not copy a poison that is soon gone; after it the thread asks again. */
	if (err == -ENOMEM && atomic_load(&pager->still))
		err = -EAGAIN;
	if (err == -ENOSPC || err == -ENOMEM)
		say_refused(pager, page, err);
	/* Before the entry is given back: the page may be another's then. */
	if (err == -ENOSPC || err == -ENOMEM || err == -ENODATA)
		err = refuse(pager, page, err == -ENODATA, message->thread);
	else if (err >= 0 && message->event == UFFD_WRITE_PROTECTED)
		err = uffd_write_protect(&pager->uffd, at, false);
	page_table_release(&pager->table, page, entry);
	if (err && (err != -EAGAIN || !pager_put_off(lane, at)))
		uffd_wake(&pager->uffd, at);
}

/* The kernel had no descriptor left to report a fork with: it gets ours. */
static void give_spare(struct pager *pager)
{
	descriptor_close(atomic_exchange(&pager->spare_fd, -1));
}

static void handle(struct lane *lane, const struct uffd_message *message)
{
	struct pager *pager = lane->pager;
	uint64_t begun_ns = clock_now_ns(), took_ns;

	pthread_mutex_lock(&lane->lock);
	/*
	 * Before the thread is woken: it may take this CPU at once, and a fault that finds this
	 * handler half through a batch would be served from another CPU, at several times the cost.
	 */
	pager_reap(lane);
	pager_evict_ahead(lane, false);
	if (message->event == UFFD_FAULT || message->event == UFFD_WRITE_PROTECTED) {
		lane->served = message->thread;
		pager_look_beside(lane, message->thread);
		serve(lane, message);
		pager_count(&pager->counters->faults, 1);
		took_ns = clock_now_ns() - begun_ns;
		histogram_add(pager->counters->fault_ns, took_ns);
		if (took_ns > PAGER_SLOW_NS)
			pager_call_another(pager);
	} else if (message->event == UFFD_FORKED) {
		pager_note_fork(pager, message->child_fd);
	}
	pager_end_intake(lane);
	pager_evict_ahead(lane, true);
	pager_show_local(pager);
	pthread_mutex_unlock(&lane->lock);
}

void *pager_handle(void *argument)
{
	struct lane *lane = argument;
	struct pager *pager = lane->pager;
	struct uffd_message message;
	int err;

	inside_enter();
	if (lane->index == 0) {
		far_hold(pager->far);
		sem_post(&pager->held);
	}
	pthread_mutex_lock(&pager->gate);
	pthread_mutex_unlock(&pager->gate);
	for (;;) {
		err = pager_wait(lane, &message);
		if (!err)
			handle(lane, &message);
		else if (err == -EMFILE || err == -ENFILE)
			give_spare(pager);
		else if (err == -ENOMEM)
			sched_yield(); /* for the report of a fork: it is given again */
		else
			assert(!err);
	}
}
