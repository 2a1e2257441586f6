/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_MEM_POOL_LAYOUT_H
#define BACKING_MEM_POOL_LAYOUT_H

/*
 * What lies in the shared memory of a pool: for mem_pool.c, and for the test that audits it. It
 * never leaves the processes of one family, so it has no version.
 */

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "backing/mem_pool.h"

#define NO_CHUNK UINT32_MAX
#define CLASS_NONE 0 /* a free chunk; fresh memory is zero, so never-used chunks are free */

/*
 * Memory is asked of the kernel in pieces: a piece at once costs 2 us a page, page by page 3 us,
 * and a whole chunk would be held for the first object of a class.
 */
#define PIECE_BYTES (MEM_CHUNK_BYTES / 8)

#define CHUNK_BITMAP_WORDS 14
#define CHUNK_BITMAP_OBJECTS (CHUNK_BITMAP_WORDS * 64)

/*
 * Steps of about an eighth of a power of two, multiples of 64: a compressed page wastes 6 % on the
 * average. Nothing between 3072 and a page: such pages are stored as they are.
 */
static const uint16_t mem_class_bytes[] = {
	0,    64,   128,  192,	256,  320,  384,  448,	512,  640,  768,  896,	1024,
	1152, 1280, 1408, 1536, 1664, 1792, 1920, 2048, 2304, 2560, 2816, 3072, 4096,
};

#define CLASS_COUNT ARRAY_COUNT(mem_class_bytes)

struct mem_chunk {
	_Atomic uint8_t class; /* changes under the locks of that class and of the chunks */
	_Atomic uint8_t populated; /* a bit a piece; a hint that publishes nothing */
	/* Under the class's lock; `next` of a free chunk under the lock of the chunks. */
	uint16_t used;
	uint16_t hint; /* bitmap words before it are full */
	uint32_t next;
	uint32_t prev;
	uint64_t bitmap[CHUNK_BITMAP_WORDS];
};
_Static_assert(sizeof(struct mem_chunk) == 128, "metadata is 0.05 % of the arena");

struct mem_class {
	alignas(128) pthread_mutex_t lock;
	uint32_t partial; /* chunks of this class with room, newest first */
};

struct mem_pool_shared {
	struct mem_class classes[CLASS_COUNT];
	alignas(128) pthread_mutex_t chunk_lock;
	uint32_t chunk_count_max;
	uint32_t free;		     /* under chunk_lock: chunks of CLASS_NONE below `top` */
	_Atomic uint32_t top;	     /* under chunk_lock: chunks from here on were never used */
	_Atomic uint32_t used_count; /* under chunk_lock: chunks with a class */
	_Atomic uint64_t bytes_held; /* of populated pieces; a kill can leave it a piece off */
	alignas(128) struct mem_chunk chunks[];
};

static inline uint32_t class_object_count(uint32_t class)
{
	uint32_t count = MEM_CHUNK_BYTES / mem_class_bytes[class];
	uint32_t bitmap_bytes;

	if (count <= CHUNK_BITMAP_OBJECTS)
		return count;
	/* The first objects' room holds the bitmap of all. */
	bitmap_bytes = (count + 63) / 64 * 8;
	return count - (bitmap_bytes + mem_class_bytes[class] - 1) / mem_class_bytes[class];
}

static inline uint8_t *chunk_start(const struct mem_pool *pool, uint32_t index)
{
	return pool->arena + (uint64_t)index * MEM_CHUNK_BYTES;
}

static inline uint64_t *chunk_bitmap(const struct mem_pool *pool, uint32_t index, uint32_t class)
{
	if (MEM_CHUNK_BYTES / mem_class_bytes[class] <= CHUNK_BITMAP_OBJECTS)
		return pool->shared->chunks[index].bitmap;
	return (uint64_t *)chunk_start(pool, index);
}

/* Where object 0 begins in its chunk. */
static inline uint32_t class_first_byte(uint32_t class)
{
	uint32_t whole = MEM_CHUNK_BYTES / mem_class_bytes[class];

	return (whole - class_object_count(class)) * mem_class_bytes[class];
}

static inline uint32_t count_objects(const struct mem_pool *pool, uint32_t index, uint32_t class)
{
	const uint64_t *bitmap = chunk_bitmap(pool, index, class);
	uint32_t word_count = (class_object_count(class) + 63) / 64;
	uint32_t used = 0;

	for (uint32_t i = 0; i < word_count; i++)
		used += (uint32_t)__builtin_popcountll(bitmap[i]);
	return used;
}

#endif
