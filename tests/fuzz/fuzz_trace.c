/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "format/trace.h"

#define INPUT_BYTES_MAX 65536 /* several blocks */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Makes the checksums right, so that mutations come through to what is behind them. */
static void mend(uint8_t *bytes, size_t length)
{
	struct trace_header header;
	struct trace_block_header block;
	size_t at = sizeof(header);

	if (length < sizeof(header))
		return;
	memcpy(&header, bytes, sizeof(header));
	header.checksum = le32_of(crc32c(&header, offsetof(struct trace_header, checksum)));
	memcpy(bytes, &header, sizeof(header));
	while (length - at >= sizeof(block)) {
		uint32_t sum, payload;

		memcpy(&block, bytes + at, sizeof(block));
		payload = le32_get(block.payload_bytes);
		if (payload > length - at - sizeof(block))
			return;
		sum = crc32c(&block, offsetof(struct trace_block_header, checksum));
		sum = crc32c_append(sum, bytes + at + sizeof(block), payload);
		block.checksum = le32_of(sum);
		memcpy(bytes + at, &block, sizeof(block));
		at += sizeof(block) + payload;
	}
}

/* Each reference is one that a trace may have, and the whole trace has as many as it says. */
static void read_all(const uint8_t *bytes, size_t length)
{
	static struct trace_reference references[TRACE_BLOCK_REFERENCES_MAX];
	struct trace_reader reader;
	struct trace trace;
	struct error why;
	uint32_t count;

	if (trace_open(bytes, length, &trace, &why) < 0)
		return;
	trace_reader_init(&reader, &trace);
	do {
		if (trace_reader_next(&reader, references, &count, &why) < 0) {
			if (count || strncmp(why.text, "at byte ", 8) != 0)
				abort();
			return;
		}
		for (uint32_t i = 0; i < count; i++)
			if (references[i].kind >= TRACE_KINDS || references[i].bytes == 0 ||
			    references[i].address > TRACE_ADDRESS_END - references[i].bytes)
				abort();
	} while (count);
	if (reader.references != trace.reference_count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static uint8_t mended[INPUT_BYTES_MAX];

	read_all(bytes, length);
	if (length > sizeof(mended))
		return 0;
	memcpy(mended, bytes, length);
	mend(mended, length);
	read_all(mended, length);
	return 0;
}
