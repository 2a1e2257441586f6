/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_THREAD_CPU_H
#define KERNEL_THREAD_CPU_H

/*
 * On which CPU another thread of this process last ran its own code, without a descriptor: the
 * kernel keeps that number in the thread's restartable-sequences area (glibc 2.35 registers one for
 * each thread), which lies at a fixed distance from the thread's list of robust locks, which the
 * kernel tells. The answer is a hint.
 */

#include <stdint.h>

/* Once, on a thread that the C library made; before the others. */
void thread_cpu_init(void);
/*
 * Where the kernel writes the number for `thread`; 0 if not known, or of another process. It lives,
 * and sleeps, until the number was read.
 */
uintptr_t thread_cpu_place(int32_t thread);
/* The number at `place`, read through /proc/self/mem: no fault. -1 if it is none. */
int thread_cpu_read(int memory_fd, uintptr_t place);

#endif
