/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>

/* The page that everything here counts in, and its cache lines. x86-64 and arm64, 4 KiB pages. */
#define PAGE_SHIFT 12
#define PAGE_BYTES ((uint64_t)1 << PAGE_SHIFT)
#define LINE_BYTES 64
#define PAGE_LINES 64 /* a bit each of a mask */

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
