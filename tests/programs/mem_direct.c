/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_DIRECT and io_uring: the device reads and writes pages of ours while other threads push them
 * out. No lost data, no EFAULT. The file holds a known pattern, block by block.
 */
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "program.h"

#define BLOCK (16 * PAGE)
#define DEPTH 16
#define ROUNDS 40

static struct arguments arguments;
static int fd; /* O_DIRECT */
static size_t block_count;
static uint8_t *buffers; /* DEPTH blocks */
static _Atomic bool over;

static uint8_t *buffer(size_t index)
{
	return buffers + index * BLOCK;
}

static void block_check(size_t index, uint64_t block, const char *what)
{
	words_check(buffer(index), BLOCK, block, arguments.seed, what);
}

/* Another thread keeps pushing everything out. */
static void *evictor_main(void *argument)
{
	struct ballast ballast = ballast_make(arguments.bytes);
	while (!over)
		ballast_press(&ballast);
	munmap(ballast.words, ballast.pages * PAGE);
	return NULL;
}

static void file_make(void)
{
	fd = temporary_file(O_DIRECT);
	if (fd < 0)
		skip("O_DIRECT on a file in TMPDIR");
	block_count = arguments.bytes / 4 / BLOCK;
	for (uint64_t block = 0; block < block_count; block++) {
		words_fill(buffer(0), BLOCK, block, arguments.seed);
		ssize_t got = pwrite(fd, buffer(0), BLOCK, (off_t)(block * BLOCK));
		if (got < 0 && errno == EINVAL)
			skip("O_DIRECT on a file in TMPDIR");
		CHECK(got == (ssize_t)BLOCK);
	}
}

static void plain(void)
{
	for (uint64_t block = 0; block < block_count; block++) {
		memset(buffer(block % DEPTH), 0xdd, BLOCK);
		CHECK(pread(fd, buffer(block % DEPTH), BLOCK, (off_t)(block * BLOCK)) ==
		      (ssize_t)BLOCK);
		block_check(block % DEPTH, block, "O_DIRECT pread");
	}
	for (uint64_t block = 0; block < block_count; block++) {
		words_fill(buffer(block % DEPTH), BLOCK, block, arguments.seed);
		CHECK(pwrite(fd, buffer(block % DEPTH), BLOCK, (off_t)(block * BLOCK)) ==
		      (ssize_t)BLOCK);
	}
}

/* One call that needs as much memory pinned as the whole local limit and more. */
static void large(void)
{
	size_t bytes = block_count * BLOCK;
	uint8_t *memory = map_anonymous(bytes);
	for (int round = 0; round < 3; round++) {
		memset(memory, 0xdd, bytes);
		ssize_t got = pread(fd, memory, bytes, 0);
		CHECK(got == (ssize_t)bytes);
		for (uint64_t block = 0; block < block_count; block++)
			words_check(memory + block * BLOCK, BLOCK, block, arguments.seed, "large");
	}
	munmap(memory, bytes);
}

static void ring_wait(struct io_uring *ring, unsigned count, size_t bytes)
{
	for (unsigned done = 0; done < count; done++) {
		struct io_uring_cqe *entry;
		int result = io_uring_wait_cqe(ring, &entry);
		if (result == -EINTR) {
			done--;
			continue;
		}
		CHECK(result == 0);
		if (entry->res != (int)bytes)
			fail("io_uring: result %d, expected %zu", entry->res, bytes);
		io_uring_cqe_seen(ring, entry);
	}
}

/* DEPTH reads, then DEPTH writes of what was read, all in flight at once. */
static void ring_round(struct io_uring *ring, struct random *random, bool fixed)
{
	uint64_t blocks[DEPTH];
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned index = 0; index < DEPTH; index++) {
			struct io_uring_sqe *entry = io_uring_get_sqe(ring);
			if (pass == 0)
				blocks[index] =
					random_below(random, block_count / DEPTH) * DEPTH + index;
			uint64_t offset = blocks[index] * BLOCK;
			if (pass == 0)
				memset(buffer(index), 0xbb, BLOCK);
			if (pass == 0 && fixed)
				io_uring_prep_read_fixed(entry, fd, buffer(index), BLOCK, offset,
							 (int)index);
			else if (pass == 0)
				io_uring_prep_read(entry, fd, buffer(index), BLOCK, offset);
			else if (fixed)
				io_uring_prep_write_fixed(entry, fd, buffer(index), BLOCK, offset,
							  (int)index);
			else
				io_uring_prep_write(entry, fd, buffer(index), BLOCK, offset);
		}
		CHECK(io_uring_submit(ring) == DEPTH);
		ring_wait(ring, DEPTH, BLOCK);
		for (unsigned index = 0; index < DEPTH; index++)
			block_check(index, blocks[index], fixed ? "fixed buffer" : "io_uring");
	}
}

static void ring(bool fixed)
{
	struct io_uring ring;
	struct random random = { arguments.seed + fixed };
	int result = io_uring_queue_init(DEPTH, &ring, 0);
	if (result == -ENOSYS || result == -EPERM)
		skip("io_uring in this kernel");
	CHECK(result == 0);
	if (fixed) {
		struct iovec parts[DEPTH];
		for (size_t index = 0; index < DEPTH; index++)
			parts[index] = (struct iovec){ buffer(index), BLOCK };
		result = io_uring_register_buffers(&ring, parts, DEPTH);
		if (result != 0)
			fail("io_uring_register_buffers: %s", strerror(-result));
	}
	for (int round = 0; round < ROUNDS; round++)
		ring_round(&ring, &random, fixed);
	io_uring_queue_exit(&ring);
}

/* A read that waits for its data for long, while its buffer is pushed out again and again. */
static void pending_read(void)
{
	struct io_uring ring;
	int ends[2];
	uint8_t *words = map_anonymous(4 * PAGE);
	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	if (io_uring_queue_init(4, &ring, 0) != 0)
		return;
	for (uint64_t round = 0; round < 5; round++) {
		struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
		memset(buffer(0), 0xaa, BLOCK);
		io_uring_prep_read(entry, ends[0], buffer(0), 4 * PAGE, 0);
		CHECK(io_uring_submit(&ring) == 1);
		usleep(200000);
		words_fill(words, 4 * PAGE, round, arguments.seed);
		CHECK(write(ends[1], words, 4 * PAGE) == (ssize_t)(4 * PAGE));
		ring_wait(&ring, 1, 4 * PAGE);
		words_check(buffer(0), 4 * PAGE, round, arguments.seed, "pending read");
	}
	io_uring_queue_exit(&ring);
	close(ends[0]);
	close(ends[1]);
}

/*
 * A mapping moves while a page of it is pinned: it moves or it does not, and what the device has is
 * the program's page still. When the pin is gone it moves.
 */
static void pinned_move(void)
{
	size_t bytes = 64 * PAGE, pinned = 40 * PAGE;
	off_t offset = (off_t)(block_count * BLOCK); /* behind what the other parts use */
	uint8_t *memory = map_anonymous(bytes), *at = map_anonymous(bytes);
	struct iovec part = { memory + pinned, PAGE };
	struct io_uring ring;
	if (io_uring_queue_init(4, &ring, 0) != 0)
		return;
	words_fill(memory, bytes - PAGE, 7, arguments.seed);
	CHECK(io_uring_register_buffers(&ring, &part, 1) == 0);
	usleep(100000); /* the rest is pushed out */
	uint8_t *target = at;
	at = mremap(memory, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	CHECK(at == target || (at == MAP_FAILED && errno == ENOMEM));
	if (at == MAP_FAILED)
		at = memory;
	words_check(at, bytes - PAGE, 7, arguments.seed, "moved with a pin");
	CHECK(bytes_are_zero(at + bytes - PAGE, PAGE));
	words_fill(at + pinned, PAGE, 8, arguments.seed);
	struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
	io_uring_prep_write_fixed(entry, fd, part.iov_base, PAGE, (uint64_t)offset, 0);
	CHECK(io_uring_submit(&ring) == 1);
	ring_wait(&ring, 1, PAGE);
	CHECK(pread(fd, buffer(0), PAGE, offset) == (ssize_t)PAGE);
	words_check(buffer(0), PAGE, 8, arguments.seed, "written from a pinned page");
	CHECK(io_uring_unregister_buffers(&ring) == 0);
	io_uring_queue_exit(&ring);
	memory = map_anonymous(bytes);
	CHECK(mremap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == memory);
	words_check(memory, pinned, 7, arguments.seed, "moved without a pin");
	words_check(memory + pinned, PAGE, 8, arguments.seed, "the page that was pinned");
	CHECK(munmap(memory, bytes) == 0);
}

static void ring_plain(void)
{
	ring(false);
}

static void ring_fixed(void)
{
	ring(true);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{ "plain", plain },	 { "large", large },	      { "ring", ring_plain },
		{ "fixed", ring_fixed }, { "pending", pending_read },
		{ "pinned_move", pinned_move },
	};
	pthread_t evictor;
	arguments = arguments_parse(argc, argv);
	CHECK(posix_memalign((void **)&buffers, 2 * MIB, DEPTH * BLOCK) == 0);
	file_make();
	CHECK(pthread_create(&evictor, NULL, evictor_main, NULL) == 0);
	for (size_t part = 0; part < sizeof(parts) / sizeof(*parts); part++)
		if (part_wanted(argc, argv, parts[part].name))
			parts[part].run();
	over = true;
	CHECK(pthread_join(evictor, NULL) == 0);
	puts("ok");
	return 0;
}
