/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork in all its forms, on SIZE MiB: a child sees the memory as at the fork while the parent
 * writes on, and what it writes stays its own. Parts can be named one by one in argv[3].
 */
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>

#include "program.h"

#define TREE_DEPTH 3
#define TREE_WIDTH 2
#define REPEATS 100
#define WRITERS 2
#define SNAPSHOTS 3

extern char **environ;

static struct arguments arguments;
static const char *self;
static uint8_t *memory; /* arguments.bytes of pattern, one generation a page */
static size_t page_count;
static uint32_t *generations; /* of each page; lies in memory of the same kind */

static void page_fill(size_t page, uint32_t generation)
{
	generations[page] = generation;
	words_fill(memory + page * PAGE, PAGE, page ^ (uint64_t)generation << 32, arguments.seed);
}

static void page_check(size_t page, const char *what)
{
	words_check(memory + page * PAGE, PAGE, page ^ (uint64_t)generations[page] << 32,
		    arguments.seed, what);
}

static void memory_check(const char *what)
{
	for (size_t page = 0; page < page_count; page++)
		page_check(page, what);
}

static void memory_make(void)
{
	page_count = arguments.bytes / PAGE;
	memory = map_anonymous(arguments.bytes);
	generations = calloc(page_count, sizeof(*generations));
	CHECK(generations != NULL);
	for (size_t page = 0; page < page_count; page++)
		page_fill(page, 1);
}

/* Writes every fourth page, others from node to node. */
static void node_write(uint32_t generation)
{
	for (size_t page = generation % 4; page < page_count; page += 4)
		page_fill(page, generation);
}

static void tree_node(int depth, uint32_t generation)
{
	pid_t children[TREE_WIDTH];
	for (int child = 0; depth > 0 && child < TREE_WIDTH; child++) {
		uint32_t childs = generation * (TREE_WIDTH + 1) + (uint32_t)child + 1;
		children[child] = fork();
		if (children[child] == 0) {
			memory_check("child at birth");
			node_write(childs);
			tree_node(depth - 1, childs);
			_exit(0);
		}
		CHECK(children[child] > 0);
		node_write(generation + 1000 + (uint32_t)child);
	}
	memory_check("node");
	for (int child = 0; depth > 0 && child < TREE_WIDTH; child++)
		child_check(children[child], "child in the tree");
	memory_check("node after its children");
}

static void tree(void)
{
	tree_node(TREE_DEPTH, 1);
}

/* Children end in every way; the parent's memory is none the worse. */
static void exits(void)
{
	uint8_t *volatile nowhere = NULL;
	for (int way = 0; way < 6; way++) {
		int status;
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			node_write(2000 + (uint32_t)way);
			page_check((size_t)way, "child about to end");
			switch (way) {
			case 0:
				_exit(7);
			case 1:
				exit(8);
			case 2:
				signal(SIGABRT, SIG_DFL);
				abort();
			case 3:
				raise(SIGKILL);
				break;
			case 4:
				quick_exit(9);
			default:
				*(volatile uint8_t *)nowhere = 1;
			}
		}
		node_write(3000 + (uint32_t)way);
		CHECK(waitpid(pid, &status, 0) == pid);
		static const int codes[] = { 7, 8, 0, 0, 9, 0 };
		static const int signals[] = { 0, 0, SIGABRT, SIGKILL, 0, SIGSEGV };
		if ((WIFEXITED(status) ? WEXITSTATUS(status) : 0) != codes[way] ||
		    (WIFSIGNALED(status) ? WTERMSIG(status) : 0) != signals[way])
			fail("exits: way %d ended with status %#x", way, status);
		memory_check("after a child's end");
	}
}

/*
 * A writer stores 1, 2, 3... into its slots in turn, one slot a page. At any instant the slots hold
 * the last values in order, so a snapshot that is not of one instant shows.
 */
struct stream {
	pthread_t thread;
	_Atomic uint64_t *slots;
	size_t slot_count;
};

static _Atomic bool streams_over;

static void *stream_main(void *argument)
{
	struct stream *stream = argument;
	for (uint64_t value = 1; !streams_over; value++)
		atomic_store_explicit(&stream->slots[value % stream->slot_count * WORDS_A_PAGE],
				      value, memory_order_release);
	return NULL;
}

static void stream_check(const struct stream *stream)
{
	uint64_t newest = 0;
	for (size_t slot = 0; slot < stream->slot_count; slot++) {
		uint64_t value = stream->slots[slot * WORDS_A_PAGE];
		newest = value > newest ? value : newest;
	}
	for (size_t slot = 0; slot < stream->slot_count; slot++) {
		uint64_t value = stream->slots[slot * WORDS_A_PAGE];
		uint64_t back = (newest % stream->slot_count + stream->slot_count - slot) %
				stream->slot_count;
		uint64_t expected = newest >= back ? newest - back : 0;
		if (value != expected)
			fail("snapshot: newest is %llu, slot %zu holds %llu, expected %llu",
			     (unsigned long long)newest, slot, (unsigned long long)value,
			     (unsigned long long)expected);
	}
}

static struct stream streams[WRITERS];

static void *stream_forker(void *argument)
{
	for (int round = 0; round < SNAPSHOTS; round++) {
		pid_t pid = fork();
		if (pid == 0) {
			for (size_t stream = 0; stream < WRITERS; stream++)
				stream_check(&streams[stream]);
			memory_check("snapshot");
			/* And once more: the parent still writes. */
			for (size_t stream = 0; stream < WRITERS; stream++)
				stream_check(&streams[stream]);
			_exit(0);
		}
		child_check(pid, "child of a thread among writers");
		usleep(10000);
	}
	return NULL;
}

static void writers(void)
{
	pthread_t forker;
	streams_over = false;
	for (size_t stream = 0; stream < WRITERS; stream++) {
		streams[stream].slot_count = page_count / 8;
		streams[stream].slots = map_anonymous(streams[stream].slot_count * PAGE);
		CHECK(pthread_create(&streams[stream].thread, NULL, stream_main,
				     &streams[stream]) == 0);
	}
	CHECK(pthread_create(&forker, NULL, stream_forker, NULL) == 0);
	CHECK(pthread_join(forker, NULL) == 0);
	streams_over = true;
	for (size_t stream = 0; stream < WRITERS; stream++) {
		CHECK(pthread_join(streams[stream].thread, NULL) == 0);
		stream_check(&streams[stream]);
		munmap(streams[stream].slots, streams[stream].slot_count * PAGE);
	}
	memory_check("after the writers");
}

/* Arguments and environment for a new image, in memory that has been pushed far. */
static char **far_vector(const char *first, const char *second)
{
	char **vector = map_anonymous(PAGE);
	char *strings = map_anonymous(2 * PAGE);
	strcpy(strings, first);
	strcpy(strings + PAGE, second);
	vector[0] = strings;
	vector[1] = strings + PAGE;
	memory_check("pushing the vector out");
	return vector;
}

static pid_t vfork_exec(char **vector)
{
	pid_t pid = vfork();
	if (pid == 0) {
		execv(vector[0], vector);
		_exit(127);
	}
	return pid;
}

static void spawn(void)
{
	char line[64] = "";
	for (int round = 0; round < 10; round++) {
		char **vector = far_vector(self, "child");
		pid_t pid;
		child_check(vfork_exec(vector), "vfork and exec");
		CHECK(posix_spawn(&pid, self, NULL, NULL, vector, environ) == 0);
		child_check(pid, "posix_spawn");
		CHECK(system("test $((6 * 7)) = 42") == 0);
		FILE *pipe = popen("echo far; cat /dev/null", "r");
		CHECK(pipe != NULL && fgets(line, sizeof(line), pipe) == line);
		CHECK(strcmp(line, "far\n") == 0 && pclose(pipe) == 0);
		munmap(vector[0], 2 * PAGE);
		munmap(vector, PAGE);
		node_write(4000 + (uint32_t)round);
	}
	int status = 0;
	char *nothing[] = { (char *)"/nonexistent/program", NULL };
	pid_t pid = vfork_exec(nothing);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 127);
	memory_check("after spawning");
}

/* Streams with unwritten bytes in far buffers: both processes have them. */
static void stdio(void)
{
	size_t buffer_bytes = 256 * 1024;
	int fd = temporary_file(O_APPEND);
	CHECK(fd >= 0);
	FILE *file = fdopen(fd, "w");
	char *buffer = malloc(buffer_bytes);
	CHECK(file != NULL && setvbuf(file, buffer, _IOFBF, buffer_bytes) == 0);
	size_t bytes = 0;
	for (int line = 0; line < 5000; line++)
		bytes += (size_t)fprintf(file, "line %d of the buffer\n", line);
	memory_check("pushing the buffer out");
	pid_t pid = fork();
	if (pid == 0) {
		bytes += (size_t)fprintf(file, "the child\n");
		_exit(fflush(file) == 0 ? 0 : 1);
	}
	child_check(pid, "stdio child");
	CHECK(fprintf(file, "the parent\n") == 11 && fflush(file) == 0);
	off_t length = lseek(fd, 0, SEEK_END);
	if (length != (off_t)(2 * bytes + 10 + 11))
		fail("stdio: the file has %lld bytes, expected %zu", (long long)length,
		     2 * bytes + 21);
	fclose(file);
	free(buffer);
}

static size_t descriptors_count(void)
{
	size_t count = 0;
	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void repeat(void)
{
	size_t before = descriptors_count();
	for (uint32_t round = 0; round < REPEATS; round++) {
		size_t page = mix(round) % page_count;
		pid_t pid = fork();
		if (pid == 0) {
			page_check(page, "repeated child");
			page_fill(page, 5000 + round);
			page_check(page, "repeated child's own");
			_exit(0);
		}
		page_fill(mix(round + 1) % page_count, 6000 + round);
		child_check(pid, "repeated fork");
	}
	size_t after = descriptors_count();
	if (after > before)
		fail("repeat: %zu descriptors before, %zu after %d forks", before, after, REPEATS);
	memory_check("after repeated forks");
}

/* Many at once, each reading everything. */
static void crowd(void)
{
	pid_t children[8];
	for (uint32_t child = 0; child < 8; child++) {
		children[child] = fork();
		if (children[child] == 0) {
			memory_check("in the crowd");
			node_write(7000 + child);
			memory_check("in the crowd, own");
			_exit(0);
		}
		CHECK(children[child] > 0);
	}
	node_write(8000);
	for (int child = 0; child < 8; child++)
		child_check(children[child], "crowd");
	memory_check("after the crowd");
}

/* _Fork runs no atfork handlers; the child may do only what is safe in a signal handler. */
static void raw_fork(void)
{
	pid_t pid = _Fork();
	if (pid == 0) {
		memory_check("_Fork child");
		_exit(0);
	}
	node_write(9000);
	child_check(pid, "_Fork");
	memory_check("after _Fork");
}

/* The parent dies first; the orphan goes on. */
static void orphan(void)
{
	int ends[2];
	char answer = 0;
	CHECK(pipe(ends) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		pid_t parent = getpid();
		if (fork() == 0) {
			while (getppid() == parent)
				usleep(1000);
			usleep(50000);
			memory_check("orphan");
			node_write(9500);
			memory_check("orphan, own");
			_exit(write(ends[1], "y", 1) == 1 ? 0 : 1);
		}
		_exit(0);
	}
	child_check(pid, "parent of the orphan");
	close(ends[1]);
	CHECK(read(ends[0], &answer, 1) == 1 && answer == 'y');
	close(ends[0]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "tree", tree },   { "exits", exits },	      { "writers", writers },
		{ "spawn", spawn }, { "stdio", stdio },	      { "repeat", repeat },
		{ "crowd", crowd }, { "raw_fork", raw_fork }, { "orphan", orphan },
	};
	if (argc == 2 && strcmp(argv[1], "child") == 0)
		return 0;
	arguments = arguments_parse(argc, argv);
	self = argv[0];
	memory_make();
	for (size_t part = 0; part < sizeof(parts) / sizeof(*parts); part++)
		if (part_wanted(argc, argv, parts[part].name))
			parts[part].run();
	memory_check("at the end");
	puts("ok");
	return 0;
}
