/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_IMAGE_H
#define FORMAT_IMAGE_H

/*
 * The image of a persistent region on disk; perdure-image(5) describes it for others, and
 * docs/design/persistence.md (I1 to I5) says what it keeps.
 *
 *	block 0		the image: whose, of what size
 *	block 1, 2	commit records: generation g is in block 1 + g mod 2
 *	table 0, 1	blocks of entries: of generation g is table g mod 2
 *	home A, B	the region's pages, in order
 *	packed 0, 1	pages in any order: of generation g is area g mod 2
 *
 * All is in blocks of IMAGE_BLOCK_BYTES, each with a checksum of its own; each part begins at a
 * multiple of IMAGE_PART_BYTES. A page's checksum is in its entry. Integers are little-endian.
 * All calls are pure and believe nothing of the bytes.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "format/le.h"

#define IMAGE_MAGIC 0x4764506567616d49ull	 /* "ImagePdG" */
#define IMAGE_COMMIT_MAGIC 0x645074696d6d6f43ull /* "CommitPd" */
#define IMAGE_VERSION 1
#define IMAGE_BLOCK_BYTES 4096u
#define IMAGE_PART_BYTES (1u << 20)
#define IMAGE_ID_BYTES 16
#define IMAGE_NAME_BYTES 64 /* with the final NUL */
#define IMAGE_TABLE_ENTRIES 510u
#define IMAGE_PAGES_MAX (1ull << 31) /* 8 TiB: an entry's place is 32 bits wide */
#define IMAGE_PACKED_PAGES_MAX (1ull << 31)

/* Where a page of a generation is: one of these, or IMAGE_PACKED + its place in the packed area. */
#define IMAGE_NOWHERE 0u /* it was never written: zeros */
#define IMAGE_HOME_A 1u
#define IMAGE_HOME_B 2u
#define IMAGE_PACKED 3u

enum image_reason {
	IMAGE_CREATED,	 /* generation 1: all zeros */
	IMAGE_COMMANDED, /* perdure save */
	IMAGE_REHEARSED,
	IMAGE_POWER,   /* mains power failed */
	IMAGE_STOPPED, /* the agent was told to end */
	IMAGE_REASONS,
};

struct image_head {
	le64 magic;
	le32 version;
	le32 checksum; /* of this block, with 0 here; the same in the others */
	uint8_t region_id[IMAGE_ID_BYTES];
	uint8_t host_id[IMAGE_ID_BYTES]; /* a digest of the machine's identity, not itself */
	le64 region_bytes;
	le64 packed_pages; /* of one area */
	le64 created_unix_ns;
	char name[IMAGE_NAME_BYTES];
	uint8_t zeros[IMAGE_BLOCK_BYTES - 136];
};

struct image_commit {
	le64 magic;
	le32 version;
	le32 checksum;
	uint8_t region_id[IMAGE_ID_BYTES];
	le64 generation; /* from 1 */
	le64 saved_unix_ns;
	le64 pages_packed;   /* places of the generation's packed area that may be in use */
	le32 reason;	     /* enum image_reason */
	le32 table_checksum; /* CRC32C of the checksums of the table's blocks, one after another */
	uint8_t zeros[IMAGE_BLOCK_BYTES - 64];
};

struct image_entry {
	le32 place;
	le32 checksum; /* CRC32C of the page; 0 of one that is nowhere */
};

struct image_table_block {
	le32 checksum;
	le32 index; /* of the block in its table */
	le64 generation;
	struct image_entry entries[IMAGE_TABLE_ENTRIES];
};

_Static_assert(sizeof(struct image_head) == IMAGE_BLOCK_BYTES, "the layout is the format");
_Static_assert(sizeof(struct image_commit) == IMAGE_BLOCK_BYTES, "the layout is the format");
_Static_assert(sizeof(struct image_table_block) == IMAGE_BLOCK_BYTES, "the layout is the format");

/* Offsets in bytes, from the sizes in the head. */
struct image_layout {
	uint64_t page_count;
	uint64_t packed_pages;
	uint64_t table_blocks;
	uint64_t table[2];
	uint64_t home[2];
	uint64_t packed[2];
	uint64_t bytes; /* of the whole image */
};

/* -EINVAL in words if a size is 0, too large or no multiple of a page. */
int image_layout_of(uint64_t region_bytes, uint64_t packed_pages, struct image_layout *ret_layout,
		    struct error *why);

/* Where the page's bytes are on disk in a generation; `place` is not IMAGE_NOWHERE. */
uint64_t image_offset(const struct image_layout *layout, uint64_t generation, uint64_t page,
		      uint32_t place);

/* Fills in magic, version and checksum of a block whose other fields are set. */
void image_head_seal(struct image_head *head);
void image_commit_seal(struct image_commit *commit);
void image_table_block_seal(struct image_table_block *block);

/* The table's checksum: begin with 0 and go on with each block, sealed, in their order. */
uint32_t image_table_checksum(uint32_t sum, const struct image_table_block *block);

/*
 * 0, or in words: -EBADMSG for a block that is damaged or none; -ENOTSUP for a newer version (its
 * own checksum is right); of a head also sizes that cannot be; -ENODATA for zeros where a commit
 * record could be: none was written, or it was withdrawn. All that a record says lies in its first
 * 64 bytes, so a write of it that was torn between sectors is either record, never a damaged one.
 */
int image_head_check(const struct image_head *head, struct error *why);
int image_commit_check(const struct image_commit *commit, const struct image_head *head,
		       struct error *why);
/* Also that every entry's place can be. */
int image_table_block_check(const struct image_table_block *block, uint64_t generation,
			    uint64_t index, const struct image_layout *layout, struct error *why);

#endif
