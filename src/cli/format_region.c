/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/format_region.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "format/le.h"

#define STEP_BYTES (1u << 20)
#define WORDS_BYTES 4096
#define EXT4_MAGIC 0xef53u
#define BLOCK_BYTES_MAX 4096u

/* What of ext4's super block, 1024 bytes into the device, matters here. */
struct super_block {
	uint8_t before[24];
	le32 log_block_bytes; /* above 1024 */
	uint8_t between[28];
	le16 magic;
};
_Static_assert(offsetof(struct super_block, magic) == 56, "as ext4 has it");

static bool read_super_block(int fd, struct super_block *ret_block)
{
	return pread(fd, ret_block, sizeof(*ret_block), 1024) == sizeof(*ret_block) &&
	       le16_get(ret_block->magic) == EXT4_MAGIC;
}

int region_block_bytes(int fd, const char *name, uint32_t *ret_bytes, struct error *why)
{
	struct super_block block;
	uint32_t shift;

	if (!read_super_block(fd, &block))
		return error_set(why, -EINVAL,
				 "region \"%s\" has no ext4 file system; --format makes one", name);
	shift = le32_get(block.log_block_bytes);
	*ret_bytes = shift < 2 ? 1024u << shift : BLOCK_BYTES_MAX;
	return 0;
}

/* 1: all zeros, 0: not, or -errno. */
static int is_empty(int fd)
{
	CLEANUP_FREE char *bytes = malloc(STEP_BYTES);
	off_t at = 0;
	ssize_t got;

	if (!bytes)
		return -ENOMEM;
	while ((got = pread(fd, bytes, STEP_BYTES, at)) > 0) {
		/* The first is zero, and each is like the one before it. */
		if (bytes[0] || memcmp(bytes, bytes + 1, (size_t)got - 1))
			return 0;
		at += got;
	}
	return got < 0 ? -errno : 1;
}

/* Runs it with what it prints in `ret_words`; what waitpid(2) says of it, or -errno. */
static int run(char *const argv[], char ret_words[WORDS_BYTES])
{
	posix_spawn_file_actions_t actions;
	extern char **environ;
	int pipe_fds[2], status, err;
	size_t length = 0;
	ssize_t bytes;
	pid_t pid;

	ret_words[0] = '\0';
	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDERR_FILENO);
	err = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	if (err == ENOENT && !strchr(argv[0], '/')) {
		char path[64];

		/* A user's PATH often lacks it. */
		snprintf(path, sizeof(path), "/sbin/%s", argv[0]);
		err = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	}
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fds[1]);
	while (!err &&
	       (bytes = read(pipe_fds[0], ret_words + length, WORDS_BYTES - 1 - length)) > 0)
		length += (size_t)bytes;
	ret_words[length] = '\0';
	close(pipe_fds[0]);
	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return status;
}

/* The first line that says something, made one line. */
static const char *first_line(char *words)
{
	words += strspn(words, "\n");
	words[strcspn(words, "\n")] = '\0';
	return words;
}

int format_region(int fd, const char *path, const char *name, struct error *why)
{
	/*
	 * Nothing is left for later, and nothing discarded: the region's memory stays its own.
	 * Blocks are pages, and few are kept for root.
	 */
	char *argv[] = { "mkfs.ext4",  "-q",
			 "-b",	       "4096",
			 "-m",	       "1",
			 "-E",	       "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
			 (char *)path, NULL };
	struct super_block block;
	char words[WORDS_BYTES];
	int status = is_empty(fd);

	if (status < 0)
		return error_set(why, status, "cannot read \"%s\": %s", path, strerror(-status));
	if (!status && read_super_block(fd, &block))
		return error_set(why, -EEXIST,
				 "region \"%s\" has a file system already: mount it without "
				 "--format",
				 name);
	if (!status)
		return error_set(why, -EEXIST,
				 "region \"%s\" is not empty: --format would destroy what is in "
				 "it; destroy and create it to have it empty",
				 name);
	status = run(argv, words);
	if (status == -ENOENT)
		return error_set(why, -ENOENT, "mkfs.ext4 is not here: install e2fsprogs");
	if (status < 0)
		return error_set(why, status, "cannot run mkfs.ext4: %s", strerror(-status));
	if (status)
		return error_set(why, -EIO, "region \"%s\": mkfs.ext4 failed: %s", name,
				 first_line(words));
	return 0;
}
