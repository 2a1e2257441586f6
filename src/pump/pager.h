/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_PAGER_H
#define PUMP_PAGER_H

/*
 * The pull pump of a process: it keeps a region of anonymous private memory of which at most
 * local_bytes are resident, and brings the other pages back when they are touched.
 *
 * One handler thread to each CPU is blocked in read() on the userfaultfd; the one beside the
 * faulting thread wins nearly always, and no wake-up crosses CPUs. A handler serves the fault in
 * its lane (its own channels to the backings), and afterwards, when frames run low, evicts a batch.
 *
 * Invariants (docs/design/pager.md):
 *   P1  Physical pages of the region and full frames of the pool are together at most local_bytes.
 *   P2  A page's newest bytes are in one place, named by its entry; they change under BUSY only.
 *   P3  A frame of an evicted page is not reused before its store was acknowledged.
 *   P4  A handler waits on the fabric only, with a limit, and touches no managed memory.
 *   P5  Bytes that fail their checksum are never mapped.
 *
 * Locks, outermost first: lane.lock, pager.lock. A page's BUSY bit is taken before either and never
 * waited for under pager.lock.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "format/run_segment.h"
#include "policy/prefetch.h"

#define PAGER_LOCAL_BYTES_MIN ((uint64_t)4 << 20) /* the pool, and a working set to go on with */
#define PAGER_FAR_MAX RUN_BACKINGS_MAX

enum pager_kernel {
	PAGER_KERNEL_AUTO,
	PAGER_KERNEL_MOVE, /* UFFDIO_MOVE (Linux 6.8): evict by moving the physical page */
	PAGER_KERNEL_COPY, /* write-protect, copy, discard: works on any kernel with userfaultfd */
};

struct pager_config {
	uint64_t local_bytes;
	const char *far_uris[PAGER_FAR_MAX];
	uint32_t far_count;
	uint32_t mirror; /* copies of each page, 1 or 2 */
	const char *key_file;
	uint32_t timeout_ms; /* of a fetch */
	enum pager_kernel kernel;
	enum prefetch_mode prefetch;
	bool whole_pages;	    /* store no single lines */
	uint64_t prefetch_timer_ns; /* shorter than timeout_ms; 0: as fetches take */
	struct run_member *member;  /* the counters to keep; stays mapped */
};

struct pager;

/*
 * Reserves the region (inaccessible, registered with userfaultfd), opens the backings and starts
 * the handlers. One to a process, never stopped: it ends with the process image. Control path.
 */
int pager_start(const struct pager_config *config, struct pager **ret_pager, struct error *why);

/* The region: its first address and its size in pages. Constant once started. */
uintptr_t pager_region_start(const struct pager *pager);
uint64_t pager_region_pages(const struct pager *pager);
/* The most bytes that may be resident. */
uint64_t pager_local_bytes(const struct pager *pager);

/*
 * The calls below are for the program's own threads, on page numbers of the region. They wait for
 * pages in flight, so the caller holds no lock that a fault may need.
 */

/* The pages read as zeros from now on; what they held, here and far, is given up. */
void pager_discard(struct pager *pager, uint64_t first, uint64_t count);

/*
 * `count` pages' contents go from `from` to `to` (disjoint; `to` discarded before; both readable
 * and writable in the kernel's eyes during the call); `from` reads as zeros afterwards. 0, or an
 * error, and what was moved has been moved back: -EBUSY when the kernel has a page pinned, -EAGAIN
 * when it asks to repeat the call, -ENOMEM when it has no memory.
 */
int pager_relocate(struct pager *pager, uint64_t from, uint64_t to, uint64_t count);

/*
 * mlock: the pages are made resident and never evicted until unlocked. -ENOMEM when that would
 * leave too little of local_bytes for the rest, or a page cannot be had; then what was not locked
 * before is not now. The pages must be readable. Wants MADV_POPULATE_READ, Linux 5.14.
 */
int pager_lock(struct pager *pager, uint64_t first, uint64_t count);
void pager_unlock(struct pager *pager, uint64_t first, uint64_t count);

/* The pages are the next to be evicted, the first of them first. */
void pager_cool(struct pager *pager, uint64_t first, uint64_t count);
/* Evicts the pages now, and gives back as many physical pages. Pinned and locked ones stay. */
void pager_page_out(struct pager *pager, uint64_t first, uint64_t count);

/* Registers [first, first + count) with userfaultfd anew, after the kernel mapping was replaced. */
int pager_register(struct pager *pager, uint64_t first, uint64_t count);

/* 1 if the page is resident, for mincore. */
int pager_is_resident(const struct pager *pager, uint64_t page);
/* 1 if the page was never touched, or given up since: it reads as zeros. */
int pager_is_untouched(const struct pager *pager, uint64_t page);

/*
 * fork(), in its order; all of it on the thread that forks, while no other call below or above is
 * made (region.c sees to that). Between prepare and parent the faults of the program are served,
 * but nothing is evicted. docs/design/fork.md
 *
 * open     before anything is changed: -EAGAIN when there can be no more processes, -ENOSYS when
 *          the kernel does not report forks to this user, -EMFILE
 * prepare  the last thing before the clone; the region's mappings are inherited from here on
 * parent   the first thing after it, also when it failed: serves the child's faults until the
 *          child can do that itself, or is gone
 * enter    the first thing in the child: takes the place of the frames, before another mapping does
 * child    then, in the child: makes the pager the child's own. The region holds what it held
 *          when it was cloned once every range was adopted or forgotten, and start was called.
 *          The child's own memory must not be touched after it returned, until start.
 */
struct pager_fork {
	bool open;
	int sockets[2];	 /* the parent's end, the child's end */
	uint32_t row;	 /* in the pager's table of them */
	uint32_t member; /* of the slot map */
};

int pager_fork_open(struct pager *pager, struct pager_fork *ret_fork);
void pager_fork_prepare(struct pager *pager, struct pager_fork *fork);
void pager_fork_parent(struct pager *pager, struct pager_fork *fork);
int pager_fork_enter(struct pager *pager);
int pager_fork_child(struct pager *pager, struct pager_fork *fork, struct run_member *member,
		     struct error *why);
int pager_fork_adopt(struct pager *pager, uint64_t first, uint64_t count);
/* The pages read as zeros in the child. */
void pager_fork_forget(struct pager *pager, uint64_t first, uint64_t count);
void pager_fork_start(struct pager *pager);

/* 1 if a page that the kernel has pinned stays where it is; eviction by copy cannot tell. */
int pager_refuses_pinned(const struct pager *pager);

/* region_bytes of the counters: what the program has mapped now. */
void pager_set_mapped(struct pager *pager, uint64_t pages);

#endif
