/* SPDX-License-Identifier: Apache-2.0 */
#include "format/trace.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/crc32c.h"

#define KIND_MASK 3u
#define SIZE_SHIFT 2
#define SIZE_MASK 7u
#define SIZE_FOLLOWS 7u
#define BASE_SHIFT 5
/* Past this a reference begins anew in the base that was not used for longest. */
#define NEAR_BYTES (1ull << 20)

static int damaged(size_t offset, const char *reason, struct error *why)
{
	return error_set(why, -EBADMSG, "at byte %zu: %s", offset, reason);
}

static int check_header(const struct trace_header *header, struct error *why)
{
	if (le32_get(header->magic) != TRACE_MAGIC)
		return damaged(0,
			       "this is no trace (perdure-trace(5)); `perdure model record` "
			       "makes one",
			       why);
	if (le16_get(header->version) != TRACE_VERSION)
		return error_set(why, -EBADMSG, "at byte %zu: version %u, but version %u is read",
				 offsetof(struct trace_header, version), le16_get(header->version),
				 TRACE_VERSION);
	if (le32_get(header->checksum) != crc32c(header, offsetof(struct trace_header, checksum)))
		return damaged(0, "the header's checksum is wrong", why);
	if (le64_get(header->reference_count) == TRACE_UNFINISHED)
		return damaged(offsetof(struct trace_header, reference_count),
			       "the recording did not come to its end", why);
	if (le16_get(header->reserved) || le32_get(header->reserved_too))
		return damaged(offsetof(struct trace_header, reserved),
			       "a reserved field is not zero", why);
	return 0;
}

int trace_open(const void *bytes, size_t byte_count, struct trace *ret_trace, struct error *why)
{
	struct trace_header header;
	int ret;

	if (byte_count < sizeof(header))
		return error_set(why, -EBADMSG,
				 "at byte %zu: it ends within its header, which has %zu bytes",
				 byte_count, sizeof(header));
	memcpy(&header, bytes, sizeof(header));
	ret = check_header(&header, why);
	if (ret < 0)
		return ret;
	*ret_trace = (struct trace){ .bytes = bytes,
				     .byte_count = byte_count,
				     .reference_count = le64_get(header.reference_count),
				     .block_count = le64_get(header.block_count) };
	return 0;
}

void trace_reader_init(struct trace_reader *reader, const struct trace *trace)
{
	*reader = (struct trace_reader){ .trace = trace, .offset = sizeof(struct trace_header) };
}

/* False when it is longer than 64 bits or `end`. */
static inline bool get_number(const uint8_t **at, const uint8_t *end, uint64_t *ret_number)
{
	const uint8_t *byte = *at;
	uint64_t number = 0;

	for (unsigned shift = 0; byte < end && shift < 63; shift += 7) {
		number |= (uint64_t)(*byte & 0x7f) << shift;
		if (!(*byte++ & 0x80)) {
			*at = byte;
			*ret_number = number;
			return true;
		}
	}
	return false;
}

/* NULL, or what is wrong. */
static inline const char *get_reference(const uint8_t **at, const uint8_t *end,
					uint64_t bases[TRACE_BASES],
					struct trace_reference *ret_reference)
{
	uint8_t first = *(*at)++;
	unsigned size = first >> SIZE_SHIFT & SIZE_MASK;
	uint64_t bytes = 1ull << size, number, address;

	if ((first & KIND_MASK) >= TRACE_KINDS)
		return "a reference of no known kind";
	if (size == SIZE_FOLLOWS && !get_number(at, end, &bytes))
		return "a size that does not end";
	if (bytes == 0 || bytes > TRACE_REFERENCE_BYTES_MAX)
		return "a reference of an impossible size";
	if (!get_number(at, end, &number))
		return "an address that does not end";
	address = bases[first >> BASE_SHIFT] + (number >> 1 ^ -(number & 1));
	if (address > TRACE_ADDRESS_END - bytes)
		return "an address outside of a program's";
	bases[first >> BASE_SHIFT] = address;
	*ret_reference = (struct trace_reference){ .address = address,
						   .bytes = (uint16_t)bytes,
						   .kind = first & KIND_MASK };
	return NULL;
}

static int check_block(const struct trace_reader *reader, const struct trace_block_header *header,
		       struct error *why)
{
	size_t left = reader->trace->byte_count - reader->offset - sizeof(*header);
	uint32_t bytes = le32_get(header->payload_bytes);
	uint32_t references = le32_get(header->reference_count), sum;

	if (bytes > TRACE_PAYLOAD_BYTES_MAX || references == 0 ||
	    references > TRACE_BLOCK_REFERENCES_MAX || references > bytes)
		return damaged(reader->offset, "a block of an impossible size", why);
	if (bytes > left)
		return error_set(why, -EBADMSG,
				 "at byte %zu: it ends %zu bytes before the end of this block",
				 reader->offset, bytes - left);
	sum = crc32c(header, offsetof(struct trace_block_header, checksum));
	sum = crc32c_append(sum, reader->trace->bytes + reader->offset + sizeof(*header), bytes);
	if (sum != le32_get(header->checksum))
		return damaged(reader->offset, "the block's checksum is wrong", why);
	if (le64_get(header->first) != reader->references)
		return error_set(why, -EBADMSG,
				 "at byte %zu: the block begins with reference %" PRIu64
				 " where %" PRIu64 " is expected",
				 reader->offset, le64_get(header->first), reader->references);
	if (le32_get(header->reserved))
		return damaged(reader->offset, "a reserved field is not zero", why);
	return 0;
}

static int check_end(const struct trace_reader *reader, struct error *why)
{
	const struct trace *trace = reader->trace;

	if (reader->blocks == trace->block_count && reader->references == trace->reference_count)
		return 0;
	return error_set(why, -EBADMSG,
			 "at byte %zu: it ends after %" PRIu64 " references of %" PRIu64,
			 reader->offset, reader->references, trace->reference_count);
}

static int decode(const struct trace_reader *reader, const struct trace_block_header *header,
		  struct trace_reference *references, struct error *why)
{
	const uint8_t *at = reader->trace->bytes + reader->offset + sizeof(*header);
	const uint8_t *end = at + le32_get(header->payload_bytes);
	uint32_t count = le32_get(header->reference_count);
	uint64_t bases[TRACE_BASES] = { 0 };
	const char *wrong = NULL;

	for (uint32_t i = 0; i < count && !wrong; i++)
		wrong = at < end ? get_reference(&at, end, bases, &references[i])
				 : "fewer references than the block says";
	if (!wrong && at != end)
		wrong = "more bytes than the block's references have";
	return wrong ? damaged((size_t)(at - reader->trace->bytes), wrong, why) : 0;
}

int trace_reader_next(struct trace_reader *reader,
		      struct trace_reference ret_references[TRACE_BLOCK_REFERENCES_MAX],
		      uint32_t *ret_count, struct error *why)
{
	const struct trace *trace = reader->trace;
	struct trace_block_header header;
	int ret;

	*ret_count = 0;
	if (reader->offset == trace->byte_count)
		return check_end(reader, why);
	if (reader->blocks == trace->block_count)
		return damaged(reader->offset, "bytes follow behind the last block", why);
	if (trace->byte_count - reader->offset < sizeof(header))
		return damaged(reader->offset, "it ends within a block's header", why);
	memcpy(&header, trace->bytes + reader->offset, sizeof(header));
	ret = check_block(reader, &header, why);
	if (ret == 0)
		ret = decode(reader, &header, ret_references, why);
	if (ret < 0)
		return ret;
	*ret_count = le32_get(header.reference_count);
	reader->offset += sizeof(header) + le32_get(header.payload_bytes);
	reader->references += *ret_count;
	reader->blocks++;
	return 0;
}

void trace_writer_init(struct trace_writer *writer)
{
	memset(writer, 0, sizeof(*writer));
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a < b ? b - a : a - b;
}

static unsigned choose_base(const struct trace_writer *writer, uint64_t address)
{
	unsigned nearest = 0, oldest = 0;

	for (unsigned i = 1; i < TRACE_BASES; i++) {
		if (distance(writer->bases[i], address) < distance(writer->bases[nearest], address))
			nearest = i;
		if (writer->used[i] < writer->used[oldest])
			oldest = i;
	}
	return distance(writer->bases[nearest], address) < NEAR_BYTES ? nearest : oldest;
}

static void put_byte(struct trace_writer *writer, uint8_t byte)
{
	writer->block[sizeof(struct trace_block_header) + writer->payload_bytes++] = byte;
}

static void put_number(struct trace_writer *writer, uint64_t number)
{
	for (; number >= 0x80; number >>= 7)
		put_byte(writer, (uint8_t)(number | 0x80));
	put_byte(writer, (uint8_t)number);
}

static unsigned size_code(unsigned bytes)
{
	bool is_power = (bytes & (bytes - 1)) == 0;

	return is_power && bytes <= 64 ? (unsigned)__builtin_ctz(bytes) : SIZE_FOLLOWS;
}

bool trace_writer_add(struct trace_writer *writer, struct trace_reference reference)
{
	unsigned base = choose_base(writer, reference.address);
	unsigned size = size_code(reference.bytes);
	int64_t difference = (int64_t)(reference.address - writer->bases[base]);

	assert(reference.kind < TRACE_KINDS && reference.bytes > 0 &&
	       reference.bytes <= TRACE_REFERENCE_BYTES_MAX &&
	       reference.address <= TRACE_ADDRESS_END - reference.bytes);
	assert(writer->references < TRACE_BLOCK_REFERENCES_MAX);
	put_byte(writer, (uint8_t)(reference.kind | size << SIZE_SHIFT | base << BASE_SHIFT));
	if (size == SIZE_FOLLOWS)
		put_number(writer, reference.bytes);
	put_number(writer, (uint64_t)difference << 1 ^ (uint64_t)(difference >> 63));
	writer->bases[base] = reference.address;
	writer->used[base] = ++writer->references;
	return writer->references == TRACE_BLOCK_REFERENCES_MAX;
}

size_t trace_writer_take(struct trace_writer *writer, const void **ret_block)
{
	struct trace_block_header header = { .payload_bytes = le32_of(writer->payload_bytes),
					     .reference_count = le32_of(writer->references),
					     .first = le64_of(writer->references_done) };
	size_t bytes = sizeof(header) + writer->payload_bytes;
	uint32_t sum = crc32c(&header, offsetof(struct trace_block_header, checksum));

	if (writer->references == 0)
		return 0;
	sum = crc32c_append(sum, writer->block + sizeof(header), writer->payload_bytes);
	header.checksum = le32_of(sum);
	memcpy(writer->block, &header, sizeof(header));
	writer->references_done += writer->references;
	writer->blocks_done++;
	writer->references = writer->payload_bytes = 0;
	memset(writer->bases, 0, sizeof(writer->bases));
	memset(writer->used, 0, sizeof(writer->used));
	*ret_block = writer->block;
	return bytes;
}

struct trace_header trace_writer_header(const struct trace_writer *writer, bool finished)
{
	struct trace_header header = {
		.magic = le32_of(TRACE_MAGIC),
		.version = le16_of(TRACE_VERSION),
		.reference_count = le64_of(finished ? writer->references_done : TRACE_UNFINISHED),
		.block_count = le64_of(writer->blocks_done),
	};

	header.checksum = le32_of(crc32c(&header, offsetof(struct trace_header, checksum)));
	return header;
}
