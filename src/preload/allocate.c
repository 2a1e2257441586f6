/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's heap: jemalloc in the managed region. Perdure's own allocations, and those from
 * before the region is there, are glibc's; a pointer's address tells whose it is.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "preload/preload.h"
#include "pump/region.h"

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

void *perdure_je_malloc(size_t bytes);
void *perdure_je_calloc(size_t count, size_t bytes);
void *perdure_je_realloc(void *old, size_t bytes);
void *perdure_je_memalign(size_t alignment, size_t bytes);
int perdure_je_posix_memalign(void **memory, size_t alignment, size_t bytes);
size_t perdure_je_malloc_usable_size(void *memory);
void perdure_je_free(void *memory);

/*
 * No background thread: it would run in the program unasked. No brk: it is outside the region.
 * Address space is kept, as the region is ours anyway and unmapping would only split it.
 */
extern const char *perdure_je_malloc_conf;
const char *perdure_je_malloc_conf =
	"background_thread:false,dss:disabled,thp:never,metadata_thp:disabled,retain:true";

static size_t (*libc_usable_size)(void *);

void allocate_prepare(void)
{
	libc_usable_size = (size_t(*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
}

static bool is_managed(const void *memory)
{
	return __atomic_load_n(&preload_ready, __ATOMIC_ACQUIRE) && region_holds(memory);
}

PRELOAD_EXPORT void *malloc(size_t bytes)
{
	return preload_manages() ? perdure_je_malloc(bytes) : __libc_malloc(bytes);
}

PRELOAD_EXPORT void *calloc(size_t count, size_t bytes)
{
	return preload_manages() ? perdure_je_calloc(count, bytes) : __libc_calloc(count, bytes);
}

PRELOAD_EXPORT void free(void *memory)
{
	if (is_managed(memory))
		perdure_je_free(memory);
	else
		__libc_free(memory);
}

PRELOAD_EXPORT void *realloc(void *old, size_t bytes)
{
	void *new;

	if (!old)
		return malloc(bytes);
	/* A chunk stays with the allocator that made it. */
	new = is_managed(old) ? perdure_je_realloc(old, bytes) : __libc_realloc(old, bytes);
	if (!new && bytes)
		errno = ENOMEM;
	return new;
}

PRELOAD_EXPORT void *reallocarray(void *old, size_t count, size_t bytes)
{
	size_t total;

	if (__builtin_mul_overflow(count, bytes, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, total);
}

PRELOAD_EXPORT void *memalign(size_t alignment, size_t bytes)
{
	/* jemalloc forgets the alignment of nothing. */
	return preload_manages() ? perdure_je_memalign(alignment, bytes ? bytes : 1)
				 : __libc_memalign(alignment, bytes);
}

PRELOAD_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
	return memalign(alignment, bytes);
}

PRELOAD_EXPORT int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
	void *got;

	if (preload_manages())
		return perdure_je_posix_memalign(memory, alignment, bytes ? bytes : 1);
	if (alignment % sizeof(void *) || !alignment || alignment & (alignment - 1))
		return EINVAL;
	got = __libc_memalign(alignment, bytes);
	if (!got)
		return ENOMEM;
	*memory = got;
	return 0;
}

PRELOAD_EXPORT void *valloc(size_t bytes)
{
	return memalign(PAGE_BYTES, bytes);
}

PRELOAD_EXPORT void *pvalloc(size_t bytes)
{
	return memalign(PAGE_BYTES, (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1));
}

PRELOAD_EXPORT size_t malloc_usable_size(void *memory)
{
	if (!memory)
		return 0;
	return is_managed(memory) ? perdure_je_malloc_usable_size(memory)
				  : libc_usable_size(memory);
}
