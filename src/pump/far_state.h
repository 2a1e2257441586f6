/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PUMP_FAR_STATE_H
#define PUMP_FAR_STATE_H

/*
 * What the far store's own files share: far.c (fetch), far_store.c, far_read.c (fetches ahead of
 * need), far_place.c (which slots, and how many lie where), far_link.c (backings and channels),
 * far_mend.c (the mender), far_copy.c (copies made again), far_fork.c. Nobody else includes it.
 *
 * Locks, outermost first: a lane's guard, mender.busy, slot_map.mending, far.lock, far.control[],
 * slot_map.lock; far.count_lock is a leaf. The mender only tries guards, so who holds one may wait
 * for mender.busy.
 */

#include <limits.h>

#include "base/clock.h"
#include "pump/far.h"

#define FAR_LANES_MAX 24u /* the pager's, and the mender's */
#define FAR_NO_SESSION UINT32_MAX
/* That a store may take beyond its timeout until it is noticed, or has come to rest. */
#define FAR_LAND_NS_MORE 1000000000ull

#define FAR_SPIN_NS 200000u	   /* of a wait in which others are only let before */
#define FAR_LOOK_GAP_NS 100000000u /* a longer one between two looks does not count as waiting */
#define FAR_NAP_NS 20000u	   /* and from then on between two looks; the kernel rounds it up */

struct far_retry {
	uint64_t at_ns; /* not before */
	uint32_t pause_ms;
	uint32_t tries;		  /* to join the session that the family has */
	uint32_t refused_session; /* one that this process can never join; FAR_NO_SESSION: none */
};

struct far_mender {
	pthread_mutex_t busy;	  /* held while it works, given up between pieces */
	_Atomic uint32_t waiting; /* for busy */
	struct far_lane *lane;
	char *pages; /* BACKING_IO_PAGES_MAX */
	pthread_t thread;
	uint32_t heard;	   /* the bell's value when the present round began */
	uint64_t faults;   /* of the program, when last looked at */
	uint64_t piece_ns; /* when the present piece began */
	struct far_retry retries[SLOT_BACKINGS_MAX];
};

struct far {
	struct slot_map *map;
	uint32_t member;
	uint32_t birth; /* of the member: another may have the number when we were given up */
	uint32_t backing_count;
	uint32_t mirror;
	uint64_t timeout_ns;
	struct run_counters *counters;
	struct backing_options options;
	char key_file[PATH_MAX];
	char uris[SLOT_BACKINGS_MAX][BACKING_URI_BYTES];

	/*
	 * The backings as this process has them open. Changed by the mender alone, under lock,
	 * control[] and count_lock; whoever holds one of these may use them.
	 */
	struct backing *backings[SLOT_BACKINGS_MAX];  /* NULL: not open */
	_Atomic uint32_t sessions[SLOT_BACKINGS_MAX]; /* that it is of; FAR_NO_SESSION: none */
	_Atomic uint32_t reach[SLOT_BACKINGS_MAX];    /* extents reserved by this process */
	pthread_mutex_t control[SLOT_BACKINGS_MAX];   /* calls of the control path */

	pthread_mutex_t lock; /* cursors; taken under no other lock but pager.lock */
	uint32_t stripe;
	struct slot_cursor cursors[SLOT_BACKINGS_MAX];

	/* What the counters of pages say: of each extent, the backings + 1 of its copies. */
	pthread_mutex_t count_lock;
	uint8_t counted[SLOT_EXTENTS_MAX][SLOT_COPIES_MAX];

	_Atomic uint32_t lane_count; /* to handlers that run already: the lanes before it */
	struct far_lane *lanes[FAR_LANES_MAX];
	struct far_mender mender;
};

struct store {
	bool used, ended;
	uint32_t tag, page_count, tries;
	uint32_t slots[BACKING_IO_PAGES_MAX]; /* of whole pages the first alone: they are neighbours
					       */
	uint64_t pages;			      /* from the one with the tag */
	uint64_t deadline_ns;
	/* Of the first slot; where lines of other extents go too, those are on the same backings.
	 */
	struct slot_copy copies[SLOT_COPIES_MAX];
	struct backing_io ios[SLOT_COPIES_MAX];
	bool good[SLOT_COPIES_MAX];
	struct backing_lines lines[SLOT_COPIES_MAX][BACKING_IO_PAGES_MAX];
};

struct far_read {
	bool used;
	uint64_t deadline_ns;
	struct slot_copy copy;
	struct backing_io io;
	uint32_t crcs[BACKING_IO_PAGES_MAX];
};

struct far_lane {
	struct far *far;
	pthread_mutex_t *guard; /* NULL: the mender's own */
	struct backing_channel *channels[SLOT_BACKINGS_MAX];
	uint32_t sessions[SLOT_BACKINGS_MAX]; /* that the channels are of */
	/*
	 * A bit a backing: `offered` is to replace the channel. Set by the mender, which then
	 * leaves `offered` alone until whoever has the lane has adopted it and cleared the bit.
	 */
	_Atomic uint32_t offers;
	struct backing_channel *offered[SLOT_BACKINGS_MAX]; /* NULL: none any more */
	uint32_t offered_sessions[SLOT_BACKINGS_MAX];
	_Atomic uint32_t lacking; /* a bit a backing: its channel was closed after an error */
	uint64_t polled_ns;	  /* when the lane's channels were last looked at */
	uint32_t pending;	  /* stores that far_poll() has not given yet, */
	uint32_t ended;		  /* and of them those that are over */
	struct store stores[FAR_STORES_MAX];
	uint32_t reading; /* reads that have not ended */
	struct far_read reads[FAR_READS_MAX];
};

static inline bool far_has_channel(const struct far_lane *lane, struct slot_copy copy)
{
	return lane->channels[copy.backing] && lane->sessions[copy.backing] == copy.session;
}

static inline void far_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- far_link.c ---- */

/* Opens the lane's channels; where one cannot be opened, or only noted, as `lacking`. */
int far_lane_connect(struct far_lane *lane, bool strict, struct error *why);
/* Opens the channels that the mender's own lane has not, as far as that can be done now. */
void far_lane_complete(struct far_lane *lane);
/* Takes what the mender offers. By whoever has the lane. */
void far_lane_adopt(struct far_lane *lane);
/* An error of the channel ends it: what is still on its way there can no longer be told apart. */
void far_end_channel(struct far_lane *lane, uint32_t backing, int err);
bool far_means_gone(int err);
/* The session's backing stores no more; when it is gone, nothing is looked for there either. */
void far_give_up(struct far *far, uint32_t backing, uint32_t session, bool gone);
/* Wakes the family's menders. */
void far_ring(struct far *far);
/*
 * The mender's: makes `backing`, which it opened, the one of this process, with a channel for each
 * lane, and closes the one before; on an error nothing has changed.
 */
int far_attach(struct far *far, uint32_t index, struct backing *backing, uint32_t session,
	       struct error *why);
void far_detach(struct far *far, uint32_t index);
/* Gives a new channel to each lane that lacks one. */
int far_supply(struct far *far, uint32_t index);
bool far_is_lacking(const struct far *far, uint32_t index);

/* ---- far_place.c ---- */

/* Up to `want` slots on the next live backing in turn: their number, or -errno. */
int far_take(struct far *far, uint32_t want, uint32_t *ret_first);
/* Reserves as far as the copy lies, which another of the family may have made. Control path. */
int far_reach(struct far *far, struct slot_copy copy);
/* A place for one more extent on `backing`. Control path. */
int far_reserve_extent(struct far *far, uint32_t backing, struct slot_copy *ret_copy);
/*
 * A mask of the backings that are LIVE and that this process has open, with a channel in each lane:
 * one that a fork got no channel to is healthy, and others of the family store there.
 */
uint32_t far_reachable(const struct far *far);
/* Counts what the map says now. */
void far_count_all(struct far *far);

/* ---- far.c; far_push() in far_store.c ---- */

void far_fill_io(struct backing_io *io, enum backing_verb verb, struct slot_copy copy,
		 uint32_t slot, uint32_t page_count, void *pages);
/* Runs one io to its end, or to an error of the channel: -ETIMEDOUT after `timeout_ns`. */
int far_run_io(struct backing_channel *channel, struct backing_io *io, uint64_t timeout_ns);
/*
 * The lane is looked at now. What is on its way is not late for the time in which nobody looked:
 * some transports move only then.
 */
void far_note_look(struct far_lane *lane, uint64_t now_ns);
/* Moves the lane's stores on; those that end wait for far_poll(). By whoever has the lane. */
void far_push(struct far_lane *lane);
/* Moves neighbouring slots of the copy, whose first is `slot` of the map. */
int far_move(struct far_lane *lane, enum backing_verb verb, struct slot_copy copy, uint32_t slot,
	     uint32_t page_count, void *pages);

/* ---- far_mend.c ---- */

/* Lets others go first: gives `busy` up for a while. */
void far_mender_rest(struct far *far, uint64_t ns);
/* Moves the stores on of lanes that are not at work: their threads may sleep until a fault. */
void far_mender_push(struct far *far);
/* After a piece: when the program faulted meanwhile, the faults have as much time as the piece. */
void far_mender_give_way(struct far *far);

/* ---- far_copy.c ---- */

/* Makes what copies are missing and can be made. Returns when to look again. Under `mending`. */
uint64_t far_mend_extents(struct far *far);

#define FAR_NEVER UINT64_MAX
#define FAR_LOOK_MS 100u /* until the next look while another mends, or something is not done */

static inline uint64_t far_after_ms(uint32_t ms)
{
	return clock_now_ns() + ms * 1000000ull;
}

static inline uint64_t far_sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
