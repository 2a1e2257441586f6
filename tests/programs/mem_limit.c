/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches a process from outside: mem_limit PID MS START-END... prints the largest sum of resident
 * bytes of the ranges (hexadecimal) that any look at /proc/PID/smaps found, looking every MS
 * milliseconds until the process is gone. Its threads stand still during a look: a page that moved
 * meanwhile from a range that was read to one that was not yet would count twice. By ptrace, as a
 * SIGSTOP would stop whoever waits for the process too.
 */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <sys/ptrace.h>

#include "program.h"

#define RANGES_MAX 8
#define THREADS_MAX 256
/* A thread that waits in the kernel for a page cannot stop before it has it, and moves none. */
#define STOP_TRIES 20

struct range {
	uint64_t start;
	uint64_t end;
};

static struct range ranges[RANGES_MAX];
static int range_count;

static bool range_holds(uint64_t start, uint64_t end)
{
	for (int index = 0; index < range_count; index++)
		if (start < ranges[index].end && end > ranges[index].start)
			return true;
	return false;
}

/* False when the process is gone. */
static bool look(const char *path, uint64_t *ret_bytes)
{
	char line[512];
	bool inside = false, any = false;
	uint64_t bytes = 0;
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		uint64_t start, end, kib;
		any = true;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
			inside = range_holds(start, end);
		else if (inside && sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
			bytes += kib * 1024;
	}
	fclose(file);
	*ret_bytes = bytes;
	return any;
}

struct thread {
	pid_t id;
	bool stopped;
	int signal; /* that it was about to take */
};

static struct thread threads[THREADS_MAX];
static int thread_count;

static bool is_handler(long process, pid_t id)
{
	char path[64], name[32] = "";
	snprintf(path, sizeof(path), "/proc/%ld/task/%d/comm", process, id);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return false;
	bool found = fgets(name, sizeof(name), file) != NULL && strcmp(name, "perdure\n") == 0;
	fclose(file);
	return found;
}

/* Takes hold of the process's threads, of its handlers or of all others. */
static void seize(long process, bool handlers)
{
	char path[64];
	struct dirent *entry;
	snprintf(path, sizeof(path), "/proc/%ld/task", process);
	DIR *folder = opendir(path);
	if (folder == NULL)
		return;
	while ((entry = readdir(folder)) != NULL && thread_count < THREADS_MAX) {
		pid_t id = isdigit(entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;
		if (id == 0 || is_handler(process, id) != handlers)
			continue;
		if (ptrace(PTRACE_SEIZE, id, NULL, NULL) == 0) {
			threads[thread_count++] = (struct thread){ .id = id };
			ptrace(PTRACE_INTERRUPT, id, NULL, NULL);
		}
	}
	closedir(folder);
}

/* True when the thread stands still, or is no more. */
static bool has_stopped(struct thread *thread)
{
	int status;
	if (thread->id == 0 || thread->stopped)
		return true;
	pid_t got = waitpid(thread->id, &status, __WALL | WNOHANG);
	if (got == 0)
		return false;
	if (got < 0 || !WIFSTOPPED(status)) {
		thread->id = 0;
		return true;
	}
	thread->stopped = true;
	thread->signal = status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
	return true;
}

static bool all_stopped(int from)
{
	bool all = true;
	for (int index = from; index < thread_count; index++)
		all = has_stopped(&threads[index]) && all;
	return all;
}

/* The program's threads first: what they wait for is brought by the handlers. */
static void hold(long process)
{
	thread_count = 0;
	for (int handlers = 0; handlers < 2; handlers++) {
		int from = thread_count;
		seize(process, handlers == 1);
		for (int try = 0; !all_stopped(from) && (handlers == 1 || try < STOP_TRIES); try++)
			usleep(500);
	}
}

static void let_go(void)
{
	bool again;
	do {
		again = false;
		/* From the last: the handlers must go on before a waiting thread can stop. */
		for (int index = thread_count - 1; index >= 0; index--) {
			struct thread *thread = &threads[index];
			if (!has_stopped(thread)) {
				again = true;
			} else if (thread->id != 0) {
				ptrace(PTRACE_DETACH, thread->id, NULL, (long)thread->signal);
				thread->id = 0;
			}
		}
		if (again)
			usleep(500);
	} while (again);
}

/* False when the process is gone. */
static bool look_still(long process, const char *path, uint64_t *ret_bytes)
{
	hold(process);
	bool any = look(path, ret_bytes);
	let_go();
	return any;
}

int main(int argc, char **argv)
{
	char path[64];
	if (argc < 4 || argc > 3 + RANGES_MAX) {
		dprintf(STDERR_FILENO, "usage: %s PID MS START-END...\n", argv[0]);
		return 2;
	}
	long process = strtol(argv[1], NULL, 10);
	snprintf(path, sizeof(path), "/proc/%ld/smaps", process);
	for (int index = 3; index < argc; index++, range_count++)
		if (sscanf(argv[index], "%" SCNx64 "-%" SCNx64, &ranges[range_count].start,
			   &ranges[range_count].end) != 2)
			fail("bad range \"%s\"", argv[index]);
	uint64_t most = 0, looks = 0, bytes = 0;
	while (look_still(process, path, &bytes)) {
		most = bytes > most ? bytes : most;
		looks++;
		usleep((useconds_t)strtoul(argv[2], NULL, 10) * 1000);
	}
	printf("%" PRIu64 " bytes at most in %" PRIu64 " looks\n", most, looks);
	return looks > 0 ? 0 : 1;
}
