/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FABRIC_FABRIC_H
#define FABRIC_FABRIC_H

/*
 * How bytes reach memory that another process lends: one-sided reads and writes behind one ops
 * table. `ofi` is libfabric (tcp between hosts, shm on one host), kept in a module of its own that
 * fabric_load() brings in; `cma` is process_vm_readv and process_vm_writev on one host; `sim`
 * lives in one process, for tests, and can be late, fail and lose.
 *
 * The target lends a span of memory under a random key and has an address; a channel is one
 * thread's way to one target. Nothing is shared between two channels, so no lock is taken.
 *
 * Threads: a channel or a target is used by one thread at a time. Opening and closing may allocate
 * and block up to their limit; read, write and poll neither allocate, lock nor sleep.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/descriptor.h"
#include "base/error.h"

#define FABRIC_ADDRESS_BYTES 128 /* the longest provider address here is 28; a shm name 64 */
#define FABRIC_CONTEXT_BYTES 64	 /* what a provider may ask to own of an operation's context */
#define FABRIC_PROOF_BYTES 32	 /* HMAC-SHA256 */
#define FABRIC_DEPTH_MAX 256	 /* operations of one channel at a time */
#define FABRIC_PIECES_MAX 256	 /* of one write, whatever the transport */
#define FABRIC_MODULE_VERSION 3

enum fabric_transport {
	FABRIC_TCP, /* libfabric's sockets: between hosts */
	FABRIC_SHM, /* libfabric's shared memory: one host, one user */
	FABRIC_CMA, /* the kernel copies from process to process: one host, one user */
	FABRIC_TRANSPORTS,
};

/* What a channel must know of a target; it travels in the control protocol. */
struct fabric_address {
	uint32_t bytes; /* used of data; 0: the target has no such transport */
	uint64_t base;	/* remote address of the first byte lent */
	uint64_t key;
	uint32_t protocol; /* the provider's own number of what it speaks on the wire */
	uint8_t data[FABRIC_ADDRESS_BYTES];
};

/*
 * The first member of whatever the caller hands over as an operation's context: memory that must
 * stay in place, and belongs to the fabric, until the operation is done.
 */
struct fabric_context {
	_Alignas(16) uint8_t provider[FABRIC_CONTEXT_BYTES];
};

/* One piece of a write. */
struct fabric_piece {
	const void *local;
	size_t bytes;
	uint64_t offset; /* into what the target lends */
};

struct fabric_done {
	struct fabric_context
		*context; /* NULL: an error that names no operation; the channel is broken */
	int result;	  /* 0 or -errno */
};

struct fabric_channel {
	const struct fabric_ops *ops;
	unsigned pieces_max; /* of one write: at most FABRIC_PIECES_MAX */
};

struct fabric_target {
	const struct fabric_ops *ops;
};

struct fabric_target_options {
	enum fabric_transport transport;
	const char *host; /* tcp: the numeric address to listen on */
	void *memory;	  /* lent; may be unreadable in places: touching those fails the client */
	size_t memory_bytes;
	uint64_t key; /* random, asked of the provider */
};

struct fabric_ops {
	const char *name;

	/*
	 * Opens a way to `target`, for at most `depth` operations at a time. No traffic yet: the
	 * first operation may take the time of a connection, and -EAGAIN for that long.
	 */
	int (*channel_open)(enum fabric_transport transport, const struct fabric_address *target,
			    unsigned depth, struct fabric_channel **ret_channel, struct error *why);
	/* After it returns nothing lands in a buffer of the channel. NULL is allowed. */
	void (*channel_close)(struct fabric_channel *channel);
	/*
	 * In a forked child, for a channel that was the parent's: lets go of it without a word to
	 * the peer and without a harm to the parent. Its memory is given up.
	 */
	void (*channel_forget)(struct fabric_channel *channel);
	/*
	 * Start a movement between `local` and `offset` bytes into what the target lends; a write
	 * has 1 to pieces_max of them, whose array is the caller's again on return. 0, -EAGAIN
	 * (poll and try again) or -errno: the channel is broken. Exactly one fabric_done follows a
	 * 0, unless the channel breaks. A write that is done is in the target's memory: a read
	 * through any channel that starts later sees it.
	 */
	int (*read)(struct fabric_channel *channel, void *local, size_t bytes, uint64_t offset,
		    struct fabric_context *context);
	int (*write)(struct fabric_channel *channel, const struct fabric_piece *pieces,
		     unsigned count, struct fabric_context *context);
	/* Fills up to `count_max` done entries; returns how many, or -errno: the channel is broken.
	 */
	int (*poll)(struct fabric_channel *channel, struct fabric_done *done, unsigned count_max);

	int (*target_open)(const struct fabric_target_options *options,
			   struct fabric_target **ret_target, struct error *why);
	void (*target_close)(struct fabric_target *target);
	void (*target_address)(struct fabric_target *target, struct fabric_address *ret_address);
	/* Answers what has arrived; returns whether anything had. */
	bool (*target_progress)(struct fabric_target *target);
	/*
	 * A descriptor that becomes readable when there is something to progress; -1 when the
	 * transport has none and the target must be rung by other means. Valid until the close.
	 */
	int (*target_wait_fd)(struct fabric_target *target);
	/* Whether it is safe to sleep on the descriptor now; false: progress first. */
	bool (*target_may_sleep)(struct fabric_target *target);
};

/*
 * What the module offers: the fabric, and the keyed hash of the control protocol's proofs. The
 * hash is here because libcrypto, too, must stay out of the global scope of the user's program.
 */
struct fabric_module {
	uint32_t version; /* FABRIC_MODULE_VERSION, or it is refused */
	const struct fabric_ops *ops;
	/* HMAC-SHA256 of the concatenated parts. 0 or -errno. */
	int (*proof)(const void *key, size_t key_bytes, const void *first, size_t first_bytes,
		     const void *second, size_t second_bytes,
		     uint8_t ret_proof[FABRIC_PROOF_BYTES]);
	/* Called once, before all others: the descriptors that libfabric opens go into `table`. */
	void (*use_descriptors)(struct descriptor_table *table);
};

/*
 * Loads perdure-fabric-ofi.so once for the process: from $PERDURE_MODULE_DIR, from beside the
 * binary or library that holds this code (or its ../fabric, in a build directory), from
 * libdir/perdure. Everything in it is bound at once: binding on the fault path would take the
 * dynamic loader's locks. It stays loaded for the life of the process. Control path, any thread.
 */
int fabric_load(const struct fabric_module **ret_module, struct error *why);

/* The ops table of a transport; `module` is of fabric_load(). */
const struct fabric_ops *fabric_of(const struct fabric_module *module,
				   enum fabric_transport transport);

extern const struct fabric_ops fabric_cma_ops;

/*
 * Removes the shared-memory files of Perdure's fabric whose process is gone; returns how many.
 * Their names are "perdure-PID-NUMBER" with what the provider appends.
 */
int fabric_clean_stale(void);
/* Those of this process's ID as well: of the image that it ran before an exec. */
int fabric_clean_own(void);

#define FABRIC_SHM_DIR "/dev/shm"
#define FABRIC_SHM_PREFIX "perdure-"

#endif
