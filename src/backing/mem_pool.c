/* SPDX-License-Identifier: Apache-2.0 */
#include "backing/mem_pool_layout.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/own_memory.h"
#include "base/robust_lock.h"
#include "base/units.h"

/* Trying this often costs less than one sleep, and the section is rarely longer. */
#define LOCK_SPINS 200
#define LOCK_NAP_NS 20000

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static uint32_t class_of(uint32_t bytes)
{
	uint32_t class = 1;

	assert(bytes > 0 && bytes <= PAGE_BYTES);
	while (mem_class_bytes[class] < bytes)
		class++;
	return class;
}

static void partial_add(struct mem_pool *pool, uint32_t class, uint32_t index)
{
	struct mem_class *of = &pool->shared->classes[class];
	struct mem_chunk *chunk = &pool->shared->chunks[index];

	chunk->prev = NO_CHUNK;
	chunk->next = of->partial;
	if (of->partial != NO_CHUNK)
		pool->shared->chunks[of->partial].prev = index;
	of->partial = index;
}

static void partial_remove(struct mem_pool *pool, uint32_t class, uint32_t index)
{
	struct mem_chunk *chunk = &pool->shared->chunks[index];

	if (chunk->prev != NO_CHUNK)
		pool->shared->chunks[chunk->prev].next = chunk->next;
	else
		pool->shared->classes[class].partial = chunk->next;
	if (chunk->next != NO_CHUNK)
		pool->shared->chunks[chunk->next].prev = chunk->prev;
}

/* The dead owner may have been anywhere in a section behind the class's lock. */
static void recover_class(struct mem_pool *pool, uint32_t class)
{
	uint32_t top = atomic_load(&pool->shared->top);

	pool->shared->classes[class].partial = NO_CHUNK;
	for (uint32_t i = 0; i < top; i++) {
		struct mem_chunk *chunk = &pool->shared->chunks[i];

		if (atomic_load_explicit(&chunk->class, memory_order_relaxed) != class)
			continue;
		chunk->used = (uint16_t)count_objects(pool, i, class);
		chunk->hint = 0;
		if (chunk->used < class_object_count(class))
			partial_add(pool, class, i);
	}
}

static void recover_chunks(struct mem_pool *pool)
{
	struct mem_pool_shared *shared = pool->shared;
	uint32_t top = atomic_load(&shared->top);
	uint32_t used_count = 0;

	shared->free = NO_CHUNK;
	for (uint32_t i = 0; i < top; i++) {
		if (atomic_load_explicit(&shared->chunks[i].class, memory_order_relaxed) !=
		    CLASS_NONE) {
			used_count++;
			continue;
		}
		shared->chunks[i].next = shared->free;
		shared->free = i;
	}
	atomic_store(&shared->used_count, used_count);
}

/*
 * Tries and naps rather than sleeps in the lock: the limit then follows the monotonic clock, and an
 * owner that was only interrupted is back within a nap.
 */
static int lock_within_limit(pthread_mutex_t *lock)
{
	uint64_t until_ns = 0;

	for (uint32_t tries = 0;; tries++) {
		int err = pthread_mutex_trylock(lock);

		if (err != EBUSY)
			return -err;
		if (tries < LOCK_SPINS) {
			cpu_pause();
			continue;
		}
		if (!until_ns)
			until_ns = clock_now_ns() + MEM_LOCK_WAIT_MS * (uint64_t)1000000;
		else if (clock_now_ns() >= until_ns)
			return -ETIMEDOUT;
		clock_sleep_ns(LOCK_NAP_NS);
	}
}

/* 0 or -ETIMEDOUT. */
static int lock_class(struct mem_pool *pool, uint32_t class)
{
	pthread_mutex_t *lock = &pool->shared->classes[class].lock;
	int err = lock_within_limit(lock);

	if (err == -EOWNERDEAD) {
		recover_class(pool, class);
		err = -pthread_mutex_consistent(lock);
	}
	return err;
}

static int lock_chunks(struct mem_pool *pool)
{
	int err = lock_within_limit(&pool->shared->chunk_lock);

	if (err == -EOWNERDEAD) {
		recover_chunks(pool);
		err = -pthread_mutex_consistent(&pool->shared->chunk_lock);
	}
	return err;
}

/* Under the class's lock, the chunk on no list and empty. */
static int give_chunk(struct mem_pool *pool, uint32_t index)
{
	struct mem_pool_shared *shared = pool->shared;
	uint8_t pieces;
	int err;

	/* While it still has its class: once it is free, another's bytes may be in it. */
	pieces = atomic_exchange(&shared->chunks[index].populated, 0);
	atomic_fetch_sub(&shared->bytes_held, __builtin_popcount(pieces) * PIECE_BYTES);
	syscall(SYS_madvise, chunk_start(pool, index), MEM_CHUNK_BYTES, MADV_REMOVE);
	err = lock_chunks(pool);
	if (err)
		return err;
	atomic_store_explicit(&shared->chunks[index].class, CLASS_NONE, memory_order_relaxed);
	shared->chunks[index].next = shared->free;
	shared->free = index;
	atomic_fetch_sub(&shared->used_count, 1);
	pthread_mutex_unlock(&shared->chunk_lock);
	return 0;
}

/* Under the class's lock. The chunk comes back on the class's list. */
static int take_chunk(struct mem_pool *pool, uint32_t class)
{
	struct mem_pool_shared *shared = pool->shared;
	uint32_t index;
	int err = lock_chunks(pool);

	if (err)
		return err;
	index = shared->free;
	if (index != NO_CHUNK) {
		shared->free = shared->chunks[index].next;
	} else if (shared->top < shared->chunk_count_max) {
		/* Counted first: a chunk with a class is below `top`, where recovery looks. */
		index = atomic_fetch_add(&shared->top, 1);
	} else {
		pthread_mutex_unlock(&shared->chunk_lock);
		return -ENOSPC;
	}
	atomic_store_explicit(&shared->chunks[index].class, (uint8_t)class, memory_order_relaxed);
	atomic_fetch_add(&shared->used_count, 1);
	pthread_mutex_unlock(&shared->chunk_lock);

	shared->chunks[index].used = 0;
	shared->chunks[index].hint = 0;
	partial_add(pool, class, index);
	return 0;
}

/* Under the class's lock: one object of the first chunk with room. */
static uint64_t take_object(struct mem_pool *pool, uint32_t class)
{
	uint32_t index = pool->shared->classes[class].partial;
	struct mem_chunk *chunk = &pool->shared->chunks[index];
	uint64_t *bitmap = chunk_bitmap(pool, index, class);
	uint32_t word = chunk->hint;
	uint32_t object;

	while (bitmap[word] == UINT64_MAX)
		word++;
	object = word * 64 + (uint32_t)__builtin_ctzll(~bitmap[word]);
	assert(object < class_object_count(class));
	chunk->hint = (uint16_t)word;
	bitmap[word] |= 1ull << (object % 64);
	if (++chunk->used == class_object_count(class))
		partial_remove(pool, class, index);
	return (uint64_t)index * MEM_CHUNK_BYTES + class_first_byte(class) +
	       (uint64_t)object * mem_class_bytes[class];
}

static int alloc_in_class(struct mem_pool *pool, uint32_t class, bool may_grow,
			  uint64_t *ret_offset)
{
	struct mem_class *of = &pool->shared->classes[class];
	int err = lock_class(pool, class);

	if (err)
		return err;
	if (of->partial == NO_CHUNK)
		err = may_grow ? take_chunk(pool, class) : -ENOSPC;
	if (!err)
		*ret_offset = take_object(pool, class);
	pthread_mutex_unlock(&of->lock);
	return err;
}

/*
 * Makes the kernel give the memory from `offset` on, behind no lock. A host without memory says so
 * here, instead of killing somebody at the first touch; kernels before 5.14 do not know the call.
 */
static int populate(struct mem_pool *pool, uint64_t offset, uint32_t bytes)
{
	struct mem_chunk *chunk = &pool->shared->chunks[offset / MEM_CHUNK_BYTES];
	uint64_t last = (offset + bytes - 1) / PIECE_BYTES;

	for (uint64_t piece = offset / PIECE_BYTES; piece <= last; piece++) {
		uint8_t bit = (uint8_t)(1u << (piece % (MEM_CHUNK_BYTES / PIECE_BYTES)));

		if (atomic_load_explicit(&chunk->populated, memory_order_relaxed) & bit)
			continue;
		if (syscall(SYS_madvise, pool->arena + piece * PIECE_BYTES, PIECE_BYTES,
			    MADV_POPULATE_WRITE) &&
		    errno != EINVAL)
			return -ENOSPC;
		if (!(atomic_fetch_or(&chunk->populated, bit) & bit))
			atomic_fetch_add(&pool->shared->bytes_held, PIECE_BYTES);
	}
	return 0;
}

int mem_pool_alloc(struct mem_pool *pool, uint32_t bytes, uint64_t *ret_offset)
{
	uint32_t class = class_of(bytes);
	uint64_t offset;
	int err = alloc_in_class(pool, class, true, &offset);

	/* Full: room in a chunk of larger objects is better than none. */
	while (err == -ENOSPC && ++class < CLASS_COUNT)
		err = alloc_in_class(pool, class, false, &offset);
	if (err)
		return err;
	err = populate(pool, offset, bytes);
	if (err)
		mem_pool_free(pool, offset);
	else
		*ret_offset = offset;
	return err;
}

static void free_object(struct mem_pool *pool, uint32_t index, uint32_t class, uint32_t object)
{
	struct mem_chunk *chunk = &pool->shared->chunks[index];
	uint64_t *bitmap = chunk_bitmap(pool, index, class);
	uint64_t bit = 1ull << (object % 64);

	assert(bitmap[object / 64] & bit);
	bitmap[object / 64] &= ~bit;
	if (object / 64 < chunk->hint)
		chunk->hint = (uint16_t)(object / 64);
	if (chunk->used-- == class_object_count(class))
		partial_add(pool, class, index);
	/* The last chunk with room stays, or a load at the edge would give and take it for ever. */
	if (chunk->used == 0 && (chunk->next != NO_CHUNK || chunk->prev != NO_CHUNK)) {
		partial_remove(pool, class, index);
		if (give_chunk(pool, index))
			partial_add(pool, class, index);
	}
}

void mem_pool_free(struct mem_pool *pool, uint64_t offset)
{
	uint32_t index = (uint32_t)(offset / MEM_CHUNK_BYTES);
	/* An allocated object holds its chunk's class still, so it may be read before the lock. */
	uint32_t class = atomic_load_explicit(&pool->shared->chunks[index].class,
					      memory_order_relaxed);
	uint32_t in_chunk = (uint32_t)(offset % MEM_CHUNK_BYTES);

	assert(class != CLASS_NONE && class < CLASS_COUNT);
	if (lock_class(pool, class))
		return;
	free_object(pool, index, class,
		    (in_chunk - class_first_byte(class)) / mem_class_bytes[class]);
	pthread_mutex_unlock(&pool->shared->classes[class].lock);
}

uint32_t mem_pool_object_bytes(const struct mem_pool *pool, uint64_t offset)
{
	const struct mem_chunk *chunk = &pool->shared->chunks[offset / MEM_CHUNK_BYTES];

	return mem_class_bytes[atomic_load_explicit(&chunk->class, memory_order_relaxed)];
}

uint64_t mem_pool_bytes_held(const struct mem_pool *pool)
{
	return atomic_load(&pool->shared->bytes_held);
}

static int init_shared(struct mem_pool_shared *shared, uint32_t chunk_count)
{
	int err = robust_lock_init(&shared->chunk_lock);

	for (uint32_t i = 0; !err && i < CLASS_COUNT; i++) {
		shared->classes[i].partial = NO_CHUNK;
		err = robust_lock_init(&shared->classes[i].lock);
	}
	shared->free = NO_CHUNK;
	shared->chunk_count_max = chunk_count;
	return err;
}

int mem_pool_create(uint64_t bytes_max, struct mem_pool *ret_pool, struct error *why)
{
	uint64_t chunk_count = (bytes_max + MEM_CHUNK_BYTES - 1) / MEM_CHUNK_BYTES;
	size_t head_bytes = sizeof(struct mem_pool_shared) + chunk_count * sizeof(struct mem_chunk);
	struct mem_pool pool = {.arena_bytes = chunk_count * MEM_CHUNK_BYTES};
	char text[UNITS_TEXT_BYTES];
	void *memory;
	int err;

	assert(bytes_max >= MEM_POOL_BYTES_MIN && bytes_max <= MEM_POOL_BYTES_MAX);
	head_bytes = (head_bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	pool.mapped_bytes = head_bytes + pool.arena_bytes;
	err = own_memory_map_shared(pool.mapped_bytes, &memory);
	if (err)
		return error_set(
			why, err,
			"cannot map a pool of %s: %s; name a smaller one (mem:SIZE), or see "
			"vm.overcommit_memory and ulimit -v",
			format_size(bytes_max, text), strerror(-err));
	pool.shared = memory;
	pool.arena = (uint8_t *)memory + head_bytes;
	err = init_shared(pool.shared, (uint32_t)chunk_count);
	if (err) {
		own_memory_unmap(memory, pool.mapped_bytes);
		return error_set(why, err, "cannot make the pool's locks: %s", strerror(-err));
	}
	*ret_pool = pool;
	return 0;
}

void mem_pool_destroy(struct mem_pool *pool)
{
	own_memory_unmap(pool->shared, pool->mapped_bytes);
	*pool = (struct mem_pool){0};
}

int mem_pool_settle(struct mem_pool *pool)
{
	int err = 0;

	for (uint32_t class = 1; !err && class < CLASS_COUNT; class++) {
		err = lock_class(pool, class);
		if (!err)
			pthread_mutex_unlock(&pool->shared->classes[class].lock);
	}
	if (!err)
		err = lock_chunks(pool);
	if (!err)
		pthread_mutex_unlock(&pool->shared->chunk_lock);
	return err;
}
