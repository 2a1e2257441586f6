/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

/* In a loop that waits for another thread's store: lets the other half of the core run. */
static inline void cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/*
 * A full fence: this thread's stores before it are seen before its loads after it are made. Spelt
 * out for x86, since ThreadSanitizer knows no fences and the compiler says so.
 */
static inline void cpu_fence(void)
{
#if defined(__x86_64__)
	__asm__ volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* The same behind an atomic exchange, which is such a fence by itself on x86. */
static inline void cpu_fence_after_exchange(void)
{
#if defined(__x86_64__)
	__asm__ volatile("" ::: "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

#endif
