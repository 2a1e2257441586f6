/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include <string.h>

void random_fill(struct random_source *source, void *bytes, size_t byte_count)
{
	uint8_t *at = bytes;

	while (byte_count) {
		uint64_t number = random_next(source);
		size_t piece = byte_count < sizeof(number) ? byte_count : sizeof(number);

		memcpy(at, &number, piece);
		at += piece;
		byte_count -= piece;
	}
}
