/* SPDX-License-Identifier: Apache-2.0 */
#include "node/lent.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "node/node.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int lent_open(struct lent *lent, uint64_t quota_bytes, uint64_t key)
{
	uint64_t start;

	memset(lent, 0, sizeof(*lent));
	/* Room for the door in front, and to bring the slots to a huge page's border. */
	lent->reserved_bytes = quota_bytes + 2 * NODE_GRANT_BYTES;
	lent->reserved = mmap(NULL, lent->reserved_bytes, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (lent->reserved == MAP_FAILED)
		return -errno;
	start = (uint64_t)(uintptr_t)lent->reserved + PAGE_BYTES;
	start = (start + NODE_GRANT_BYTES - 1) / NODE_GRANT_BYTES * NODE_GRANT_BYTES;
	lent->slots = (char *)(uintptr_t)start;
	lent->door = lent->slots - PAGE_BYTES;
	lent->quota_bytes = quota_bytes;
	if (mprotect(lent->door, PAGE_BYTES, PROT_READ | PROT_WRITE))
		return -errno;
	memcpy(lent->door, &key, sizeof(key));
	return 0;
}

/*
 * Locked so that the node never waits for its own host's swap, which may stand on a far memory of
 * its own. Where that is not permitted, at least present: a grant is memory, not a promise.
 */
static int make_present(char *start, uint64_t bytes)
{
	madvise(start, bytes, MADV_HUGEPAGE);
	if (!mlock(start, bytes))
		return 0;
	if (!madvise(start, bytes, MADV_POPULATE_WRITE))
		return 0;
	/* Kernels before 5.14 do not know it; their pages come at the first store. */
	return errno == EINVAL ? 0 : -ENOMEM;
}

static void give_back(char *start, uint64_t bytes)
{
	munlock(start, bytes);
	madvise(start, bytes, MADV_DONTNEED);
	mprotect(start, bytes, PROT_NONE);
}

int lent_extend(struct lent *lent, uint64_t bytes, void (*between)(void *context), void *context)
{
	uint64_t before = lent->usable_bytes;

	assert(bytes <= lent->quota_bytes);
	for (uint64_t at = before; at < bytes; at += NODE_GRANT_BYTES) {
		uint64_t step = bytes - at < NODE_GRANT_BYTES ? bytes - at : NODE_GRANT_BYTES;

		if (mprotect(lent->slots + at, step, PROT_READ | PROT_WRITE) ||
		    make_present(lent->slots + at, step)) {
			give_back(lent->slots + before, at + step - before);
			return -ENOMEM;
		}
		between(context);
	}
	if (bytes > before)
		lent->usable_bytes = bytes;
	return 0;
}
