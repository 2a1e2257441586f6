/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_BACKING_H
#define BACKING_BACKING_H

/*
 * A backing is a place where pages live: a memory node, a file, a compressed pool; or a filter
 * around another backing. All are used through one ops table.
 *
 * A backing offers slots of PAGE_BYTES, numbered from 0 up to the capacity that was reserved. It
 * knows nothing of regions, copies or owners: the caller decides what lies in which slot and
 * promises never to fetch a slot that was not stored, nor to store to a slot from two places at
 * once. The contents of a slot are bytes; the caller checks them when they come back.
 *
 * Processes: a backing is opened by one process. After a fork() the child calls backing_reattach()
 * on its inherited copy before anything else; parent and child then share the same slots. Any
 * process of the same user may join through the ticket.
 *
 * Threads: open, close, reserve, reattach and channel_open/close are calls of the control path:
 * they may allocate, block (each wait has a limit) and must not run concurrently on one backing.
 * A channel is one thread's way to the slots: used by one thread at a time, and different channels
 * of one backing work concurrently. submit and poll are the memory path: they never allocate, never
 * log, never block on anything but the fabric or the disk, and touch no memory other than the
 * backing's own, the io and its pages.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define BACKING_IO_PAGES_MAX 32	 /* 128 KiB: past this an operation costs by the byte */
#define BACKING_URI_BYTES 256	 /* a URI as the user typed it, with its final NUL */
#define BACKING_TICKET_BYTES 96	 /* what names a session to another process of the same user */
#define BACKING_CHANNEL_DEPTH 64 /* ios that a channel must take before submit may say -EAGAIN */

enum backing_verb {
	BACKING_FETCH, /* slots to pages */
	BACKING_STORE, /* pages to slots */
};

/* io.result until the io is done. */
#define BACKING_PENDING 1

/* Lines of one page: bit i of the mask is its bytes from i * LINE_BYTES on. */
struct backing_lines {
	uint64_t slot;
	uint64_t mask; /* not 0 */
	const char *page;
};

/*
 * One movement of neighbouring slots to or from neighbouring pages. The caller owns it and its
 * pages; from submit until `result` leaves BACKING_PENDING (or the channel is closed) the backing
 * alone may use them.
 */
struct backing_io {
	enum backing_verb verb;
	uint32_t page_count; /* 1 to BACKING_IO_PAGES_MAX */
	uint64_t slot;	     /* the first one */
	void *pages;	     /* page-aligned */
	/*
	 * NULL, or a store of lines: page_count of these, each of another slot, in place of slot
	 * and pages. The slots' other lines stay as they are. If it fails, each line may have its
	 * bytes of before or after. The caller owns it, as it owns the io.
	 */
	const struct backing_lines *lines;
	int result; /* BACKING_PENDING, then 0 or -errno */
	/* For the backing's use between submit and done; filters keep theirs elsewhere. */
	struct backing_io *next;
	uint64_t scratch[2];
};

struct backing {
	const struct backing_ops *ops;
	char uri[BACKING_URI_BYTES];
	uint8_t ticket[BACKING_TICKET_BYTES];
};

struct backing_channel {
	const struct backing_ops *ops;
	struct backing *backing;
};

struct backing_options {
	const char *key_file;  /* the cluster key; NULL: none */
	const uint8_t *ticket; /* join this session; NULL: begin one */
	void *pages;	       /* all io pages lie in here, for transports that register memory */
	size_t pages_bytes;
	uint32_t wait_ms_max; /* limit of every wait in the control path */
};

struct backing_ops {
	const char *scheme; /* "mem", "file", "node", "delay", "error" */

	/*
	 * Understands `rest`, the URI behind "scheme:", without opening anything: 0 or -EINVAL in
	 * words (backing/uri.h makes them). NULL: only open() can tell.
	 */
	int (*check)(const char *rest, struct error *why);
	/* `rest` has passed check(). On success the caller owns *ret_backing. */
	int (*open)(const char *rest, const struct backing_options *options,
		    struct backing **ret_backing, struct error *why);
	/* Ends the session if this process is its last user. All channels are closed before. */
	void (*close)(struct backing *backing);
	/*
	 * Makes slots 0 to slot_count - 1 usable; never shrinks; a smaller count is a success.
	 * -ENOSPC with the reason in words when there is no room; other errors mean it is gone.
	 */
	int (*reserve)(struct backing *backing, uint64_t slot_count, struct error *why);
	/*
	 * In a forked child, or when another process began a new session: joins `ticket`'s. NULL or
	 * the backing's own ticket: the session that it has. Channels opened before it are of no
	 * use in a child any more; channel_close() frees what is left of them and is optional.
	 */
	int (*reattach)(struct backing *backing, const uint8_t *ticket, struct error *why);

	int (*channel_open)(struct backing *backing, struct backing_channel **ret_channel,
			    struct error *why);
	/*
	 * Also the way to abandon ios that do not finish: after it returns, nothing of the backing
	 * touches their pages again, whatever arrives late. Their result stays BACKING_PENDING.
	 */
	void (*channel_close)(struct backing_channel *channel);
	/*
	 * Starts an io; sets result to BACKING_PENDING first. 0, or -EAGAIN when the channel is
	 * full (poll, then again), or an error with which the channel is to be closed. It may be
	 * done on return.
	 */
	int (*submit)(struct backing_channel *channel, struct backing_io *io);
	/* Moves things on and finishes what can be finished; never sleeps. */
	void (*poll)(struct backing_channel *channel);
	/* Whether the channel takes stores of lines; NULL: no, whole pages only. Memory path. */
	bool (*takes_lines)(const struct backing_channel *channel);

	/*
	 * The slots' bytes are no longer wanted; until they are stored again they must not be
	 * fetched. No io of them is on its way in any channel. A hint; may be NULL. Memory path,
	 * from any thread, beside any use of the channels.
	 */
	void (*discard)(struct backing *backing, uint64_t slot, uint32_t slot_count);
	/* Bytes that the backing holds of this session now; may be NULL (slots × PAGE_BYTES). */
	uint64_t (*bytes_held)(struct backing *backing);
};

/*
 * Opens the backing that `uri` names. -EINVAL for a URI that cannot be understood (the words quote
 * it); other errors for one that cannot be reached now. Filters nest: "delay:200us:node://h:7440".
 */
int backing_open(const char *uri, const struct backing_options *options,
		 struct backing **ret_backing, struct error *why);

/* Understands `uri` as backing_open() would, without opening anything. 0 or -EINVAL in words. */
int backing_check_uri(const char *uri, struct error *why);

void backing_close(struct backing *backing); /* NULL is allowed */

/* What the io moves, without what a transport adds. */
uint64_t backing_io_bytes(const struct backing_io *io);
/* True if the channel takes stores of lines. */
bool backing_takes_lines(const struct backing_channel *channel);

/* In the ops tables' own files; one line each in backing.c's table. */
extern const struct backing_ops backing_mem_ops;
extern const struct backing_ops backing_file_ops;
extern const struct backing_ops backing_node_ops;
extern const struct backing_ops backing_delay_ops;
extern const struct backing_ops backing_error_ops;

#endif
