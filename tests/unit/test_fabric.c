/* SPDX-License-Identifier: Apache-2.0 */

/* One contract, kept by every fabric: libfabric's tcp and shm, cma, and the simulation. */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "fabric/address.h"
#include "fabric/cluster_key.h"
#include "fabric/sim.h"
#include "suite.h"

#define MEMORY_BYTES (4 * MIB)
#define DEPTH 16
#define LIMIT_NS 5000000000ull

/* libfabric 1.17 forgets some 1,900 bytes of each tcp connection; ours are still told. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libfabric.so";
}

static const struct fabric_module *module;
static const struct fabric_ops *ops;
static struct fabric_target *target;
static struct fabric_channel *channel;
static char *memory;

enum { KIND_TCP, KIND_SHM, KIND_CMA, KIND_SIM, KINDS };

static void set_up(int kind)
{
	struct fabric_target_options options = { .transport = (enum fabric_transport)kind,
						 .host = "127.0.0.1",
						 .memory_bytes = MEMORY_BYTES,
						 .key = 0xfeedfacecafe1234 };
	struct fabric_address address, travelled;
	struct wire_address wire;
	struct error why = { "" };

	ck_assert_msg(fabric_load(&module, &why) == 0, "%s", why.text);
	ops = kind == KIND_SIM ? &fabric_sim_ops : fabric_of(module, (enum fabric_transport)kind);
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
	options.memory = memory;
	ck_assert_msg(ops->target_open(&options, &target, &why) == 0, "%s", why.text);
	ops->target_address(target, &address);
	wire = fabric_address_to_wire(&address);
	ck_assert_int_eq(fabric_address_from_wire(&wire, &travelled), 0);
	ck_assert_msg(ops->channel_open(options.transport, &travelled, DEPTH, &channel, &why) == 0,
		      "%s", why.text);
}

static void tear_down(void)
{
	ops->channel_close(channel);
	ops->target_close(target);
	munmap(memory, MEMORY_BYTES);
}

static void wait_done(unsigned count, struct fabric_done *done)
{
	uint64_t until = clock_now_ns() + LIMIT_NS;
	unsigned got = 0;

	while (got < count) {
		int more = ops->poll(channel, done + got, count - got);

		ck_assert_int_ge(more, 0);
		got += (unsigned)more;
		ops->target_progress(target);
		ck_assert_msg(clock_now_ns() < until, "an operation does not end");
	}
}

static void start(bool writes, void *local, size_t bytes, uint64_t offset,
		  struct fabric_context *context)
{
	uint64_t until = clock_now_ns() + LIMIT_NS;
	int ret;

	do {
		struct fabric_piece piece = { local, bytes, offset };
		struct fabric_done done;

		ret = writes ? ops->write(channel, &piece, 1, context)
			     : ops->read(channel, local, bytes, offset, context);
		if (ret == -EAGAIN) {
			ck_assert_int_eq(ops->poll(channel, &done, 1), 0);
			ops->target_progress(target);
		}
		ck_assert_msg(clock_now_ns() < until, "an operation does not start");
	} while (ret == -EAGAIN);
	ck_assert_int_eq(ret, 0);
}

START_TEST(test_writes_then_reads)
{
	static const size_t sizes[] = { 8, 4096, 20000, 131072 };
	static char local[131072];
	struct fabric_context context;
	struct fabric_done done;

	set_up(_i);
	for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
		size_t bytes = sizes[i];

		memset(local, 'a' + (int)i, bytes);
		start(true, local, bytes, 4096, &context);
		wait_done(1, &done);
		ck_assert_ptr_eq(done.context, &context);
		ck_assert_int_eq(done.result, 0);
		ck_assert_int_eq(memory[4095], 0);
		ck_assert_mem_eq(memory + 4096, local, bytes);
		memset(local, 0, bytes);
		start(false, local, bytes, 4096, &context);
		wait_done(1, &done);
		ck_assert_int_eq(done.result, 0);
		ck_assert_mem_eq(memory + 4096, local, bytes);
	}
	tear_down();
}
END_TEST

START_TEST(test_pieces_go_to_their_places)
{
	static char local[64][64], expected[64 * 192], first[64];
	struct fabric_piece pieces[64];
	struct fabric_context context;
	struct fabric_done done;
	unsigned count;

	set_up(_i);
	count = channel->pieces_max < 64 ? channel->pieces_max : 64;
	ck_assert_uint_ge(count, 1);
	for (unsigned i = 0; i < count; i++) {
		/* In another order than they lie there. */
		pieces[i] = (struct fabric_piece){ local[i], 64, 4096 + (count - 1 - i) * 192 };
		memset(local[i], 1 + (int)i, 64);
		memcpy(expected + (count - 1 - i) * 192, local[i], 64);
	}
	start(false, first, sizeof(first), 0, &context); /* makes the connection */
	wait_done(1, &done);
	ck_assert_int_eq(ops->write(channel, pieces, count, &context), 0);
	memset(pieces, 0xff, sizeof(pieces)); /* the caller's again */
	wait_done(1, &done);
	ck_assert_int_eq(done.result, 0);
	ck_assert_mem_eq(memory + 4096, expected, count * 192);
	tear_down();
}
END_TEST

START_TEST(test_many_at_a_time)
{
	static char local[DEPTH][PAGE_BYTES];
	struct fabric_context contexts[DEPTH];
	struct fabric_done done[DEPTH];
	unsigned seen = 0;

	set_up(_i);
	for (unsigned i = 0; i < DEPTH; i++)
		memset(memory + i * PAGE_BYTES, (int)i + 1, PAGE_BYTES);
	for (unsigned round = 0; round < 50; round++) {
		memset(local, 0, sizeof(local));
		seen = 0;
		/* The first makes the connection; then all go off together. */
		start(false, local[0], PAGE_BYTES, 0, &contexts[0]);
		wait_done(1, done);
		for (unsigned i = 0; i < DEPTH; i++)
			ck_assert_int_eq(ops->read(channel, local[i], PAGE_BYTES, i * PAGE_BYTES,
						   &contexts[i]),
					 0);
		wait_done(DEPTH, done);
		for (unsigned i = 0; i < DEPTH; i++) {
			ck_assert_int_eq(done[i].result, 0);
			seen |= 1u << (done[i].context - contexts);
			ck_assert_mem_eq(local[i], memory + i * PAGE_BYTES, PAGE_BYTES);
		}
		ck_assert_uint_eq(seen, (1u << DEPTH) - 1);
	}
	tear_down();
}
END_TEST

static unsigned count_entries(const char *folder, const char *prefix)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned count = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		count += !strncmp(entry->d_name, prefix, strlen(prefix)) && entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void check_cloexec(void)
{
	for (int fd = 3; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);
		char path[64], link[256] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (flags < 0 || readlink(path, link, sizeof(link) - 1) < 0)
			continue;
		if (!strncmp(link, "socket:", 7) || !strncmp(link, "anon_inode:", 11))
			ck_assert_msg(flags & FD_CLOEXEC, "%d (%s) is open for programs", fd, link);
	}
}

/* What the fabric may do to the program that it runs in. */
START_TEST(test_leaves_the_process_alone)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGTERM, SIGINT };
	struct sigaction before[4], after[4];
	char name[64];
	unsigned fds, variables = 0, variables_after = 0;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return; /* such builds load the module without its guard; fabric/module.c */
#endif
	for (unsigned i = 0; i < 4; i++)
		sigaction(signals[i], NULL, &before[i]);
	while (environ[variables])
		variables++;
	set_up(_i);
	fds = count_entries("/proc/self/fd", "");
	ck_assert_uint_eq(count_entries("/proc/self/task", ""), 1);
	check_cloexec();
	for (unsigned i = 0; i < 4; i++) {
		sigaction(signals[i], NULL, &after[i]);
		ck_assert_ptr_eq((void *)before[i].sa_handler, (void *)after[i].sa_handler);
	}
	while (environ[variables_after])
		variables_after++;
	ck_assert_uint_eq(variables, variables_after);
	tear_down();
	snprintf(name, sizeof(name), FABRIC_SHM_PREFIX "%d-", (int)getpid());
	ck_assert_uint_eq(count_entries(FABRIC_SHM_DIR, name), 0);
	/* Opening and closing again leaves no more descriptors than the first time. */
	set_up(_i);
	ck_assert_uint_eq(count_entries("/proc/self/fd", ""), fds);
	tear_down();
}
END_TEST

START_TEST(test_wrong_key_and_foreign_process)
{
	struct fabric_address address;
	struct fabric_channel *other;
	struct error why = { "" };

	set_up(KIND_CMA);
	ops->target_address(target, &address);
	address.key++;
	ck_assert_int_ne(ops->channel_open(FABRIC_CMA, &address, 1, &other, &why), 0);
	ck_assert(why.text[0]);
	tear_down();
}
END_TEST

START_TEST(test_target_that_closes)
{
	struct fabric_context context;
	char local[8];

	set_up(KIND_SIM);
	ops->target_close(target);
	ck_assert_int_eq(ops->read(channel, local, 8, 0, &context), -ECONNRESET);
	ops->channel_close(channel);
	munmap(memory, MEMORY_BYTES);
}
END_TEST

START_TEST(test_mishaps_of_the_simulation)
{
	struct sim_settings settings = { .seed = 7,
					 .delay_polls_max = 9,
					 .fail_per_thousand = 100,
					 .drop_per_thousand = 50,
					 .refuse_per_thousand = 200 };
	struct fabric_context contexts[1000];
	static char local[8];
	unsigned refused = 0, failed = 0, good = 0, in_flight = 0;

	sim_set(&settings);
	set_up(KIND_SIM);
	for (unsigned i = 0; i < 1000; i++) {
		struct fabric_done done[4];
		int ret = ops->read(channel, local, 8, 0, &contexts[i]);
		int count;

		refused += ret == -EAGAIN;
		in_flight += !ret;
		count = ops->poll(channel, done, 4);
		for (int j = 0; j < count; j++) {
			failed += done[j].result == -EIO;
			good += done[j].result == 0;
			in_flight--;
		}
	}
	ck_assert_uint_gt(refused, 100);
	ck_assert_uint_gt(good, 50);
	ck_assert_uint_gt(failed, 5);
	/* What was dropped holds its place until the channel is closed. */
	ck_assert_uint_gt(in_flight, 0);
	tear_down();
	sim_set(&(struct sim_settings){ 0 });
}
END_TEST

static void expect_proof(const char *key, const char *data, const char *hex)
{
	uint8_t proof[FABRIC_PROOF_BYTES];
	char text[2 * FABRIC_PROOF_BYTES + 1];

	ck_assert_int_eq(
		module->proof(key, strlen(key), data, 4, data + 4, strlen(data + 4), proof), 0);
	for (unsigned i = 0; i < FABRIC_PROOF_BYTES; i++)
		sprintf(text + 2 * i, "%02x", proof[i]);
	ck_assert_str_eq(text, hex);
}

/* The second test case of RFC 4231, and the empty key. */
START_TEST(test_proof)
{
	struct error why;

	ck_assert_int_eq(fabric_load(&module, &why), 0);
	expect_proof("Jefe", "what do ya want for nothing?",
		     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	expect_proof("", "what do ya want for nothing?",
		     "76d9e7194e7dbc3aa00bbe8ffb9f6fcb5a932170f971f948bb2ab61607d2b9d6");
}
END_TEST

START_TEST(test_stale_files_are_cleaned)
{
	char stale[96], own[96], foreign[96];
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	waitpid(child, NULL, 0);
	snprintf(stale, sizeof(stale), "%s/%s%d-0:0:0", FABRIC_SHM_DIR, FABRIC_SHM_PREFIX,
		 (int)child);
	snprintf(own, sizeof(own), "%s/%s%d-7", FABRIC_SHM_DIR, FABRIC_SHM_PREFIX, (int)getpid());
	snprintf(foreign, sizeof(foreign), "%s/%sx%d-7", FABRIC_SHM_DIR, FABRIC_SHM_PREFIX,
		 (int)child);
	close(open(stale, O_CREAT | O_WRONLY, 0600));
	close(open(own, O_CREAT | O_WRONLY, 0600));
	close(open(foreign, O_CREAT | O_WRONLY, 0600));
	ck_assert_int_ge(fabric_clean_stale(), 1);
	ck_assert_int_ne(access(stale, F_OK), 0);
	ck_assert_int_eq(access(own, F_OK), 0);
	ck_assert_int_eq(access(foreign, F_OK), 0);
	unlink(own);
	unlink(foreign);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fabric");
	TCase *tcase = tcase_create("fabric");

	tcase_set_timeout(tcase, 30);
	tcase_add_loop_test(tcase, test_writes_then_reads, 0, KINDS);
	tcase_add_loop_test(tcase, test_pieces_go_to_their_places, 0, KINDS);
	tcase_add_loop_test(tcase, test_many_at_a_time, 0, KINDS);
	tcase_add_loop_test(tcase, test_leaves_the_process_alone, 0, KINDS);
	tcase_add_test(tcase, test_wrong_key_and_foreign_process);
	tcase_add_test(tcase, test_target_that_closes);
	tcase_add_test(tcase, test_mishaps_of_the_simulation);
	tcase_add_test(tcase, test_proof);
	tcase_add_test(tcase, test_stale_files_are_cleaned);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
