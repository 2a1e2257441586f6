/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_FAR_H
#define PUMP_FAR_H

/*
 * The far store: all backings of a process as one space of slots. It decides on which backings a
 * page's copies lie, and finds a good copy again.
 *
 * A lane is one thread's way to it (a channel to each backing); calls with a lane are the memory
 * path and used by one thread at a time. The others may come from any thread.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "backing/backing.h"
#include "format/run_segment.h"
#include "memory/slot_map.h"

#define FAR_STORES_MAX 64u /* on their way in one lane: more does not make a transport faster */
#define FAR_READS_MAX 32u  /* on their way in one lane: a window of pages that lie apart */
#define FAR_CHANGED_MAX BACKING_IO_PAGES_MAX /* pages whose lines are stored in one call */
#define FAR_POLLS_PER_REST 64u
#define FAR_STORE_TRIES 3u /* of one io on one backing that says EIO: then it counts as failing */
#define FAR_FETCH_TRIES 3u /* over all copies: a passing error is not worth a lost page */

struct far;
struct far_lane;

struct far_config {
	const char *const *uris;
	uint32_t uri_count;
	uint32_t mirror;
	const char *key_file;
	uint32_t timeout_ms;
	void *pages; /* where io pages may lie */
	size_t pages_bytes;
	struct run_counters *counters;
};

/* A store that has ended. */
struct far_stored {
	uint32_t tag;	/* of the first page handed over; */
	uint64_t pages; /* a bit for each that is stored, from that one on */
	int result;	/* 0: at least one backing has the pages */
};

/* A page of which some lines changed since its slot was stored. */
struct far_changed {
	uint32_t page; /* from the first of those handed over: below 64 */
	uint32_t slot;
	uint32_t crc; /* of the whole page as it is now */
	uint64_t lines;
	bool stored; /* by far_store_lines(): it is on its way */
};

int far_open(const struct far_config *config, struct far **ret_far, struct error *why);
/* The calling thread lives as long as the process image: its end gives this member's slots up. */
void far_hold(struct far *far);
/*
 * `guard` is the lock that is held during every call with the lane: by it the mender changes the
 * channels of a lane that is not at work. All lanes are opened before far_mender_start().
 */
int far_lane_open(struct far *far, pthread_mutex_t *guard, struct far_lane **ret_lane,
		  struct error *why);

/*
 * The mender is a thread that joins a backing again when it has come back, and makes copies that
 * were lost again, behind the faults. It sleeps while nothing is lost. Start it once the lanes are
 * open, and again in a forked child.
 */
int far_mender_start(struct far *far, struct error *why);
/*
 * While it is paused nothing of the far store moves but by the caller's own calls. Waits for the
 * piece of work at hand: some ms, or the timeout if a backing just then does not answer.
 */
void far_mender_pause(struct far *far);
void far_mender_resume(struct far *far);

/*
 * A fork, in its order. The parent asks for a member of the slot map (-EAGAIN: no more processes),
 * gives it its own slots when nothing of them changes any more, and leaves it, by the thread that
 * asked, when the child has come to live or will not: until then the slots are kept for the child
 * only as long as that thread lives. The child makes the store its own with that member, and opens
 * every lane anew; what the parent had on its way is not in it.
 */
int far_fork_open(struct far *far, uint32_t *ret_member);
void far_fork_inherit(struct far *far, uint32_t member);
void far_fork_leave(struct far *far, uint32_t member);
int far_fork_child(struct far *far, uint32_t member, struct run_counters *counters,
		   struct error *why);
int far_lane_reopen(struct far_lane *lane, struct error *why);

/*
 * Brings the slot's bytes to `page`; they have the checksum `crc`. Waits at most the timeout for
 * each copy and tries them all. 0, or 1 when a copy had failed before one was right, or -errno;
 * *ret_backing is the last one tried, for the message.
 */
int far_fetch(struct far_lane *lane, uint32_t slot, uint32_t crc, void *page,
	      uint32_t *ret_backing);

/*
 * Begins to fetch neighbouring slots of one extent, with these checksums, into `pages`: 0, -EAGAIN
 * (too many on their way) or another -errno. `pages` are the far store's until far_read_poll() is
 * true, which is at most the timeout away. At most BACKING_IO_PAGES_MAX pages.
 */
int far_read_begin(struct far_lane *lane, uint32_t slot, uint32_t page_count, void *pages,
		   const uint32_t *crcs, uint32_t *ret_read);
/*
 * Moves things on. True when the read has ended: *ret_good has a bit for each page that came whole;
 * the others are to be fetched by far_fetch(), which tries all copies.
 */
bool far_read_poll(struct far_lane *lane, uint32_t read, uint32_t *ret_good);
uint32_t far_reads_pending(const struct far_lane *lane);

/*
 * Between two polls of something that began at `begun_ns`, the `spins`-th: now and then others are
 * let before. A memory node has answered before a sleeper would be awake again, and may need
 * this CPU for it. A disk takes longer: others have better use for the CPU than our asking.
 */
void far_rest(uint32_t spins, uint64_t begun_ns);

/*
 * Starts to store up to `page_count` neighbouring pages, with these checksums, in new slots:
 * returns for how many (slots *ret_first_slot and on), or -ENOSPC, -EAGAIN (too many on their way:
 * far_poll() first) or another -errno.
 */
int far_store(struct far_lane *lane, char *pages, const uint32_t *crcs, uint32_t page_count,
	      uint32_t tag, uint32_t *ret_first_slot);
/* Whether lines of the slot's page can be stored, as far as the lane knows. */
bool far_takes_lines(struct far_lane *lane, uint32_t slot);
/*
 * Starts to store the changed lines of pages among those from `pages` on, into the slots that they
 * have, many in one message: returns the number of stores begun. Not `stored` are those whose slot
 * another process uses too, is being copied just now, or lies where only whole pages can be stored:
 * they need a new slot. `tag` is of the page at `pages`. The caller has room for `count` stores.
 */
uint32_t far_store_lines(struct far_lane *lane, char *pages, struct far_changed *changed,
			 uint32_t count, uint32_t tag);
/* Moves things on; true and *ret_stored for each store that has ended. */
bool far_poll(struct far_lane *lane, struct far_stored *ret_stored);
uint32_t far_stores_pending(const struct far_lane *lane);

/* The slot's page has changed or gone. */
void far_free(struct far *far, uint32_t slot);

const char *far_uri(const struct far *far, uint32_t backing);
uint64_t far_metadata_bytes(const struct far *far);

#endif
