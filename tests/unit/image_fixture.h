/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_IMAGE_FIXTURE_H
#define TESTS_UNIT_IMAGE_FIXTURE_H

/* An image on a simulated disk, for each test anew, and pages that are told by a number. */

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "disk_sim.h"
#include "persist/image.h"

#define PAGES 600u /* two blocks of the table */
#define PACKED 400u

static struct image_config config = {
	.region_id = "a region's id",
	.host_id = "a host's id",
	.name = "orders",
	.region_bytes = PAGES * PAGE_BYTES,
	.packed_pages = PACKED,
	.created_unix_ns = 1700000000000000000ull,
};

static struct disk_sim *sim;
static struct image_layout layout;
static uint8_t *page;  /* the one that is put */
static uint8_t *pages; /* those that are read */
static struct error loss, why;

static inline struct image *open_image(void)
{
	struct image *image;

	ck_assert_msg(!image_open(&sim->base, config.host_id, &image, &loss, &why), "%s", why.text);
	return image;
}

static inline int open_error(const char *words)
{
	uint64_t writes = sim->submitted;
	struct image *image;
	int err = image_open(&sim->base, config.host_id, &image, &loss, &why);

	ck_assert_int_lt(err, 0);
	ck_assert_msg(strstr(why.text, words), "no \"%s\" in \"%s\"", words, why.text);
	ck_assert_uint_eq(sim->submitted, writes); /* I5 */
	return err;
}

static inline struct image *reopen(struct image *image)
{
	image_close(image);
	return open_image();
}

static inline void set_up(void)
{
	ck_assert_int_eq(image_layout_of(config.region_bytes, config.packed_pages, &layout, &why),
			 0);
	sim = disk_sim_new(layout.bytes, 1);
	page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
	pages = aligned_alloc(PAGE_BYTES, IMAGE_READ_PAGES_MAX * PAGE_BYTES);
	ck_assert(page && pages);
	ck_assert_int_eq(image_format(&sim->base, &config, &why), 0);
}

static inline void tear_down(void)
{
	ck_assert_msg(!sim->abuse, "%s", sim->abuse);
	disk_sim_delete(sim);
	free(page);
	free(pages);
}

/* A page's bytes are told by one number; of 0 they are zeros. */
static inline int put(struct image *image, uint64_t at, uint64_t number, enum image_way way)
{
	struct random_source random = random_from_seed(number);

	memset(page, 0, PAGE_BYTES);
	if (number)
		random_fill(&random, page, PAGE_BYTES);
	return image_put(image, at, page, way);
}

static inline void put_all(struct image *image, uint64_t number, enum image_way way)
{
	for (uint64_t at = 0; at < PAGES; at++)
		ck_assert_int_eq(put(image, at, number ? number + at : 0, way), 0);
}

static inline void expect(struct image *image, uint64_t at, uint64_t number)
{
	struct random_source random = random_from_seed(number);

	memset(page, 0, PAGE_BYTES);
	if (number)
		random_fill(&random, page, PAGE_BYTES);
	ck_assert_msg(!image_read(image, at, 1, pages, &why), "%s", why.text);
	ck_assert_msg(!memcmp(page, pages, PAGE_BYTES), "page %d is not %d", (int)at, (int)number);
}

static inline void expect_all(struct image *image, uint64_t number)
{
	for (uint64_t at = 0; at < PAGES; at++)
		expect(image, at, number ? number + at : 0);
}

static inline void commit(struct image *image)
{
	ck_assert_msg(!image_commit(image, IMAGE_COMMANDED, 42, &why), "%s", why.text);
}

static inline void damage(uint64_t offset)
{
	sim->now[offset] ^= 1;
	sim->durable[offset] ^= 1;
}

/* Generations 2 and 3: pages 0 and up to `changed` differ, the rest is the same. */
static inline void make_two(uint64_t changed)
{
	struct image *image = open_image();

	put_all(image, 1000, IMAGE_FLUSH);
	commit(image);
	for (uint64_t at = 0; at < changed; at++)
		ck_assert_int_eq(put(image, at, 2000 + at, IMAGE_FLUSH), 0);
	commit(image);
	image_close(image);
}

#endif
