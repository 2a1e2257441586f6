/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "persist/image_state.h"

/*
 * To the packed area of the generation being made, which nothing that is committed names (I1),
 * above the pages that a failed save left there.
 */
int image_probe(struct image *image, uint64_t bytes, uint64_t *ret_ns)
{
	const struct image_layout *layout = &image->layout;
	uint64_t pages = bytes / PAGE_BYTES, begin_ns = clock_now_ns(), at;
	int err = image_settle(image);

	if (err)
		return err;
	if (image->packed_used + pages > layout->packed_pages)
		return -EAGAIN;
	at = layout->packed[image_next(image) % 2] + image->packed_used * PAGE_BYTES;
	while (pages) {
		struct image_buffer *buffer = image_take_buffer(image);
		uint64_t some = pages < image->buffer_pages ? pages : image->buffer_pages;

		if (!buffer)
			return image->gone;
		buffer->io.offset = at;
		buffer->io.byte_count = (uint32_t)(some * PAGE_BYTES);
		image_send(image, buffer);
		at += some * PAGE_BYTES;
		pages -= some;
	}
	image_wait_all(image);
	err = image_take_error(image);
	/* Nothing is lost if this fails, but nobody can tell: as after any sync that failed. */
	if (!err && (err = image_sync(image)))
		image_fail_all(image);
	*ret_ns = clock_now_ns() - begin_ns;
	return err;
}
