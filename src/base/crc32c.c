/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"

#include <isa-l/crc.h>

/* The library counts in int; a larger buffer goes in pieces. */
#define PIECE_BYTES_MAX ((size_t)1 << 30)

uint32_t crc32c_append(uint32_t sum, const void *bytes, size_t byte_count)
{
	/* The library reads only; its prototype lacks the const. */
	unsigned char *at = (unsigned char *)bytes;
	uint32_t state = ~sum;

	while (byte_count) {
		size_t piece = byte_count < PIECE_BYTES_MAX ? byte_count : PIECE_BYTES_MAX;

		state = crc32_iscsi(at, (int)piece, state);
		at += piece;
		byte_count -= piece;
	}
	return ~state;
}

uint32_t crc32c(const void *bytes, size_t byte_count)
{
	return crc32c_append(0, bytes, byte_count);
}
