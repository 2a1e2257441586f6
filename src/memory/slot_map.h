/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_SLOT_MAP_H
#define MEMORY_SLOT_MAP_H

/*
 * Which slots of the far store are in use, and where their copies are. A slot is a page's place in
 * far memory, numbered from 1 over all backings. Slots come in extents of SLOT_EXTENT_SLOTS; each
 * extent lies on one backing, or with mirroring on two.
 *
 * The map is memory shared by a process and all that it forks (the family), because after a fork
 * parent and child both have pages in the slots of that instant. Each process is a member with its
 * own bitmap of the slots that it uses: a slot is free when no member's bit is set. A fork copies
 * one bitmap; the death of a member is the loss of its bitmap. There are no reference counts that a
 * killed process could leave wrong.
 *
 * Invariants (docs/design/far-store.md):
 *   F1  A slot's bytes never change while more than one member uses it: its only user may store
 *       to it in place, announced by slot_map_fly(); else a changed page gets another slot.
 *   F2  Only the member that owns an extent hands out its free slots.
 *   F3  Bitmaps are copied, extents claimed and the slots to mend read under `lock`, so a slot
 *       that a fork is about to share is never seen as free.
 *   F4  A robust lock whose holder died leaves a valid map: every step only sets a bit too many.
 *   F5  A copy in the map whose backing is LIVE in the copy's session has every slot of the extent
 *       that is in use and not on its way. Who cannot store to it says so before the store ends.
 *   F6  The slots of a sealed extent are not handed out; a copy is published in it only if, since
 *       it was sealed, none of its slots was on its way.
 *   F7  A copy of another session than the backing's own is gone, whatever answers at its place.
 *   F8  A dead member's stores may arrive for `landing_wait_ns` more: so long nobody claims an
 *       extent in which it had one on its way, and slots of it count as on their way.
 *
 * Threads: a member's own bitmap and its struct slot_cursor are used under that process's lock of
 * the far store; the shared parts under `lock`. No call blocks on anything but `lock`.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#define SLOT_EXTENT_SLOTS 4096u /* 16 MiB: few enough to track, large enough to ask a node for */
#define SLOT_EXTENT_WORDS (SLOT_EXTENT_SLOTS / 64)
#define SLOT_EXTENTS_MAX 65536u /* 1 TiB of far memory to a family */
#define SLOT_MEMBERS_MAX 256u	/* live processes of a family, as RUN_MEMBERS_MAX */
#define SLOT_BACKINGS_MAX 8u
#define SLOT_COPIES_MAX 2u
#define SLOT_TICKET_BYTES 96u /* as BACKING_TICKET_BYTES */
#define SLOT_NO_BACKING 0xffu
#define SLOT_SESSIONS_MAX 0xffffffu /* 24 bits in a copy's code; one a second for half a year */
#define SLOT_BIRTH_MASK 0xffffffu   /* of a birth, what is compared */
#define SLOT_NONE 0u

enum slot_backing_state {
	SLOT_BACKING_LIVE,
	SLOT_BACKING_FAILING, /* does not store; what it has may still be read */
	SLOT_BACKING_LOST,    /* gone, with all that lay there */
};

struct slot_copy {
	uint8_t backing;  /* SLOT_NO_BACKING: none */
	uint32_t session; /* of the backing, in which it was made */
	uint32_t extent;  /* of the backing: its slots extent * SLOT_EXTENT_SLOTS and on */
};

struct slot_extent {
	_Atomic uint16_t owner;	     /* member + 1; 0: nobody's */
	_Atomic bool sealed;	     /* hands out no slots: a copy of it is being made */
	_Atomic uint64_t landing_ns; /* until then stores of a dead member may still arrive */
	_Atomic uint64_t
		copies[SLOT_COPIES_MAX]; /* encoded struct slot_copy, read without the lock */
};

struct slot_life {
	enum slot_backing_state state;
	uint32_t session; /* counts the times that it was opened anew, from 0 */
};

struct slot_backing {
	_Atomic uint32_t life;	       /* encoded struct slot_life, so that both change as one */
	_Atomic uint32_t extent_count; /* reserved there in this session, by whom of the family */
	uint8_t ticket[SLOT_TICKET_BYTES];
};

struct slot_map {
	pthread_mutex_t lock; /* robust, process-shared; innermost: nothing is taken under it */
	_Atomic uint32_t extent_count; /* changed under lock, read without */
	_Atomic uint32_t member_end;   /* no member from here on was ever used */
	uint32_t backing_count;
	uint32_t copy_count;
	uint64_t landing_wait_ns;
	struct slot_backing backings[SLOT_BACKINGS_MAX];
	pthread_mutex_t mending; /* robust; who makes copies again; before `lock` */
	_Atomic uint32_t bell;	 /* changes when there may be something to mend */
	_Atomic uint32_t member_used[SLOT_MEMBERS_MAX];
	pthread_mutex_t
		member_life[SLOT_MEMBERS_MAX]; /* robust; held as long as the member lives */
	pthread_mutex_t member_birth[SLOT_MEMBERS_MAX];	  /* robust; held by who joined for it */
	_Atomic uint32_t member_births[SLOT_MEMBERS_MAX]; /* counts the joins */
	struct slot_extent extents[SLOT_EXTENTS_MAX];
	/* Takes of the extent's slots, and stores in place, that have not ended. */
	_Atomic uint16_t flying[SLOT_MEMBERS_MAX][SLOT_EXTENTS_MAX];
	_Atomic uint64_t used[SLOT_MEMBERS_MAX][SLOT_EXTENTS_MAX * SLOT_EXTENT_WORDS];
	/* CRC32C of what was stored: who copies a slot need not know the page. By slot - 1. */
	_Atomic uint32_t checksums[SLOT_EXTENTS_MAX * SLOT_EXTENT_SLOTS];
};

/* A member's private place from which it hands out slots, one for each stripe. */
struct slot_cursor {
	uint32_t extent; /* + 1; 0: none */
	uint32_t word;
	uint64_t free[SLOT_EXTENT_WORDS];
};

/*
 * `map` is zeroed memory shared by the family. `landing_wait_ns` is how long after its process is
 * found dead a store may still change what its backing holds. 0 or -errno.
 */
int slot_map_init(struct slot_map *map, uint32_t backing_count, uint32_t copy_count,
		  uint64_t landing_wait_ns);

void slot_map_lock(struct slot_map *map);
void slot_map_unlock(struct slot_map *map);

/*
 * A new member without slots, which the calling thread answers for until it is held, or the thread
 * leaves it or dies. Dead members' bitmaps are cleared first. -EAGAIN when all SLOT_MEMBERS_MAX
 * live.
 */
int slot_map_join(struct slot_map *map, uint32_t *ret_member);
/* The member, which has none yet, uses the slots that `parent` uses now. */
void slot_map_inherit(struct slot_map *map, uint32_t member, uint32_t parent);
/*
 * The calling thread lives as long as the member: its end, or an exec, gives the member up. False
 * if the member was given up before. `birth` is what member_births[] was after the join.
 */
bool slot_map_hold(struct slot_map *map, uint32_t member, uint32_t birth);
/*
 * The thread that joined answers for the member no longer: one that never came to live is given
 * up, one that did is left to its end. Once for each join that is not the caller's own.
 */
void slot_map_leave(struct slot_map *map, uint32_t member);

/*
 * Hands out up to `want` neighbouring slots of the cursor's extent, marked as used by `member`.
 * Their number is returned, 0 when the cursor's extent is spent, sealed or not the member's (as
 * after a fork): claim another. `want` is at least 1. Until slot_map_land() they are on their way.
 */
uint32_t slot_map_take(struct slot_map *map, uint32_t member, struct slot_cursor *cursor,
		       uint32_t want, uint32_t *ret_first);
/*
 * The member no longer uses the slot. True if nobody does now; from then on the slot may be handed
 * out again by the extent's owner, so only the owner may discard its bytes, before its next claim.
 */
bool slot_map_free(struct slot_map *map, uint32_t member, uint32_t slot);

/*
 * Announces stores in place to slots that the member uses (at most 64), each until one
 * slot_map_land(). Returns a bit for each that is announced; not so where another member uses the
 * slot too (F1), or the extent is sealed (F6).
 */
uint64_t slot_map_fly(struct slot_map *map, uint32_t member, const uint32_t *slots, uint32_t count);

/* What one slot_map_take() gave, or one slot_map_fly() announced, is stored, or will not be. */
void slot_map_land(struct slot_map *map, uint32_t member, uint32_t extent);

/*
 * Claims for the cursor an extent whose home is `backing`, that has no live copy on a backing that
 * is not in the mask `reachable`, and enough free slots that looking for them pays; -ENOENT when
 * there is none: then add one.
 */
int slot_map_claim(struct slot_map *map, uint32_t member, uint32_t backing, uint32_t reachable,
		   struct slot_cursor *cursor);
/*
 * Claims an extent that has these copies: a lost one that nobody uses, or else one more. -ENOSPC
 * at SLOT_EXTENTS_MAX.
 */
int slot_map_add(struct slot_map *map, uint32_t member, const struct slot_copy *copies,
		 struct slot_cursor *cursor);

/* Where copy `index` of the extent is, or was; backing SLOT_NO_BACKING when there is none. */
struct slot_copy slot_map_copy(const struct slot_map *map, uint32_t extent, uint32_t index);
void slot_map_set_copy(struct slot_map *map, uint32_t extent, uint32_t index,
		       struct slot_copy copy);
/* The copy can be fetched from; the copy is live: is stored to, and whole (F5). */
bool slot_map_is_readable(const struct slot_map *map, struct slot_copy copy);
bool slot_map_is_live(const struct slot_map *map, struct slot_copy copy);
/* The backing of the extent's first live copy; SLOT_NO_BACKING when it has none. */
uint32_t slot_map_home(const struct slot_map *map, uint32_t extent);
/* True if all live copies of the extent are on backings of the mask, and there is one. */
bool slot_map_is_reachable(const struct slot_map *map, uint32_t extent, uint32_t reachable);

struct slot_life slot_map_life(const struct slot_map *map, uint32_t backing);
/*
 * The backing is FAILING or LOST from now on, if it still is in this session and was better: 1 if
 * it was LIVE, 0 if it was not, -ESTALE if nothing changed.
 */
int slot_map_worsen(struct slot_map *map, uint32_t backing, uint32_t session,
		    enum slot_backing_state state);
/* A FAILING backing stores again. Only when slot_map_drop_redundant() has left no holes in it. */
bool slot_map_revive(struct slot_map *map, uint32_t backing, uint32_t session);
/* A LOST backing begins its next session, empty: the number of it. Under `mending`. */
uint32_t slot_map_begin_session(struct slot_map *map, uint32_t backing, const uint8_t *ticket);
/* The session and the ticket that belongs to it. */
struct slot_life slot_map_ticket(struct slot_map *map, uint32_t backing, uint8_t *ret_ticket);
/*
 * Takes out of the map the copies on `backing` whose extent has a live copy elsewhere. Returns the
 * number of extents in use whose only readable copy is there. Under `mending`.
 */
uint32_t slot_map_drop_redundant(struct slot_map *map, uint32_t backing);

/*
 * Begins to make a copy of the extent (F6). From here to the unsealing its copies are the
 * caller's to change, and nobody else's; look at them again.
 */
void slot_map_seal(struct slot_map *map, uint32_t extent);
void slot_map_unseal(struct slot_map *map, uint32_t extent);
bool slot_map_is_flying(const struct slot_map *map, uint32_t extent);
/* Clears the bitmaps of members that are dead. */
void slot_map_reap(struct slot_map *map);
/* Takes `mending` unless another process has it. */
bool slot_map_try_mending(struct slot_map *map);
void slot_map_end_mending(struct slot_map *map);

/* Slots of the extent that any member uses, as a mask of 64 from word `word` on. */
uint64_t slot_map_used_word(const struct slot_map *map, uint32_t extent, uint32_t word);
/*
 * The same for the whole extent at one instant: under `lock`, for who is not of a member that
 * uses them. Without it a fork may copy a bitmap, and the parent free, between two members' words.
 */
void slot_map_used_words(struct slot_map *map, uint32_t extent, uint64_t *ret_words);
/* Slots of the extent that `member` uses. */
uint32_t slot_map_used_count(const struct slot_map *map, uint32_t member, uint32_t extent);
/* Slots that `member` uses on `backing`. Costs a walk over all extents. */
uint64_t slot_map_count(const struct slot_map *map, uint32_t member, uint32_t backing);

static inline uint32_t slot_extent_of(uint32_t slot)
{
	return (slot - 1) / SLOT_EXTENT_SLOTS;
}

static inline uint32_t slot_in_extent(uint32_t slot)
{
	return (slot - 1) % SLOT_EXTENT_SLOTS;
}

static inline uint32_t slot_number(uint32_t extent, uint32_t index)
{
	return extent * SLOT_EXTENT_SLOTS + index + 1;
}

#endif
