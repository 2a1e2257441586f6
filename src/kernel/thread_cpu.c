/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/thread_cpu.h"

#include <linux/rseq.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREAD_CPUS_MAX 65536 /* what is larger is not a CPU's number */

/* Of the C library, which has them from 2.35 on. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/* From a thread's list of robust locks to its number; 0: not known. */
static ptrdiff_t distance;

static uintptr_t robust_list(int32_t thread)
{
	void *head = NULL;
	size_t bytes;

	if (syscall(SYS_get_robust_list, thread, &head, &bytes))
		return 0;
	return (uintptr_t)head;
}

void thread_cpu_init(void)
{
	uintptr_t list = robust_list(0), area;

	if (!list || !&__rseq_offset || !&__rseq_size || !__rseq_size)
		return;
	area = (uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset;
	distance = (ptrdiff_t)(area + offsetof(struct rseq, cpu_id) - list);
}

uintptr_t thread_cpu_place(int32_t thread)
{
	uintptr_t list;

	/* Another process that reads our memory faults as well; its list is not in our memory. */
	if (!distance || syscall(SYS_tgkill, getpid(), thread, 0))
		return 0;
	list = robust_list(thread);

	return list ? list + (uintptr_t)distance : 0;
}

int thread_cpu_read(int memory_fd, uintptr_t place)
{
	uint32_t cpu = THREAD_CPUS_MAX;

	/* A thread that the C library did not make may have its list anywhere, or end. */
	if (pread(memory_fd, &cpu, sizeof(cpu), (off_t)place) != sizeof(cpu))
		return -1;
	return cpu < THREAD_CPUS_MAX ? (int)cpu : -1;
}
