/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_TRACE_H
#define FORMAT_TRACE_H

/*
 * A recorded trace of a program's data references; perdure-trace(5) describes it for others.
 *
 *	file		header, blocks
 *	block		block header, payload
 *	payload		references, one after another
 *	reference	first byte, [bytes], difference
 *
 *	first byte	bits 0-1 the kind: 0 load, 1 store, 2 modify (3 is damage)
 *			bits 2-4 the size: n < 7 for 2^n bytes, 7 when a number follows
 *			bits 5-7 the base: which of eight addresses the difference is taken from
 *	number		7 bits a byte, least significant first, bit 7 set in all but the last byte
 *	difference	a number: address - base, as 2d for d >= 0 and -2d - 1 for d < 0
 *
 * The address becomes the base it was taken from. The bases are 0 at the beginning of a block, so
 * that blocks stand alone. Integers are little-endian. Each block has a checksum over its header
 * and payload, and says which reference of the trace is its first: damage, a missing end and
 * missing or exchanged blocks are told apart from an end.
 *
 * A header is written twice: at the start with TRACE_UNFINISHED references, at the end with their
 * number. The reader takes bytes in memory and believes nothing of them. All calls are pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "format/le.h"

#define TRACE_MAGIC 0x54726450u /* "PdrT" read as little-endian bytes */
#define TRACE_VERSION 1
#define TRACE_UNFINISHED UINT64_MAX
#define TRACE_BASES 8
#define TRACE_ADDRESS_END (1ull << 48) /* what x86-64 and arm64 give to a program */
#define TRACE_REFERENCE_BYTES_MAX 4096 /* more than any instruction touches at once */

/* In one block: what is decoded of it fits the processor's second cache. */
#define TRACE_BLOCK_REFERENCES_MAX 4096
#define TRACE_ENCODED_BYTES_MAX 10 /* of one reference: 1, 2 of its size, 7 of 49 bits */
#define TRACE_PAYLOAD_BYTES_MAX (TRACE_BLOCK_REFERENCES_MAX * TRACE_ENCODED_BYTES_MAX)

enum trace_kind {
	TRACE_LOAD,
	TRACE_STORE,
	TRACE_MODIFY, /* a load and a store by one instruction */
	TRACE_KINDS,
};

struct trace_reference {
	uint64_t address;
	uint16_t bytes; /* 1 to TRACE_REFERENCE_BYTES_MAX */
	uint8_t kind;
};

struct trace_header {
	le32 magic;
	le16 version;
	le16 reserved; /* 0 */
	le64 reference_count;
	le64 block_count;
	le32 reserved_too; /* 0 */
	le32 checksum;	   /* CRC32C of the bytes before it */
};

struct trace_block_header {
	le32 payload_bytes;
	le32 reference_count; /* 1 to TRACE_BLOCK_REFERENCES_MAX */
	le64 first;	      /* references in the blocks before */
	le32 reserved;	      /* 0 */
	le32 checksum;	      /* CRC32C of the bytes before it and the payload */
};

_Static_assert(sizeof(struct trace_header) == 32, "the layout is the format");
_Static_assert(sizeof(struct trace_block_header) == 24, "the layout is the format");

#define TRACE_BLOCK_BYTES_MAX (sizeof(struct trace_block_header) + TRACE_PAYLOAD_BYTES_MAX)

/* A trace in memory, which stays the caller's. */
struct trace {
	const uint8_t *bytes;
	size_t byte_count;
	uint64_t reference_count;
	uint64_t block_count;
};

struct trace_reader {
	const struct trace *trace;
	size_t offset;	     /* of the next block */
	uint64_t references; /* read so far */
	uint64_t blocks;
};

/* Checks the header only. -EBADMSG with words that name the offset and the reason. */
int trace_open(const void *bytes, size_t byte_count, struct trace *ret_trace, struct error *why);

/* From the beginning. */
void trace_reader_init(struct trace_reader *reader, const struct trace *trace);

/*
 * Decodes the next block. 0 with *ret_count references, none at the end of a whole trace; -EBADMSG
 * with words that name the offset and the reason.
 */
int trace_reader_next(struct trace_reader *reader,
		      struct trace_reference ret_references[TRACE_BLOCK_REFERENCES_MAX],
		      uint32_t *ret_count, struct error *why);

/* Makes a trace; the caller writes what it takes. */
struct trace_writer {
	uint8_t block[TRACE_BLOCK_BYTES_MAX];
	uint32_t payload_bytes;
	uint32_t references;	  /* in the block */
	uint64_t references_done; /* in those taken */
	uint64_t blocks_done;
	uint64_t bases[TRACE_BASES];
	uint64_t used[TRACE_BASES]; /* the reference that used the base last */
};

void trace_writer_init(struct trace_writer *writer);

/*
 * Adds a reference that is within the limits above. True when the block is full then: it is to be
 * taken before the next is added.
 */
bool trace_writer_add(struct trace_writer *writer, struct trace_reference reference);

/* The block as it is to be written, valid until the next call; its bytes, 0 when it is empty. */
size_t trace_writer_take(struct trace_writer *writer, const void **ret_block);

/* The header for what was taken so far, with the number of references or as unfinished. */
struct trace_header trace_writer_header(const struct trace_writer *writer, bool finished);

#endif
