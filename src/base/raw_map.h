/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_RAW_MAP_H
#define BASE_RAW_MAP_H

/*
 * The kernel's mapping calls themselves: inside a managed program the functions of these names are
 * the interposed ones. 0 or -errno. errno is left as it was.
 */

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Gives -errno for a failed call, and the program its own errno back. */
#define RAW_CALL(...)                                                                              \
	({                                                                                         \
		int errno_before_ = errno;                                                         \
		long result_ = syscall(__VA_ARGS__);                                               \
		if (result_ == -1) {                                                               \
			result_ = -errno;                                                          \
			errno = errno_before_;                                                     \
		}                                                                                  \
		result_;                                                                           \
	})

static inline int raw_result_pointer(long result, void **ret_address)
{
	if (result < 0 && result >= -4095) /* the kernel's range of error codes */
		return (int)result;
	*ret_address = (void *)result;
	return 0;
}

static inline int raw_mmap(void *address, size_t bytes, int protection, int flags, int fd,
			   off_t offset, void **ret_address)
{
	return raw_result_pointer(RAW_CALL(SYS_mmap, address, bytes, protection, flags, fd, offset),
				  ret_address);
}

/* Address space with nothing in it, inaccessible; `flags`: MAP_FIXED and the like, or 0. */
static inline int raw_reserve(void *address, size_t bytes, int flags, void **ret_address)
{
	return raw_mmap(address, bytes, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0, ret_address);
}

static inline int raw_mremap(void *address, size_t old_bytes, size_t new_bytes, int flags,
			     void *wish, void **ret_address)
{
	return raw_result_pointer(
		RAW_CALL(SYS_mremap, address, old_bytes, new_bytes, flags, wish), ret_address);
}

static inline int raw_munmap(void *address, size_t bytes)
{
	return (int)RAW_CALL(SYS_munmap, address, bytes);
}

static inline int raw_mprotect(void *address, size_t bytes, int protection)
{
	return (int)RAW_CALL(SYS_mprotect, address, bytes, protection);
}

static inline int raw_madvise(void *address, size_t bytes, int advice)
{
	return (int)RAW_CALL(SYS_madvise, address, bytes, advice);
}

#endif
