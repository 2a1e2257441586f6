/* SPDX-License-Identifier: Apache-2.0 */

/* An empty image. What the disk held before is no image from the first sync on. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/own_memory.h"
#include "persist/image_state.h"

#define CHUNK_BLOCKS (DISK_IO_BYTES_MAX / IMAGE_BLOCK_BYTES)

static int write_now(struct disk *disk, uint64_t offset, const void *bytes, uint32_t byte_count)
{
	struct disk_io io = { .offset = offset, .bytes = bytes, .byte_count = byte_count };
	const struct disk_io *done;
	int err = disk->ops->submit(disk, &io);

	if (err)
		return err;
	done = disk->ops->wait(disk);
	assert(done == &io);
	return done->result;
}

static int write_table(struct disk *disk, const struct image_layout *layout,
		       struct image_table_block *blocks, uint32_t *ret_checksum)
{
	uint64_t index = 0;
	uint32_t checksum = 0;
	int err = 0;

	while (index < layout->table_blocks && !err) {
		uint64_t first = index;
		uint32_t count = 0;

		for (; count < CHUNK_BLOCKS && index < layout->table_blocks; count++) {
			memset(&blocks[count], 0, sizeof(blocks[count]));
			blocks[count].index = le32_of((uint32_t)index++);
			blocks[count].generation = le64_of(1);
			image_table_block_seal(&blocks[count]);
			checksum = image_table_checksum(checksum, &blocks[count]);
		}
		err = write_now(disk, layout->table[1] + first * IMAGE_BLOCK_BYTES, blocks,
				count * IMAGE_BLOCK_BYTES);
	}
	*ret_checksum = checksum;
	return err;
}

static int write_record(struct disk *disk, const struct image_config *config,
			uint32_t table_checksum, void *block)
{
	struct image_commit record = {
		.generation = le64_of(1),
		.saved_unix_ns = le64_of(config->created_unix_ns),
		.reason = le32_of(IMAGE_CREATED),
		.table_checksum = le32_of(table_checksum),
	};

	memcpy(record.region_id, config->region_id, sizeof(record.region_id));
	image_commit_seal(&record);
	memcpy(block, &record, sizeof(record));
	return write_now(disk, image_record_offset(1), block, sizeof(record));
}

static int write_head(struct disk *disk, const struct image_config *config, void *block)
{
	struct image_head head = {
		.region_bytes = le64_of(config->region_bytes),
		.packed_pages = le64_of(config->packed_pages),
		.created_unix_ns = le64_of(config->created_unix_ns),
	};

	memcpy(head.region_id, config->region_id, sizeof(head.region_id));
	memcpy(head.host_id, config->host_id, sizeof(head.host_id));
	memcpy(head.name, config->name, strnlen(config->name, sizeof(head.name) - 1));
	image_head_seal(&head);
	memcpy(block, &head, sizeof(head));
	return write_now(disk, 0, block, sizeof(head));
}

static int write_image(struct disk *disk, const struct image_config *config,
		       const struct image_layout *layout, void *memory)
{
	uint32_t table_checksum = 0;
	int err = write_now(disk, 0, memory, 3 * IMAGE_BLOCK_BYTES);

	if (!err)
		err = disk->ops->sync(disk);
	if (!err)
		err = write_table(disk, layout, memory, &table_checksum);
	if (!err)
		err = write_record(disk, config, table_checksum, memory);
	if (!err)
		err = disk->ops->sync(disk);
	if (!err)
		err = write_head(disk, config, memory);
	if (!err)
		err = disk->ops->sync(disk);
	return err;
}

int image_format(struct disk *disk, const struct image_config *config, struct error *why)
{
	struct image_layout layout;
	void *memory;
	int err = image_layout_of(config->region_bytes, config->packed_pages, &layout, why);

	if (err)
		return err;
	if (disk->bytes < layout.bytes)
		return error_set(why, -ENOSPC, "the image does not fit on its disk");
	err = own_memory_map(CHUNK_BLOCKS * IMAGE_BLOCK_BYTES, &memory);
	if (!err) {
		err = write_image(disk, config, &layout, memory);
		/* After a timeout the disk may yet read from it. */
		if (err != -ETIMEDOUT)
			own_memory_unmap(memory, CHUNK_BLOCKS * IMAGE_BLOCK_BYTES);
	}
	if (err)
		return error_set(why, err, "the empty image cannot be written: %s", strerror(-err));
	return 0;
}
