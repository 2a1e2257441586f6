/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_UFFD_H
#define KERNEL_UFFD_H

/*
 * userfaultfd(2): the few calls on it that Perdure makes. The features that Debian 12's headers do
 * not know are defined here and probed at run time. All calls return 0 or -errno, any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct uffd {
	int fd;
	bool can_move;	 /* UFFDIO_MOVE, Linux 6.8 */
	bool can_poison; /* UFFDIO_POISON, Linux 6.6 */
	bool can_fork;	 /* forks are reported; the kernel wants CAP_SYS_PTRACE for it */
};

enum uffd_event {
	UFFD_FAULT,
	UFFD_WRITE_PROTECTED,
	UFFD_FORKED,
	UFFD_MOVED,   /* by mremap; the caller of it waits until this was read */
	UFFD_REMOVED, /* by madvise; the same */
	UFFD_OTHER,
};

struct uffd_message {
	enum uffd_event event;
	uintptr_t address; /* of the page; of what was moved or removed, its start */
	uintptr_t to;	   /* UFFD_MOVED: its new start */
	uint64_t bytes;	   /* UFFD_MOVED, UFFD_REMOVED */
	bool write;
	int32_t thread; /* the faulting one */
	int child_fd;	/* UFFD_FORKED: the child's userfaultfd, the reader's to close */
};

/* Opens it close-on-exec with what there is of move, poison and fork. Words name the remedy. */
int uffd_open(struct uffd *ret_uffd, struct error *why);
/*
 * The same for memory that is shared by way of a file, whose writers another process watches: it
 * is told of forks, moves and removals too. Words if this kernel (before 5.19) cannot.
 */
int uffd_open_shared(struct uffd *ret_uffd, struct error *why);
/* Faults on missing and on write-protected pages of the range are reported. */
int uffd_register(const struct uffd *uffd, void *start, size_t bytes);
/*
 * Sleeps until there is a message, at most `limit_ms` (-1: for ever). All who wait are woken by
 * each, and one of them reads it.
 */
void uffd_wait(const struct uffd *uffd, int limit_ms);
/* Whether the descriptor is a userfaultfd at all; who passed it may have passed anything. */
bool uffd_is_one(int fd);
/* Reading must not wait: the one who passed it shares the flag, and may have changed it. */
void uffd_set_nonblocking(int fd);
/*
 * -EAGAIN when there is no message. From a fork on until its message was read, the calls below that
 * change the memory give -EAGAIN; faults come first, so who gets that has to read on.
 */
int uffd_read(const struct uffd *uffd, struct uffd_message *ret_message);

/* Fills a missing page from `source` and wakes who waits. -EEXIST: it was not missing. */
int uffd_copy(const struct uffd *uffd, void *to, const void *source);
/* The same, and a write to it is a fault of its own; `to` may not be of this process. */
int uffd_copy_protected(const struct uffd *uffd, uintptr_t to, const void *source);
/* The same for a run of pages; *ret_copied bytes of it are there, also after an error. */
int uffd_copy_run(const struct uffd *uffd, void *to, const void *source, size_t bytes,
		  size_t *ret_copied);
/* Moves physical pages; *ret_moved bytes were moved when it returns, even with an error. */
int uffd_move(const struct uffd *uffd, void *to, void *from, size_t bytes, size_t *ret_moved);
int uffd_write_protect(const struct uffd *uffd, void *page, bool protect);
/* The same for a range, which may not be of this process. Lifting it wakes who waits. */
int uffd_write_protect_range(const struct uffd *uffd, uintptr_t start, uint64_t bytes,
			     bool protect);
int uffd_wake(const struct uffd *uffd, void *page);
/* A touch of the page gives SIGBUS from now on. */
int uffd_poison(const struct uffd *uffd, void *page);

#endif
