/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New images, closed descriptors, daemons and libraries: what could pull the ground from under a
 * library that lives in the process.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "program.h"

#define CHAIN_LENGTH 5
#define OTHERS_FROM 512 /* no descriptor that the program did not open lies below */
#define GENERATIONS 3

static struct arguments arguments;
static uint8_t *memory;
static const char *self;
static bool inherited[OTHERS_FROM];
static bool stays_same_user; /* argv[3] is "same-user" */

static void memory_make(uint64_t generation)
{
	memory = malloc(arguments.bytes);
	CHECK(memory != NULL);
	words_fill(memory, arguments.bytes, generation, arguments.seed);
}

/* Reads and writes all of it. */
static void memory_use(const char *what)
{
	static uint64_t generation = 1;
	words_check(memory, arguments.bytes, generation, arguments.seed, what);
	generation++;
	words_fill(memory, arguments.bytes, generation, arguments.seed);
	words_check(memory, arguments.bytes, generation, arguments.seed, what);
}

/* The program starts itself again, deep in its own memory. */
static void chain(int left)
{
	char size[32], seed[32], count[32];
	memory_make((uint64_t)left);
	words_check(memory, arguments.bytes, (uint64_t)left, arguments.seed, "link of the chain");
	if (left == 0)
		return;
	snprintf(size, sizeof(size), "%llu", (unsigned long long)(arguments.bytes / MIB));
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)arguments.seed + 1);
	snprintf(count, sizeof(count), "chain%d", left - 1);
	char *vector[] = { (char *)self, size, seed, count, NULL };
	execv(self, vector);
	fail("exec: %s", strerror(errno));
}

static void in_child(void (*body)(void), const char *what)
{
	pid_t pid = fork();
	if (pid == 0) {
		body();
		memory_use(what);
		_exit(0);
	}
	child_check(pid, what);
}

static void by_loop(void)
{
	struct rlimit limit;
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	for (int fd = 3; fd < (int)limit.rlim_cur && fd < 1 << 20; fd++)
		close(fd);
}

static void by_range(void)
{
	CHECK(close_range(3, ~0u, 0) == 0);
}

static void by_from(void)
{
	closefrom(3);
}

static void by_standard_streams(void)
{
	close(0);
	close(1);
	close(2);
	CHECK(open("/dev/null", O_RDWR) == 0 && dup(0) == 1 && dup(0) == 2);
}

/* Descriptors above those that programs count on may be somebody's who must not lose them. */
static void by_dup2(void)
{
	for (int fd = 3; fd < 1024; fd++)
		CHECK(dup2(2, fd) == fd || (fd >= OTHERS_FROM && errno == EBUSY));
}

static void by_limit(void)
{
	struct rlimit limit = { 3, 3 };
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	errno = 0;
	CHECK(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE);
}

static void by_nothing(void)
{
}

static void by_prctl(void)
{
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_SET_NAME, "renamed") == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (geteuid() == 0 && !stays_same_user)
		CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	/* The child of a process that is another user's by now. */
	in_child(by_nothing, "forked after prctl and setuid");
}

static void by_signal_mask(void)
{
	sigset_t all;
	CHECK(sigfillset(&all) == 0 && sigprocmask(SIG_BLOCK, &all, NULL) == 0);
	for (int number = 1; number < 65; number++)
		signal(number, SIG_IGN); /* those that cannot be are refused */
}

/* All that a daemon does, then work in the grandchild. */
static void by_daemon(void)
{
	int ends[2];
	char answer = 0;
	CHECK(pipe(ends) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		CHECK(setsid() > 0);
		if (fork() != 0)
			_exit(0);
		CHECK(chdir("/") == 0);
		umask(0);
		CHECK(dup2(ends[1], 3) == 3);
		CHECK(close_range(4, ~0u, 0) == 0);
		memory_use("daemon");
		_exit(write(3, "y", 1) == 1 ? 0 : 1);
	}
	child_check(pid, "daemon's parent");
	close(ends[1]);
	CHECK(read(ends[0], &answer, 1) == 1 && answer == 'y');
	close(ends[0]);
}

/* Those of whoever started the program are not close-on-exec, or they would not be here. */
static void note_inherited(void)
{
	for (int fd = 0; fd < OTHERS_FROM; fd++)
		inherited[fd] = fcntl(fd, F_GETFD) == 0;
}

/* How many descriptors there are; none that this program did not open is among the low ones. */
static int descriptors_count(void)
{
	DIR *folder = opendir("/proc/self/fd");
	const struct dirent *entry;
	int count = 0;
	CHECK(folder != NULL);
	while ((entry = readdir(folder)) != NULL) {
		int fd = atoi(entry->d_name);
		char path[64], target[256] = "";
		if (entry->d_name[0] == '.' || fd == dirfd(folder))
			continue;
		count++;
		if (fd >= OTHERS_FROM || inherited[fd])
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		CHECK(readlink(path, target, sizeof(target) - 1) >= 0);
		fail("descriptor %d is open: %s", fd, target);
	}
	closedir(folder);
	return count;
}

/* A child has as many as its parent: what it does not need of the parent's is closed. */
static void generations(int left, int expected)
{
	int count = descriptors_count();
	if (count > expected)
		fail("%d descriptors, %d in the parent", count, expected);
	memory_use("generation");
	if (left == 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		generations(left - 1, count);
		_exit(0);
	}
	child_check(pid, "generation");
	if (descriptors_count() != count)
		fail("%d descriptors, %d before a fork", descriptors_count(), count);
}

static void closed_descriptors(void)
{
	generations(GENERATIONS, descriptors_count());
	in_child(by_loop, "after a close loop");
	in_child(by_range, "after close_range");
	in_child(by_from, "after closefrom");
	in_child(by_standard_streams, "after closing the standard streams");
	in_child(by_dup2, "after dup2 over all descriptors");
	in_child(by_limit, "without any descriptor left");
	in_child(by_daemon, "as a daemon");
	memory_use("parent of those who closed");
}

static void attributes(void)
{
	in_child(by_prctl, "after prctl and setuid");
	in_child(by_signal_mask, "with all signals blocked and ignored");
}

static void *thread_main(void *function)
{
	double (*cosine)(double);
	memcpy(&cosine, &function, sizeof(function));
	uint8_t *own = malloc(MIB);
	words_fill(own, MIB, 3, arguments.seed);
	words_check(own, MIB, 3, arguments.seed, "thread's own");
	free(own);
	return cosine(0.0) == 1.0 ? NULL : (void *)1;
}

/* Libraries that come and go; the first has thread-local storage. */
static void libraries(void)
{
	static const char *const names[] = { "libstdc++.so.6", "libm.so.6", "libgomp.so.1" };
	for (int round = 0; round < 5; round++) {
		for (size_t name = 0; name < 3; name++) {
			void *library = dlopen(names[name], RTLD_NOW | RTLD_LOCAL);
			if (library == NULL)
				continue; /* not installed */
			void *cosine = dlsym(library, "cos"), *result;
			pthread_t thread;
			if (cosine != NULL) {
				CHECK(pthread_create(&thread, NULL, thread_main, cosine) == 0);
				CHECK(pthread_join(thread, &result) == 0 && result == NULL);
			}
			CHECK(dlclose(library) == 0);
		}
	}
	memory_use("after libraries");
}

int main(int argc, char **argv)
{
	arguments = arguments_parse(argc, argv);
	self = argv[0];
	note_inherited();
	if (argc > 3 && strncmp(argv[3], "chain", 5) == 0) {
		chain(atoi(argv[3] + 5));
		puts("ok");
		return 0;
	}
	stays_same_user = argc > 3 && strcmp(argv[3], "same-user") == 0;
	memory_make(1);
	closed_descriptors();
	attributes();
	libraries();
	free(memory);
	chain(CHAIN_LENGTH);
	return 1; /* not reached: the chain's last link ends the process */
}
