/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_reader.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/descriptor_pass.h"

#define NAME_PREFIX "perdure/run/"

struct run_name {
	char text[64];
};

/* The run's name if this line of /proc/net/unix has one: "perdure/run/" and digits, ".digit". */
static bool name_in_line(const char *line, struct run_name *ret_name)
{
	const char *at = strrchr(line, '@');
	size_t length;

	if (!at || strncmp(at + 1, NAME_PREFIX, strlen(NAME_PREFIX)) != 0)
		return false;
	length = strlen(NAME_PREFIX) + strspn(at + 1 + strlen(NAME_PREFIX), "0123456789.");
	if (length >= sizeof(ret_name->text) || (at[1 + length] != '\n' && at[1 + length] != '\0'))
		return false;
	memcpy(ret_name->text, at + 1, length);
	ret_name->text[length] = '\0';
	return true;
}

static int compare_names(const void *a, const void *b)
{
	long first = atol(((const struct run_name *)a)->text + strlen(NAME_PREFIX));
	long second = atol(((const struct run_name *)b)->text + strlen(NAME_PREFIX));

	return (first > second) - (first < second);
}

/* Every name once: the connections of a socket bear it too. */
static uint32_t list_names(struct run_name names[static RUN_READ_MAX])
{
	FILE *file = fopen("/proc/net/unix", "re");
	struct run_name name;
	char line[512];
	uint32_t count = 0, i;

	while (file && count < RUN_READ_MAX && fgets(line, sizeof(line), file)) {
		if (!name_in_line(line, &name))
			continue;
		for (i = 0; i < count && strcmp(names[i].text, name.text) != 0; i++)
			;
		if (i == count)
			names[count++] = name;
	}
	if (file)
		fclose(file);
	qsort(names, count, sizeof(*names), compare_names);
	return count;
}

static int connect_to(const struct run_name *name, int *ret_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_usec = RUN_READ_WAIT_MS_MAX * 1000 };
	size_t length = strlen(name->text);
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	memcpy(address.sun_path + 1, name->text, length);
	if (connect(fd, (struct sockaddr *)&address,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Root may look at anyone's runs; the checks below hold for those as well. */
static bool is_trusted(int fd)
{
	struct ucred owner;
	socklen_t length = sizeof(owner);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &length) < 0)
		return false;
	return owner.uid == geteuid() || owner.uid == 0 || geteuid() == 0;
}

static int receive_memfd(int fd, int *ret_memfd)
{
	struct run_welcome welcome = { 0 };
	const char hello = RUN_HELLO_READER;
	CLEANUP_FD int memfd = -1;
	ssize_t got;

	if (send(fd, &hello, 1, MSG_NOSIGNAL) != 1)
		return -errno;
	got = descriptor_receive(fd, &welcome, sizeof(welcome), &memfd, 0);
	if (got < 0)
		return (int)got;
	if (got != sizeof(welcome) || welcome.version != RUN_SEGMENT_VERSION || memfd < 0)
		return -EPROTO;
	*ret_memfd = take_fd(&memfd);
	return 0;
}

static int map_segment(int memfd, const struct run_segment **ret_segment)
{
	const struct run_segment *segment;
	struct stat st;
	int seals = fcntl(memfd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EPROTO;
	if (fstat(memfd, &st) < 0 || st.st_size != sizeof(*segment))
		return -EPROTO;
	segment = mmap(NULL, sizeof(*segment), PROT_READ, MAP_SHARED, memfd, 0);
	if (segment == MAP_FAILED)
		return -errno;
	if (segment->magic != RUN_SEGMENT_MAGIC || segment->version != RUN_SEGMENT_VERSION) {
		munmap((void *)segment, sizeof(*segment));
		return -EPROTO;
	}
	*ret_segment = segment;
	return 0;
}

static int open_one(const struct run_name *name, struct run_reader *ret_reader)
{
	CLEANUP_FD int fd = -1;
	CLEANUP_FD int memfd = -1;
	int rc = connect_to(name, &fd);

	if (rc == 0 && !is_trusted(fd))
		rc = -EPERM;
	if (rc == 0)
		rc = receive_memfd(fd, &memfd);
	if (rc == 0)
		rc = map_segment(memfd, &ret_reader->segment);
	return rc;
}

uint32_t run_reader_open_all(struct run_reader readers[static RUN_READ_MAX], uint32_t *ret_mute)
{
	static struct run_name names[RUN_READ_MAX];
	uint32_t count = list_names(names), opened = 0, i;
	int rc;

	*ret_mute = 0;
	for (i = 0; i < count; i++) {
		rc = open_one(&names[i], &readers[opened]);
		if (rc == 0)
			opened++;
		/* Gone since it was listed, or another user's, who does not answer us. */
		else if (rc != -ECONNREFUSED && rc != -ENOENT && rc != -EPERM)
			(*ret_mute)++;
	}
	return opened;
}

void run_reader_close_all(struct run_reader *readers, uint32_t count)
{
	uint32_t i;

	for (i = 0; i < count; i++)
		munmap((void *)readers[i].segment, sizeof(*readers[i].segment));
}
