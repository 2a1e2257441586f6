/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_PAGER_STATE_H
#define PUMP_PAGER_STATE_H

/* What the pager's own files share: pager.c (start, the program's calls), pager_fault.c (handlers),
 * pager_evict.c (frames), pager_lines.c (lines instead of pages), pager_range.c (discard, relocate,
 * lock), pager_room.c (the limit). Nobody else includes it. */

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "kernel/uffd.h"
#include "memory/frame_pool.h"
#include "memory/line_diff.h"
#include "memory/line_records.h"
#include "memory/page_digest.h"
#include "memory/page_list.h"
#include "memory/page_table.h"
#include "policy/evict.h"
#include "policy/lines.h"
#include "policy/prefetch.h"
#include "pump/far.h"
#include "pump/pager.h"

#define PAGER_LANES_MAX 16   /* more handlers would only wake each other */
#define PAGER_FORKS_MAX 64   /* threads that fork at a time */
#define PAGER_PUT_OFF_MAX 64 /* threads that wait for a fork; more of them ask again and again */
/* Of a move that must succeed: seconds, if the kernel has no memory for a page table. */
#define PAGER_KEEP_TRIES 100000

#define INTAKE_PAGES_MAX (PREFETCH_PAGES_MAX + 1) /* with the page demanded */

/* A page on its way in; the lane has its entry until it is there, or left far. */
struct arrival {
	uint32_t page;
	uint32_t rank; /* 0: the page demanded, then as the policy wants them */
	bool present;
	uint64_t entry;
};

/* Arrivals with neighbouring slots: one read, into neighbouring pages of the lane's landing. */
struct run_in {
	uint32_t first, count; /* of the intake's pages */
	uint32_t rank;	       /* the best of theirs */
	uint32_t read;
	bool done;
};

/* What is fetched together at a fault. */
struct intake {
	struct prefetch_plan plan;
	uint32_t count, run_count;
	uint64_t begun_ns, deadline_ns; /* of the timer */
	bool expired;			/* the timer has ended */
	struct arrival pages[INTAKE_PAGES_MAX];
	struct run_in runs[INTAKE_PAGES_MAX];
};

/* One thread's way through the pager; `lock` is held while it works. */
struct lane {
	struct pager *pager;
	uint32_t index;
	pthread_mutex_t lock;
	struct far_lane *far;
	char *buffer; /* one page that a fetch lands in, or that a copy passes through */
	pthread_t thread;
	int cpu;
	uint32_t asks;	       /* that could not be answered; halved by each that was */
	uint32_t misses;       /* wakes in a row for faults that others took */
	uint32_t looks;	       /* where a thread faulted: due, or taken */
	uint32_t foreign;      /* of them in a row on another CPU */
	_Atomic uint32_t away; /* 1: does not wait for faults */
	int32_t served;	       /* the thread whose fault this is */
	struct intake intake;
	char *landing;	     /* INTAKE_PAGES_MAX pages, where what is fetched together lands */
	uint32_t late_count; /* reads that outlasted the timer: they still have the landing */
	uint32_t late[FAR_READS_MAX];
	uint32_t put_off_count;
	char *put_off[PAGER_PUT_OFF_MAX]; /* pages whose threads wait until the fork is over */
};

struct pager {
	char *start; /* of the region */
	uint64_t page_count;
	char *pool; /* the frames */
	uint64_t limit_pages;
	uint64_t room_wait_ns; /* a fault waits no longer for room */
	struct evict_policy policy;
	bool use_move;
	struct uffd uffd;
	int memory_fd; /* /proc/self/mem: reads a page whatever its protection */
	struct far *far;
	struct run_member *member;
	struct run_counters *counters;
	uint32_t lane_count;
	_Atomic int32_t waiting; /* handlers that wait for faults or serve one */

	struct page_table table;
	uint32_t *checksums; /* CRC32C of the far copy */
	uint64_t *digests;   /* of the far copy */
	struct page_digest_key digest_key;

	/* What LOCAL pages were when they came, for some: the record is their entry's FRAME. */
	bool whole_pages;
	pthread_mutex_t lines_lock; /* a leaf */
	struct lines_policy lines;
	struct line_records records;
	struct line_digest_key line_key;

	pthread_mutex_t prefetch_lock; /* a leaf */
	struct prefetch prefetch;
	uint64_t prefetch_timer_ns; /* 0: by the time that fetches take, */
	_Atomic uint64_t fetch_ns;  /* which is about this, */
	uint64_t timer_ns_max;	    /* but no longer */

	/* Physical pages: resident in the region or full frames, or about to be (P1). */
	_Atomic uint64_t local_pages;

	pthread_mutex_t lock; /* list, pool; held for a few hundred ns, no system call under it */
	struct page_list resident;
	struct frame_pool frames;

	/* The lanes of the handlers, and behind them one for the program's own threads. */
	struct lane lanes[PAGER_LANES_MAX + 1];
	const char *zero_page;

	/* A fork (pager_fork.c). While the pager is still, nothing is evicted or given up. */
	_Atomic bool still;
	int32_t forking_thread;
	_Atomic bool report_due;	      /* of a fork; one that is not is of nobody */
	_Atomic int child_fd;		      /* the child's userfaultfd, once it was reported */
	int fork_sockets[PAGER_FORKS_MAX][2]; /* of forks that were opened; 0: none */
	_Atomic int spare_fd;		      /* the kernel needs a descriptor to report it */
	sem_t held;			      /* the handlers hold the slots of this process */
	pthread_mutex_t gate; /* the handlers of a child begin when it is given back */
};

static inline void pager_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline char *pager_page(const struct pager *pager, uint64_t page)
{
	return pager->start + page * PAGE_BYTES;
}

static inline size_t pager_pool_bytes(const struct pager *pager)
{
	return (size_t)pager->frames.group_count * FRAME_GROUP_FRAMES * PAGE_BYTES;
}

static inline char *pager_frame(const struct pager *pager, uint32_t frame)
{
	return pager->pool + (uint64_t)frame * PAGE_BYTES;
}

/* A fork was reported, in a handler. */
void pager_note_fork(struct pager *pager, int child_fd);
/* Has the thread that touched `page` wait until the fork is over. False: there is none. */
bool pager_put_off(struct lane *lane, char *page);
/* A page that cannot be had: its touch gives SIGBUS, said in words. */
void pager_say_lost(struct pager *pager, uint64_t page, uint32_t backing, int err);

/* Takes the page's entry, however long another has it. For the program's threads. */
uint64_t pager_acquire(struct pager *pager, uint64_t page);

/* Lists the page as the newest resident one, unless it is listed already. */
void pager_list(struct pager *pager, uint64_t page);
/* Gives the page's entry back, and lists the page if it is local. */
void pager_settle(struct pager *pager, uint64_t page, uint64_t entry);
/* True when no store of the page is on its way. */
bool pager_is_at_rest(struct pager *pager, uint64_t entry);

/* Waits for a fault, or stays away while none comes from beside: 0 or -errno of uffd_read(). */
int pager_wait(struct lane *lane, struct uffd_message *ret_message);
/* Calls a handler that stays away, as this one was long at a fault. */
void pager_call_another(struct pager *pager);
/* Now and then: on which CPU does this thread fault, which sleeps? Calls the handler there. */
void pager_look_beside(struct lane *lane, int32_t thread);

/* A page on its way out (pager_evict.c, pager_lines.c). */
enum departure_kind {
	DEPARTURE_CLEAN, /* its far copy is good, or it is zero */
	DEPARTURE_WHOLE,
	DEPARTURE_LINES,
};

struct departure {
	uint32_t page;
	uint32_t record; /* LINE_RECORD_NONE: there is none */
	uint64_t entry;
	uint64_t lines; /* changed, by the record */
	enum departure_kind kind;
	bool out;
};

/* Maps the records of pages; again in a forked child, where there are none. */
int pager_lines_start(struct pager *pager, struct error *why);
/* A page has come with these bytes, whose entry the lane has: records them if that is of use. */
void pager_record(struct lane *lane, uint64_t *entry, const char *bytes);
/* The page of this entry is given up, and its record. */
void pager_drop_record(struct pager *pager, uint64_t entry);
/* The lines of these bytes that are not as the record says. */
uint64_t pager_changed_lines(const struct pager *pager, uint32_t record, const char *bytes);
/*
 * Stores what goes as lines of the pages in the group; what cannot is to go whole. Returns how many
 * stores were begun.
 */
uint16_t pager_store_lines(struct lane *lane, struct departure *out, uint32_t count,
			   uint32_t group);
/* All are judged and stored: their records have done their work. */
void pager_end_records(struct pager *pager, const struct departure *out, uint32_t count);

/* A handler's thread, and its start. */
void *pager_handle(void *lane);
int pager_start_handler(struct lane *lane, struct error *why);
/* Maps the frames' range, empty, at `start` (NULL: anywhere). */
int pager_map_pool(struct pager *pager, void *start, size_t bytes);
/* Opens a file of this process in /proc to read it: a descriptor or -errno. */
int pager_open_proc(const char *path);
int pager_open_memory(struct pager *pager, struct error *why);

/*
 * Room for one more physical page (P1), the caller fills it. Reclaims or evicts when there is none.
 * -ENOSPC when nothing can be evicted, -EAGAIN while the pager is still.
 */
int pager_reserve(struct lane *lane);
/* The same if there is room without evicting or waiting. */
bool pager_reserve_at_once(struct lane *lane);
void pager_unreserve(struct pager *pager);
/* Drops the oldest victims, a group of them at the most: the number of pages made free. */
uint32_t pager_reclaim(struct pager *pager);
/*
 * Evicts those of the pages that may go into the group, which is taken. The caller has them from
 * the list, at most EVICT_BATCH_PAGES, and made room for their stores. Returns how many went.
 */
uint32_t pager_evict_pages(struct lane *lane, const uint32_t *pages, uint32_t wanted,
			   uint32_t group);
/*
 * A far page is demanded, whose entry the lane has: brings it together with what the policy names.
 * False: it did not come this way. In either case pager_end_intake() follows once the entry was
 * given back, and waits for the rest until the timer ends.
 */
bool pager_bring_ahead(struct lane *lane, uint64_t page, uint64_t *entry);
void pager_end_intake(struct lane *lane);
/* A fetch took so long. */
void pager_note_fetch(struct pager *pager, uint64_t ns);
/* Notes which late reads have ended. */
void pager_reap_late(struct lane *lane);
/* The lane can take the stores of a batch; waits until it can. */
bool pager_has_store_room(const struct lane *lane);
void pager_make_store_room(struct lane *lane);
/* Evicts ahead of need, by the policy; without `may_wait` only what can be stored at once. */
void pager_evict_ahead(struct lane *lane, bool may_wait);
/* The counters say how many pages are local. */
void pager_show_local(struct pager *pager);
/* Ends the lane's stores that are done. */
void pager_reap(struct lane *lane);
/* Moves things on so that the stores of `frame`'s group, in whatever lane, come to an end. */
void pager_push_stores(struct lane *lane);

/*
 * The physical page, or where the kernel will not move that its bytes, leaves `page` for `to`,
 * which is missing; on an error it is where it was. -EBUSY: the kernel has it pinned.
 */
int pager_carry(struct lane *lane, uint64_t page, char *to);
/* The bytes of a victim go back to its page; the caller has its entry and gives it back. */
int pager_take_back(struct lane *lane, uint64_t page, uint64_t *entry);

#endif
