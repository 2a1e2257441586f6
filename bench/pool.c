/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What an object of the memory pool costs without the bytes in it, and whether threads are in each
 * other's way: allocates and frees objects of all sizes, on one thread and on two at once, in
 * processor time of a thread.
 */

#include "backing/mem_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"

#define OBJECT_COUNT 4096
#define ROUNDS 2000000

static struct mem_pool pool;

struct worker {
	uint64_t seed;
	double ns;
	uint64_t objects[OBJECT_COUNT];
};

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint64_t take(struct random_source *random)
{
	uint64_t offset;

	if (mem_pool_alloc(&pool, 1 + (uint32_t)random_below(random, 3072), &offset))
		exit(EXIT_FAILURE);
	return offset;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct random_source random = random_from_seed(worker->seed);
	double start_ns;

	for (size_t i = 0; i < OBJECT_COUNT; i++)
		worker->objects[i] = take(&random);
	start_ns = now_ns();
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t *object = &worker->objects[random_below(&random, OBJECT_COUNT)];

		mem_pool_free(&pool, *object);
		*object = take(&random);
	}
	worker->ns = (now_ns() - start_ns) / ROUNDS;
	for (size_t i = 0; i < OBJECT_COUNT; i++)
		mem_pool_free(&pool, worker->objects[i]);
	return NULL;
}

int main(void)
{
	static struct worker workers[2] = {{.seed = 1}, {.seed = 2}};
	pthread_t threads[2];
	struct error why;

	if (mem_pool_create(GIB, &pool, &why)) {
		fprintf(stderr, "pool: %s\n", why.text);
		return EXIT_FAILURE;
	}
	for (int count = 1; count <= 2; count++) {
		for (int i = 0; i < count; i++)
			if (pthread_create(&threads[i], NULL, work, &workers[i]))
				return EXIT_FAILURE;
		for (int i = 0; i < count; i++)
			pthread_join(threads[i], NULL);
		printf("%d thread%s: free and alloc %.0f ns\n", count, count > 1 ? "s at once" : "",
		       workers[0].ns);
	}
	mem_pool_destroy(&pool);
	return 0;
}
