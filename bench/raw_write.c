/* SPDX-License-Identifier: Apache-2.0 */

/*
 * raw_write FILE sequence|random MIB: how fast the disk takes bytes from whoever wants nothing else
 * of it: io_uring and O_DIRECT, onto a file that was written before. `sequence` is in pieces of
 * 1 MiB, eight at a time; `random` in pages, 32 at a time. The file is made, and written once, when
 * it is not there or too short.
 */

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/random.h"
#include "latency.h"

#define PIECE_BYTES (1u << 20)
#define SEQUENCE_DEPTH 8
#define RANDOM_DEPTH 32

static const char *path;
static int fd;
static uint8_t *buffer; /* SEQUENCE_DEPTH pieces */
static struct io_uring ring;

static void __attribute__((noreturn)) die(const char *words)
{
	fprintf(stderr, "raw_write: %s: %s\n", path, words);
	exit(EXIT_FAILURE);
}

static void send_one(uint64_t offset, uint32_t bytes, uint32_t place)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	io_uring_prep_write(sqe, fd, buffer + (uint64_t)place * bytes, bytes, offset);
	sqe->user_data = place;
	if (io_uring_submit(&ring) != 1)
		die("cannot submit");
}

static uint32_t wait_one(uint32_t bytes)
{
	struct io_uring_cqe *cqe;
	uint32_t place;
	int err = io_uring_wait_cqe(&ring, &cqe);

	if (err)
		die(strerror(-err));
	if (cqe->res != (int)bytes)
		die(cqe->res < 0 ? strerror(-cqe->res) : "a short write");
	place = (uint32_t)cqe->user_data;
	io_uring_cqe_seen(&ring, cqe);
	return place;
}

/* Writes `count` ios of `bytes`, `depth` at a time; returns ns. */
static uint64_t write_all(uint64_t count, uint32_t bytes, uint32_t depth, bool random)
{
	struct random_source source = random_from_seed(latency_now_ns());
	uint64_t begin_ns = latency_now_ns(), sent = 0, done = 0;

	while (done < count) {
		uint32_t place = (uint32_t)sent;

		if (sent >= depth) {
			place = wait_one(bytes);
			done++;
		}
		if (sent < count) {
			uint64_t at = random ? random_below(&source, count) : sent;

			send_one(at * bytes, bytes, place);
			sent++;
		} else if (sent < depth) {
			wait_one(bytes);
			done++;
		}
	}
	return latency_now_ns() - begin_ns;
}

static void open_file(uint64_t bytes)
{
	struct stat status;

	fd = open(path, O_CREAT | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &status))
		die(strerror(errno));
	if ((uint64_t)status.st_size >= bytes)
		return;
	if (posix_fallocate(fd, 0, (off_t)bytes))
		die("no room");
	write_all(bytes / PIECE_BYTES, PIECE_BYTES, SEQUENCE_DEPTH, false);
	if (fdatasync(fd))
		die(strerror(errno));
}

static void fill_buffer(void)
{
	struct random_source source = random_from_seed(latency_now_ns());
	uint64_t *words;

	buffer = mmap(NULL, SEQUENCE_DEPTH * PIECE_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffer == MAP_FAILED)
		die("no memory");
	words = (uint64_t *)buffer;
	for (uint64_t i = 0; i < SEQUENCE_DEPTH * PIECE_BYTES / sizeof(*words); i++)
		words[i] = random_next(&source);
}

int main(int argc, char **argv)
{
	uint64_t bytes, ns, synced_ns;
	bool random;

	if (argc != 4 || (strcmp(argv[2], "sequence") && strcmp(argv[2], "random")))
		return 2;
	path = argv[1];
	random = !strcmp(argv[2], "random");
	bytes = strtoull(argv[3], NULL, 10) << 20;
	fill_buffer();
	if (bytes == 0 || io_uring_queue_init(RANDOM_DEPTH, &ring, 0))
		die("no bytes, or no io_uring");
	open_file(bytes);
	ns = random ? write_all(bytes / PAGE_BYTES, PAGE_BYTES, RANDOM_DEPTH, true)
		    : write_all(bytes / PIECE_BYTES, PIECE_BYTES, SEQUENCE_DEPTH, false);
	synced_ns = latency_now_ns();
	if (fdatasync(fd))
		die(strerror(errno));
	synced_ns = latency_now_ns() - synced_ns + ns;
	printf("{\"phase\": \"raw %s\", \"mb_s\": %.1f, \"synced_mb_s\": %.1f}\n", argv[2],
	       (double)bytes * 1e3 / (double)ns, (double)bytes * 1e3 / (double)synced_ns);
	return EXIT_SUCCESS;
}
