/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

/*
 * CRC32C (Castagnoli) as in RFC 3720 B.4 and everywhere else on the wire and on disks: initial
 * value and final exclusive-or of all ones. It detects damage, not forgery. About 0.2 us a page.
 * Pure; any thread.
 */

#include <stddef.h>
#include <stdint.h>

/* Of one buffer. */
uint32_t crc32c(const void *bytes, size_t byte_count);

/* Goes on: crc32c_append(crc32c(a), b) is the sum of a and b joined; begin with 0. */
uint32_t crc32c_append(uint32_t sum, const void *bytes, size_t byte_count);

#endif
