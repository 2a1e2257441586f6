/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backing/mem_pool_layout.h"
#include "base/clock.h"
#include "base/own_memory.h"
#include "base/random.h"
#include "suite.h"

#define POOL_BYTES (16 * MIB)
#define TABLE_COUNT 2048
#define STEPS 100000 /* of all trials, 2 s: fewer trials under a sanitizer, where each has more */
#define TRIALS_MIN 8
#define KILL_COUNT 100

/* What processes of the family know of objects: 0, or the offset of one + 1. */
struct table {
	_Atomic uint64_t objects[TABLE_COUNT];
};

static struct mem_pool pool;
static struct table *table;

static void make_pool(void)
{
	struct error why = {0};
	void *memory;

	ck_assert_msg(!mem_pool_create(POOL_BYTES, &pool, &why), "%s", why.text);
	ck_assert_int_eq(own_memory_map_shared(sizeof(*table), &memory), 0);
	table = memory;
}

static void drop_pool(void)
{
	own_memory_unmap(table, sizeof(*table));
	mem_pool_destroy(&pool);
}

/* The order that mem.c keeps: a kill between the two lines costs one object, no more. */
static int put(uint32_t index, uint32_t bytes)
{
	uint64_t offset, old;
	int err = mem_pool_alloc(&pool, bytes, &offset);

	if (err)
		return err;
	old = atomic_exchange(&table->objects[index], offset + 1);
	if (old)
		mem_pool_free(&pool, old - 1);
	return 0;
}

static void drop(uint32_t index)
{
	uint64_t old = atomic_exchange(&table->objects[index], 0);

	if (old)
		mem_pool_free(&pool, old - 1);
}

static bool object_is_allocated(uint64_t offset)
{
	uint32_t index = (uint32_t)(offset / MEM_CHUNK_BYTES);
	uint32_t class = pool.shared->chunks[index].class;
	uint32_t object;

	if (class == CLASS_NONE)
		return false;
	object = (uint32_t)(offset % MEM_CHUNK_BYTES - class_first_byte(class)) /
		 mem_class_bytes[class];
	return chunk_bitmap(&pool, index, class)[object / 64] >> (object % 64) & 1;
}

/* The lists hold each chunk with room once, and nothing else. */
static void check_lists(void)
{
	const struct mem_pool_shared *shared = pool.shared;
	uint64_t listed = 0;

	for (uint32_t class = 1; class < CLASS_COUNT; class++) {
		uint32_t prev = NO_CHUNK;

		for (uint32_t i = shared->classes[class].partial; i != NO_CHUNK;
		     prev = i, i = shared->chunks[i].next) {
			ck_assert_uint_lt(i, shared->top);
			ck_assert_uint_eq(shared->chunks[i].class, class);
			ck_assert_uint_eq(shared->chunks[i].prev, prev);
			ck_assert_uint_lt(shared->chunks[i].used, class_object_count(class));
			ck_assert_uint_le(++listed, shared->top);
		}
	}
	for (uint32_t i = shared->free; i != NO_CHUNK; i = shared->chunks[i].next) {
		ck_assert_uint_lt(i, shared->top);
		ck_assert_uint_eq(shared->chunks[i].class, CLASS_NONE);
		ck_assert_uint_le(++listed, shared->top);
	}
	for (uint32_t i = 0; i < shared->top; i++) {
		uint32_t class = shared->chunks[i].class;

		if (class != CLASS_NONE && shared->chunks[i].used == class_object_count(class))
			listed++;
	}
	ck_assert_uint_eq(listed, shared->top);
}

/* Everything derived agrees with the bits; returns how many objects nobody knows. */
static uint64_t audit(void)
{
	const struct mem_pool_shared *shared = pool.shared;
	uint64_t objects = 0, known = 0;
	uint32_t used_count = 0;

	ck_assert_int_eq(mem_pool_settle(&pool), 0);
	for (uint32_t i = 0; i < shared->top; i++) {
		uint32_t class = shared->chunks[i].class;

		if (class == CLASS_NONE)
			continue;
		used_count++;
		ck_assert_uint_eq(count_objects(&pool, i, class), shared->chunks[i].used);
		objects += shared->chunks[i].used;
	}
	ck_assert_uint_eq(used_count, shared->used_count);
	check_lists();
	for (uint32_t i = 0; i < TABLE_COUNT; i++) {
		if (!table->objects[i])
			continue;
		known++;
		ck_assert(object_is_allocated(table->objects[i] - 1));
	}
	ck_assert_uint_ge(objects, known);
	return objects - known;
}

START_TEST(objects_do_not_overlap)
{
	struct random_source random = random_from_seed((uint64_t)_i);

	make_pool();
	for (int n = 0; n < 20000; n++) {
		uint32_t index = (uint32_t)random_below(&random, TABLE_COUNT);
		uint32_t bytes = 1 + (uint32_t)random_below(&random, _i % 2 ? 300 : PAGE_BYTES);
		uint64_t old = table->objects[index];
		uint64_t *object = old ? (uint64_t *)(pool.arena + old - 1) : NULL;

		/* The first word is the owner's number, the last byte of its size class too. */
		if (object) {
			ck_assert_uint_eq(object[0], index);
			ck_assert_uint_eq(object[mem_pool_object_bytes(&pool, old - 1) / 8 - 1],
					  index);
		}
		if (random_below(&random, 4) == 0) {
			drop(index);
			continue;
		}
		ck_assert_int_eq(put(index, bytes), 0);
		object = (uint64_t *)(pool.arena + table->objects[index] - 1);
		ck_assert_uint_eq((uintptr_t)object % MEM_OBJECT_ALIGN, 0);
		ck_assert_uint_ge(mem_pool_object_bytes(&pool, table->objects[index] - 1), bytes);
		object[0] = index;
		object[mem_pool_object_bytes(&pool, table->objects[index] - 1) / 8 - 1] = index;
	}
	ck_assert_uint_eq(audit(), 0);
	for (uint32_t i = 0; i < TABLE_COUNT; i++)
		drop(i);
	ck_assert_uint_eq(audit(), 0);
	/* Each class keeps one chunk at the most. */
	ck_assert_uint_le(mem_pool_bytes_held(&pool), (CLASS_COUNT - 1) * MEM_CHUNK_BYTES);
	drop_pool();
}
END_TEST

START_TEST(a_full_pool_says_so_and_recovers)
{
	uint32_t count = 0;
	uint64_t offset;

	make_pool();
	table->objects[0] = 0;
	while (count < POOL_BYTES / PAGE_BYTES && !put(count % TABLE_COUNT, PAGE_BYTES))
		count++;
	/* The table is smaller than the pool: fill the rest without it. */
	while (!mem_pool_alloc(&pool, PAGE_BYTES, &offset))
		count++;
	ck_assert_int_eq(mem_pool_alloc(&pool, PAGE_BYTES, &offset), -ENOSPC);
	ck_assert_int_eq(mem_pool_alloc(&pool, 64, &offset), -ENOSPC);
	ck_assert_uint_eq(mem_pool_bytes_held(&pool), POOL_BYTES);
	/* Room of a larger class is used when there is no other. */
	drop(5);
	ck_assert_int_eq(mem_pool_alloc(&pool, 64, &offset), 0);
	ck_assert_uint_eq(mem_pool_object_bytes(&pool, offset), PAGE_BYTES);
	drop_pool();
}
END_TEST

/* Every kind of step: full to partial, a chunk given back, a chunk taken, a plain exchange. */
static void steps_to_be_killed_in(void)
{
	drop(0);
	drop(64);
	put(65, 100);
	put(66, 700);
	put(66, 700);
	drop(66);
}

static void prepare_steps(void)
{
	make_pool();
	for (uint32_t i = 0; i < 65; i++)
		ck_assert_int_eq(put(i, PAGE_BYTES), 0);
}

static pid_t start_stepped(void)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		steps_to_be_killed_in();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		return -1;
	ck_assert(WIFSTOPPED(status));
	return pid;
}

/* Lets the child make so many instructions; the number that it made before it ended. */
static uint64_t step(pid_t pid, uint64_t count)
{
	int status;

	for (uint64_t i = 0; i < count; i++) {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL))
			return i;
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status)) {
			ck_assert_int_eq(status, 0);
			return i;
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return count;
}

/* A switch between processors at each step would make it ten times slower. */
static void stay_on_one_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

START_TEST(a_kill_at_any_instruction_costs_one_object_at_most)
{
	struct random_source random = random_from_seed(3);
	uint64_t instructions, trials;
	pid_t pid;

	stay_on_one_cpu();
	prepare_steps();
	pid = start_stepped();
	if (pid < 0) {
		drop_pool();
		puts("skipped: ptrace is not permitted");
		return;
	}
	instructions = step(pid, UINT64_MAX);
	ck_assert_uint_eq(audit(), 0);
	drop_pool();
	ck_assert_uint_gt(instructions, 0);
	trials = STEPS * 2 / instructions;
	if (trials < TRIALS_MIN)
		trials = TRIALS_MIN;
	for (uint64_t i = 0; i < trials; i++) {
		/* One in each part of the sequence, whatever the seed. */
		uint64_t at = (i * instructions + random_below(&random, instructions)) / trials;

		prepare_steps();
		step(start_stepped(), at);
		ck_assert_msg(audit() <= 1, "objects were lost by a kill at instruction %llu",
			      (unsigned long long)at);
		/* The next one works on with what was left. */
		steps_to_be_killed_in();
		ck_assert_uint_le(audit(), 1);
		drop_pool();
	}
}
END_TEST

static void churn(uint32_t first, uint32_t count, uint64_t seed)
{
	struct random_source random = random_from_seed(seed);

	for (;;) {
		uint32_t index = first + (uint32_t)random_below(&random, count);

		if (random_below(&random, 3) == 0)
			drop(index);
		else
			put(index, 1 + (uint32_t)random_below(&random, PAGE_BYTES));
	}
}

START_TEST(kills_at_any_time_leave_the_others_whole)
{
	struct random_source random = random_from_seed(7);
	pid_t survivor;
	int status;

	make_pool();
	survivor = fork();
	ck_assert_int_ge(survivor, 0);
	if (survivor == 0)
		churn(0, TABLE_COUNT / 2, 1);
	for (uint64_t i = 0; i < KILL_COUNT; i++) {
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			churn(TABLE_COUNT / 2, TABLE_COUNT / 2, 100 + i);
		usleep((useconds_t)random_below(&random, 4000));
		ck_assert_int_eq(waitpid(survivor, &status, WNOHANG), 0);
		kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	kill(survivor, SIGKILL);
	waitpid(survivor, &status, 0);
	ck_assert_uint_le(audit(), KILL_COUNT + 1);
	drop_pool();
}
END_TEST

static void *hold_lock(void *lock)
{
	pthread_mutex_lock(lock);
	raise(SIGSTOP);
	return NULL;
}

START_TEST(a_stopped_owner_stops_nobody_for_long)
{
	uint64_t offset, start_ns;
	int status;
	pid_t pid;

	make_pool();
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		hold_lock(&pool.shared->classes[1].lock);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	ck_assert(WIFSTOPPED(status));
	start_ns = clock_now_ns();
	ck_assert_int_eq(mem_pool_alloc(&pool, 64, &offset), -ETIMEDOUT);
	ck_assert_uint_lt(clock_now_ns() - start_ns, 10 * MEM_LOCK_WAIT_MS * 1000000ull);
	ck_assert_int_eq(mem_pool_alloc(&pool, 100, &offset), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	ck_assert_int_eq(mem_pool_alloc(&pool, 64, &offset), 0);
	drop_pool();
}
END_TEST

START_TEST(metadata_is_a_quarter_of_a_percent)
{
	/* With pages that do not compress, 64 to a chunk, and 8 bytes of mem.c's table each. */
	uint64_t pages = MEM_CHUNK_BYTES / PAGE_BYTES;

	ck_assert_uint_le((sizeof(struct mem_chunk) + pages * 8) * 400, MEM_CHUNK_BYTES);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mem_pool");
	TCase *tcase = tcase_create("mem_pool");

	tcase_set_timeout(tcase, 110); /* of a busy host: a step is two switches */
	tcase_add_loop_test(tcase, objects_do_not_overlap, 0, 4);
	tcase_add_test(tcase, a_full_pool_says_so_and_recovers);
	tcase_add_test(tcase, a_kill_at_any_instruction_costs_one_object_at_most);
	tcase_add_test(tcase, kills_at_any_time_leave_the_others_whole);
	tcase_add_test(tcase, a_stopped_owner_stops_nobody_for_long);
	tcase_add_test(tcase, metadata_is_a_quarter_of_a_percent);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
