/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/image.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/own_memory.h"
#include "persist/image_state.h"

_Static_assert(DISK_IO_BYTES_MAX / IMAGE_BLOCK_BYTES >= IMAGE_READ_PAGES_MAX, "one read");
_Static_assert(IMAGE_BUFFERS_MAX <= DISK_DEPTH_MAX, "all buffers may be on their way");

/* A part of the mapping; *at moves behind it, to a page's begin. */
static size_t take_part(size_t *at, size_t bytes)
{
	size_t begin = *at;

	*at += (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	return begin;
}

static uint32_t clamp(uint64_t number, uint32_t min, uint32_t max)
{
	if (number < min)
		return min;
	return number < max ? (uint32_t)number : max;
}

int image_new(const struct image_head *head, const struct image_layout *layout,
	      struct image **ret_image)
{
	uint64_t pages = layout->page_count;
	uint32_t buffer_pages = clamp(pages / IMAGE_BUFFERS_MIN, 1, IMAGE_BUFFER_PAGES);
	uint32_t buffer_count =
		clamp(pages / IMAGE_BUFFER_PAGES, IMAGE_BUFFERS_MIN, IMAGE_BUFFERS_MAX);
	size_t bits_bytes = (pages + 63) / 64 * sizeof(uint64_t), bytes = 0;
	size_t image_at = take_part(&bytes, sizeof(struct image));
	size_t committed_at = take_part(&bytes, pages * sizeof(struct image_page));
	size_t making_at = take_part(&bytes, pages * sizeof(struct image_page));
	size_t put_at = take_part(&bytes, bits_bytes);
	size_t failed_at = take_part(&bytes, bits_bytes);
	size_t page_at = take_part(&bytes, PAGE_BYTES);
	size_t bounce_at = take_part(&bytes, buffer_count * buffer_pages * PAGE_BYTES);
	struct image *image;
	void *memory;
	int err = own_memory_map(bytes, &memory);

	if (err)
		return err;
	image = (struct image *)((uint8_t *)memory + image_at);
	image->memory_bytes = bytes;
	image->head = *head;
	image->layout = *layout;
	image->committed = (struct image_page *)((uint8_t *)memory + committed_at);
	image->making = (struct image_page *)((uint8_t *)memory + making_at);
	image->put = (uint64_t *)((uint8_t *)memory + put_at);
	image->failed = (uint64_t *)((uint8_t *)memory + failed_at);
	image->page = (uint8_t *)memory + page_at;
	image->bounce = (uint8_t *)memory + bounce_at;
	image->buffer_count = buffer_count;
	image->buffer_pages = buffer_pages;
	for (uint32_t i = buffer_count; i-- > 0;) {
		struct image_buffer *buffer = &image->buffers[i];

		buffer->bytes = image->bounce + i * buffer_pages * PAGE_BYTES;
		buffer->next_free = image->free;
		image->free = buffer;
	}
	*ret_image = image;
	return 0;
}

void image_delete(struct image *image)
{
	if (image)
		own_memory_unmap(image, image->memory_bytes);
}

void image_close(struct image *image)
{
	if (!image)
		return;
	image_wait_all(image);
	/* Writes that the disk does not give back may yet read from the buffers. */
	if (image->disk->ops->close(image->disk) == 0)
		image_delete(image);
}

int image_bytes(const struct image_config *config, uint64_t *ret_bytes, struct error *why)
{
	struct image_layout layout;
	int err = image_layout_of(config->region_bytes, config->packed_pages, &layout, why);

	if (!err)
		*ret_bytes = layout.bytes;
	return err;
}

const struct image_head *image_head_of(const struct image *image)
{
	return &image->head;
}

const struct image_layout *image_layout(const struct image *image)
{
	return &image->layout;
}

uint64_t image_generation(const struct image *image)
{
	return le64_get(image->commit.generation);
}

const struct image_commit *image_commit_record(const struct image *image)
{
	return &image->commit;
}

const struct image_counters *image_counters(const struct image *image)
{
	return &image->counters;
}

uint32_t image_place(const struct image *image, uint64_t page)
{
	uint32_t place;

	assert(page < image->layout.page_count);
	place = image->committed[page].place;
	return place < IMAGE_PACKED ? place : IMAGE_PACKED;
}

static uint64_t committed_offset(const struct image *image, uint64_t page)
{
	return image_offset(&image->layout, image_generation(image), page,
			    image->committed[page].place);
}

/* How many pages from this one on lie one behind another, or are all nowhere. */
static uint32_t run_of(const struct image *image, uint64_t page, uint32_t page_count)
{
	uint32_t run = 1;

	if (image->committed[page].place == IMAGE_NOWHERE) {
		while (run < page_count && image->committed[page + run].place == IMAGE_NOWHERE)
			run++;
		return run;
	}
	while (run < page_count && image->committed[page + run].place != IMAGE_NOWHERE &&
	       committed_offset(image, page + run) ==
		       committed_offset(image, page) + run * PAGE_BYTES)
		run++;
	return run;
}

static int read_run(struct image *image, uint64_t page, uint32_t run, uint8_t *to,
		    struct error *why)
{
	uint64_t generation = image_generation(image);
	int err;

	if (image->committed[page].place == IMAGE_NOWHERE) {
		memset(to, 0, run * PAGE_BYTES);
		return 0;
	}
	err = image->disk->ops->read(image->disk, committed_offset(image, page), to,
				     run * (uint32_t)PAGE_BYTES);
	if (err)
		return error_set(why, err,
				 "page %" PRIu64 " of generation %" PRIu64 " cannot be read: %s",
				 page, generation, strerror(-err));
	for (uint32_t i = 0; i < run; i++)
		if (crc32c(to + i * PAGE_BYTES, PAGE_BYTES) != image->committed[page + i].checksum)
			return error_set(why, -EBADMSG,
					 "page %" PRIu64 " of generation %" PRIu64
					 " is damaged: its checksum is wrong",
					 page + i, generation);
	return 0;
}

int image_read(struct image *image, uint64_t page, uint32_t page_count, void *to, struct error *why)
{
	uint8_t *at = to;

	assert(page_count <= IMAGE_READ_PAGES_MAX && (uintptr_t)to % PAGE_BYTES == 0);
	assert(page <= image->layout.page_count && page_count <= image->layout.page_count - page);
	while (page_count) {
		uint32_t run = run_of(image, page, page_count);
		int err = read_run(image, page, run, at, why);

		if (err)
			return err;
		page += run;
		page_count -= run;
		at += run * PAGE_BYTES;
	}
	return 0;
}
