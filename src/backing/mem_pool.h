/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_MEM_POOL_H
#define BACKING_MEM_POOL_H

/*
 * An allocator of objects of 1 to PAGE_BYTES bytes in anonymous memory that a family of forked
 * processes shares, and that gives memory back to the kernel as it empties.
 *
 * Chunks of MEM_CHUNK_BYTES hold objects of one size class each, with a bit an object. The bits and
 * the chunk's class are the truth; lists and counts are derived from it. Any process of the family
 * may be killed at any instruction: the locks are robust, and who finds a lock left by a dead owner
 * derives that lock's lists and counts again. A kill costs at most the one object that its thread
 * was allocating or freeing, and never touches another's.
 *
 * Any thread of any process of the family may call alloc and free at once. They wait for a lock
 * at most MEM_LOCK_WAIT_MS: a process stopped (SIGSTOP, a debugger) while it holds one stops
 * nobody for ever. Who has waited that long counts the pool as gone, with every page in it: the
 * limit is far beyond what a busy host keeps a thread from its CPU.
 *
 * Lock order: a class's lock, then the lock of the chunks.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

/* A chunk has a descriptor of 128 bytes: 0.05 % of it. Smaller chunks cost more, larger ones wait
 * longer half empty in each class. */
#define MEM_CHUNK_BYTES (256 * KIB)
#define MEM_LOCK_WAIT_MS 10000 /* 200 were passed at a load of 14 on two CPUs */
#define MEM_POOL_BYTES_MIN (16 * MEM_CHUNK_BYTES)
#define MEM_POOL_BYTES_MAX ((uint64_t)1 << 46) /* what user space can map, and half of it left */
#define MEM_OBJECT_ALIGN 64

struct mem_pool_shared;

/* The handle; a forked child's copy of it is valid in the child. */
struct mem_pool {
	struct mem_pool_shared *shared;
	uint8_t *arena;
	uint64_t arena_bytes;
	size_t mapped_bytes;
};

/* Holds at most `bytes_max`, rounded up to whole chunks. -ENOMEM in words. */
int mem_pool_create(uint64_t bytes_max, struct mem_pool *ret_pool, struct error *why);

/* Unmaps it here; the memory is freed when the last process of the family has done so or ended. */
void mem_pool_destroy(struct mem_pool *pool);

/*
 * *ret_offset is a multiple of MEM_OBJECT_ALIGN, an offset into the arena. -ENOSPC when the pool is
 * full, -ETIMEDOUT when a lock was not to be had.
 */
int mem_pool_alloc(struct mem_pool *pool, uint32_t bytes, uint64_t *ret_offset);

/* The object must be allocated. When the lock is not to be had, the object is lost. */
void mem_pool_free(struct mem_pool *pool, uint64_t offset);

/* Bytes that the object at `offset` may grow to without being allocated again. */
uint32_t mem_pool_object_bytes(const struct mem_pool *pool, uint64_t offset);

/* Bytes of the host's memory that objects lie in now, the room between them included. */
uint64_t mem_pool_bytes_held(const struct mem_pool *pool);

/*
 * Takes each lock once, so that what dead owners left is put right now rather than at the next use.
 * 0 or -ETIMEDOUT.
 */
int mem_pool_settle(struct mem_pool *pool);

#endif
