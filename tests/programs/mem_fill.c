/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The malloc family: SIZE MiB in chunks of random sizes, every byte verified, through rounds of
 * free, realloc, calloc and aligned allocation.
 */
#include <malloc.h>

#include "program.h"

#define CHUNKS_MAX 200000
#define CHUNK_BYTES_MAX (256 * 1024ul)
#define HUGE_BYTES_MAX (12 * MIB)
#define ROUNDS 3

struct chunk {
	uint8_t *memory;
	size_t bytes; /* all of it filled with the pattern */
	uint64_t generation;
};

struct fill {
	struct chunk *chunks;
	size_t count;
	size_t live_bytes;
	size_t limit_bytes;
	uint64_t generation;
	uint64_t seed;
	struct random random;
};

static size_t size_random(struct fill *fill)
{
	if (random_below(&fill->random, 500) == 0)
		return random_below(&fill->random, HUGE_BYTES_MAX);
	return random_skewed(&fill->random, CHUNK_BYTES_MAX);
}

static void chunk_write(struct fill *fill, struct chunk *chunk, size_t bytes)
{
	/* The whole usable size belongs to the caller, so use it now and then. */
	size_t usable = malloc_usable_size(chunk->memory);
	if (usable < bytes)
		fail("malloc_usable_size of %p is %zu, %zu were asked for", (void *)chunk->memory,
		     usable, bytes);
	chunk->bytes = random_below(&fill->random, 4) == 0 ? usable : bytes;
	chunk->generation = ++fill->generation;
	words_fill(chunk->memory, chunk->bytes, chunk->generation, fill->seed);
	fill->live_bytes += chunk->bytes;
}

static void chunk_check(const struct fill *fill, const struct chunk *chunk)
{
	words_check(chunk->memory, chunk->bytes, chunk->generation, fill->seed, "chunk");
}

static uint8_t *allocate_aligned(struct fill *fill, size_t bytes)
{
	size_t alignment = 1ul << (4 + random_below(&fill->random, 18)); /* 16 B to 2 MiB */
	void *memory = NULL;
	switch (random_below(&fill->random, 3)) {
	case 0:
		memory = aligned_alloc(alignment, (bytes + alignment - 1) & ~(alignment - 1));
		break;
	case 1:
		CHECK(posix_memalign(&memory, alignment, bytes) == 0);
		break;
	default:
		memory = memalign(alignment, bytes);
	}
	if (memory == NULL || (uintptr_t)memory % alignment != 0)
		fail("aligned allocation of %zu at %zu gave %p", bytes, alignment, memory);
	return memory;
}

static void chunk_make(struct fill *fill, struct chunk *chunk)
{
	size_t bytes = size_random(fill);
	switch (random_below(&fill->random, 20)) {
	case 0:
		chunk->memory = allocate_aligned(fill, bytes);
		break;
	case 1:
	case 2:
		chunk->memory = calloc(1, bytes);
		if (chunk->memory != NULL && !bytes_are_zero(chunk->memory, bytes))
			fail("calloc of %zu is not zero", bytes);
		break;
	case 3:
		chunk->memory = calloc(bytes / 24 + 1, 24);
		if (chunk->memory != NULL && !bytes_are_zero(chunk->memory, (bytes / 24 + 1) * 24))
			fail("calloc of %zu times 24 is not zero", bytes / 24 + 1);
		break;
	default:
		chunk->memory = malloc(bytes);
	}
	if (chunk->memory == NULL)
		fail("allocation of %zu bytes failed: %s", bytes, strerror(errno));
	chunk_write(fill, chunk, bytes);
}

static void chunk_free(struct fill *fill, struct chunk *chunk)
{
	chunk_check(fill, chunk);
	fill->live_bytes -= chunk->bytes;
	errno = 4711;
	free(chunk->memory);
	CHECK(errno == 4711);
	*chunk = fill->chunks[--fill->count];
}

static void chunk_resize(struct fill *fill, struct chunk *chunk)
{
	size_t bytes = random_below(&fill->random, 4) == 0 ? chunk->bytes * 2 : size_random(fill);
	if (fill->live_bytes + bytes > fill->limit_bytes + HUGE_BYTES_MAX || bytes == 0)
		bytes = 1;
	size_t kept = bytes < chunk->bytes ? bytes : chunk->bytes;
	uint8_t *memory = random_below(&fill->random, 2) ? realloc(chunk->memory, bytes)
							 : reallocarray(chunk->memory, bytes, 1);
	CHECK(memory != NULL);
	chunk->memory = memory;
	words_check(memory, kept, chunk->generation, fill->seed, "realloc");
	fill->live_bytes -= chunk->bytes;
	chunk_write(fill, chunk, bytes);
}

static void fill_up(struct fill *fill)
{
	while (fill->live_bytes < fill->limit_bytes && fill->count < CHUNKS_MAX)
		chunk_make(fill, &fill->chunks[fill->count++]);
}

static void check_all(const struct fill *fill)
{
	for (size_t index = 0; index < fill->count; index++)
		chunk_check(fill, &fill->chunks[index]);
}

static void churn(struct fill *fill)
{
	size_t operations = fill->count / 2;
	for (size_t done = 0; done < operations && fill->count > 0; done++) {
		struct chunk *chunk = &fill->chunks[random_below(&fill->random, fill->count)];
		if (random_below(&fill->random, 3) == 0)
			chunk_resize(fill, chunk);
		else
			chunk_free(fill, chunk);
	}
}

/* One block that grows and shrinks over huge sizes, where allocators use mremap. */
static void huge_block(struct fill *fill)
{
	size_t bytes = 1;
	uint64_t generation = ++fill->generation;
	uint8_t *memory = malloc(bytes);
	words_fill(memory, bytes, generation, fill->seed);
	for (int step = 0; step < 16; step++) {
		size_t next = 1 + random_below(&fill->random, fill->limit_bytes / 3);
		memory = realloc(memory, next);
		CHECK(memory != NULL);
		words_check(memory, bytes < next ? bytes : next, generation, fill->seed, "huge");
		if (next > bytes)
			words_fill(memory, next, generation, fill->seed);
		bytes = next;
	}
	free(memory);
}

static void refusals(void)
{
	volatile size_t too_much = (size_t)PTRDIFF_MAX + 1; /* the compiler would warn */
	uint8_t *memory = malloc(100);
	words_fill(memory, 100, 1, 1);
	errno = 0;
	CHECK(malloc(too_much) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(calloc(too_much, 16) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(realloc(memory, too_much) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(reallocarray(memory, too_much, 3) == NULL && errno == ENOMEM);
	words_check(memory, 100, 1, 1, "after refused realloc");
	void *aligned = NULL;
	CHECK(posix_memalign(&aligned, 3, 100) == EINVAL && aligned == NULL);
	free(memory);
	void *nothing = malloc(0);
	CHECK(nothing != NULL);
	free(nothing);
	free(NULL);
	memory = realloc(NULL, 10);
	CHECK(memory != NULL);
	free(memory);
	memory = valloc(PAGE + 1);
	CHECK(memory != NULL && (uintptr_t)memory % PAGE == 0);
	free(memory);
	memory = pvalloc(1);
	CHECK(memory != NULL && (uintptr_t)memory % PAGE == 0 &&
	      malloc_usable_size(memory) >= PAGE);
	free(memory);
	char *text = strdup("plain words");
	CHECK(strcmp(text, "plain words") == 0);
	free(text);
	CHECK(malloc_usable_size(NULL) == 0);
	malloc_trim(0);
}

int main(int argc, char **argv)
{
	struct arguments arguments = arguments_parse(argc, argv);
	struct fill fill = { .limit_bytes = arguments.bytes, .seed = arguments.seed };
	fill.random.state = mix(arguments.seed);
	fill.chunks = malloc(CHUNKS_MAX * sizeof(struct chunk));
	CHECK(fill.chunks != NULL);
	refusals();
	for (int round = 0; round < ROUNDS; round++) {
		fill_up(&fill);
		check_all(&fill);
		churn(&fill);
		check_all(&fill);
	}
	while (fill.count > 0)
		chunk_free(&fill, &fill.chunks[random_below(&fill.random, fill.count)]);
	huge_block(&fill);
	free(fill.chunks);
	puts("ok");
	return 0;
}
