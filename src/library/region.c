/* SPDX-License-Identifier: Apache-2.0 */

/* The library's names are hidden but for those of the public header. */
#pragma GCC visibility push(default)
#include "perdure/region.h"
#pragma GCC visibility pop

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "format/agent.h"
#include "kernel/agent_client.h"
#include "kernel/uffd.h"

#define ANSWER_MS 10000 /* the agent's main thread answers at once, but for a busy host */

_Static_assert(PD_REGION_WORDS_BYTES == ERROR_TEXT_BYTES, "the same words");

struct pd_region {
	void *memory;
	size_t bytes;
	uint32_t slot;
	int kept_fd;	/* of who joined a region that is restoring (format/agent.h), or -1 */
	const struct agent_pulse *pulse;
};

static int call(int socket, const struct agent_request *request, int fd,
		struct agent_answer *ret_answer, int *ret_fd, struct error *why)
{
	return agent_client_call(agent_client_folder(), socket, request, fd, ANSWER_MS, ret_answer,
				 ret_fd, why);
}

static int map(int fd, size_t bytes, int protection, void **ret_memory, struct error *why)
{
	void *memory = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return error_set(why, -errno, "cannot map what the agent gave: %s",
				 strerror(errno));
	*ret_memory = memory;
	return 0;
}

static int map_region(struct pd_region *region, int socket, struct agent_request *request,
		      struct error *why)
{
	struct agent_answer answer;
	int passed, err;

	request->verb = AGENT_OPEN;
	err = call(socket, request, -1, &answer, &passed, why);
	CLEANUP_FD int fd = passed;
	if (err)
		return err;
	region->bytes = answer.bytes;
	region->slot = answer.slot;
	err = map(fd, region->bytes, PROT_NONE, &region->memory, why);
	/* A child that another thread forks now would have it untracked. */
	if (!err && madvise(region->memory, region->bytes, MADV_DONTFORK))
		err = error_set(why, -errno, "madvise: %s", strerror(errno));
	return err;
}

static int map_pulse(struct pd_region *region, int socket, struct agent_request *request,
		     struct error *why)
{
	struct agent_answer answer;
	void *pulse = NULL;
	int passed, err;

	request->verb = AGENT_PULSE;
	err = call(socket, request, -1, &answer, &passed, why);
	CLEANUP_FD int fd = passed;
	if (!err)
		err = map(fd, sizeof(struct agent_pulse), PROT_READ, &pulse, why);
	if (!err)
		region->pulse = pulse;
	return err;
}

/*
 * The descriptor is the agent's alone from then on: if it ends, the kernel lifts the protection and
 * the program goes on, not armed. But where pages are still missing the kernel would give zeros for
 * them: there the agent answers with what keeps it until they are not.
 */
static int join(struct pd_region *region, int socket, struct agent_request *request,
		struct error *why)
{
	struct agent_answer answer;
	struct uffd uffd;
	int passed, err = uffd_open_shared(&uffd, why);
	CLEANUP_FD int fd = err ? -1 : uffd.fd;

	if (err)
		return err;
	request->verb = AGENT_JOIN;
	request->start = (uintptr_t)region->memory;
	request->bytes = region->bytes;
	err = call(socket, request, fd, &answer, &passed, why);
	region->kept_fd = passed;
	if (err)
		return err;
	if (mprotect(region->memory, region->bytes, PROT_READ | PROT_WRITE) ||
	    madvise(region->memory, region->bytes, MADV_DOFORK))
		return error_set(why, -errno, "cannot open the mapping: %s", strerror(errno));
	return 0;
}

static int open_region(struct pd_region *region, const char *name, struct error *why)
{
	struct agent_request request = { .version = AGENT_VERSION };
	int connected = -1, err = agent_check_name(name, why);

	if (!err)
		err = agent_client_connect(agent_client_folder(), &connected, why);
	if (err)
		return err;
	CLEANUP_FD int fd = connected;
	strcpy(request.name, name);
	err = map_region(region, fd, &request, why);
	if (!err)
		err = map_pulse(region, fd, &request, why);
	if (!err)
		err = join(region, fd, &request, why);
	return err;
}

int pd_region_open(const char *name, struct pd_region **ret_region, char *ret_words)
{
	struct pd_region *region = calloc(1, sizeof(*region));
	struct error why = { "no memory" };
	int err = -ENOMEM;

	if (region) {
		region->kept_fd = -1;
		err = open_region(region, name, &why);
	}
	if (err) {
		if (ret_words)
			memcpy(ret_words, why.text, PD_REGION_WORDS_BYTES);
		pd_region_close(region);
		return err;
	}
	*ret_region = region;
	return 0;
}

void pd_region_close(struct pd_region *region)
{
	if (!region)
		return;
	if (region->memory)
		munmap(region->memory, region->bytes);
	if (region->pulse)
		munmap((void *)region->pulse, sizeof(*region->pulse));
	cleanup_fd(&region->kept_fd);
	free(region);
}

void *pd_region_memory(const struct pd_region *region)
{
	return region->memory;
}

size_t pd_region_bytes(const struct pd_region *region)
{
	return region->bytes;
}

bool pd_region_is_armed(const struct pd_region *region)
{
	return agent_pulse_is_armed(region->pulse, region->slot);
}

int pd_region_persist(const struct pd_region *region)
{
	/* The stores are seen by whoever saves before the caller believes that they are safe. */
	atomic_thread_fence(memory_order_seq_cst);
	return pd_region_is_armed(region) ? 0 : -EAGAIN;
}
