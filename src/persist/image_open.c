/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is committed on a disk. The newest record whose table is whole is taken; if that cannot be
 * the newest that was written, only when every page that it names is whole too.
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "persist/image_state.h"

#define TIME_TEXT_BYTES 32

/* One of the two record blocks. */
struct record {
	/* 0: a record; -ENODATA: none was written; -ENOTSUP; any other: it is damaged. */
	int state;
	struct image_commit commit;
	struct error why;
};

static bool is_damage(int err)
{
	return err == -EBADMSG || err == -EIO || err == -ENODATA || err == -EILSEQ;
}

static uint64_t generation_of(const struct record *record)
{
	return le64_get(record->commit.generation);
}

static const char *time_of(const struct record *record, char text[TIME_TEXT_BYTES])
{
	time_t seconds = (time_t)(le64_get(record->commit.saved_unix_ns) / 1000000000u);
	struct tm fields;

	if (!gmtime_r(&seconds, &fields) ||
	    !strftime(text, TIME_TEXT_BYTES, "%Y-%m-%d %H:%M:%S UTC", &fields))
		strcpy(text, "an unknown time");
	return text;
}

static int read_head(struct disk *disk, const uint8_t host_id[IMAGE_ID_BYTES],
		     struct image_head *ret_head, struct image_layout *ret_layout,
		     struct error *why)
{
	struct image_head head __attribute__((aligned(IMAGE_BLOCK_BYTES)));
	int err;

	if (disk->bytes < 3 * IMAGE_BLOCK_BYTES)
		return error_set(why, -EBADMSG, "this is no image (perdure-image(5)): too short");
	err = disk->ops->read(disk, 0, &head, sizeof(head));
	if (err)
		return error_set(why, err, "the first block cannot be read: %s", strerror(-err));
	err = image_head_check(&head, why);
	if (err)
		return err;
	if (host_id && memcmp(host_id, head.host_id, IMAGE_ID_BYTES) != 0)
		return error_set(why, -EXDEV, "the image is of another host");
	err = image_layout_of(le64_get(head.region_bytes), le64_get(head.packed_pages), ret_layout,
			      why);
	if (!err && disk->bytes < ret_layout->bytes)
		err = error_set(why, -EBADMSG,
				"the image was cut off: %" PRIu64 " bytes of %" PRIu64 " are there",
				disk->bytes, ret_layout->bytes);
	if (!err)
		*ret_head = head;
	return err;
}

static void read_record(struct disk *disk, const struct image_head *head, unsigned number,
			struct record *ret_record)
{
	struct image_commit commit __attribute__((aligned(IMAGE_BLOCK_BYTES)));
	int err = disk->ops->read(disk, image_record_offset(number), &commit, sizeof(commit));

	if (err)
		error_set(&ret_record->why, err, "the commit record cannot be read: %s",
			  strerror(-err));
	else
		err = image_commit_check(&commit, head, &ret_record->why);
	if (!err && le64_get(commit.generation) % 2 != number)
		err = error_set(&ret_record->why, -EBADMSG, "the commit record belongs elsewhere");
	ret_record->state = err;
	ret_record->commit = commit;
}

/* The next so many of what is left are read at once, to where the buffers are. */
static uint32_t chunk_of(const struct image *image, uint64_t left)
{
	uint32_t most = image->buffer_count * image->buffer_pages;

	if (most > IMAGE_READ_PAGES_MAX)
		most = IMAGE_READ_PAGES_MAX;
	return left < most ? (uint32_t)left : most;
}

static int take_entries(struct image *image, const struct image_table_block *block, uint64_t index)
{
	uint64_t page = index * IMAGE_TABLE_ENTRIES;
	uint64_t places = le64_get(image->commit.pages_packed);

	for (uint32_t i = 0; i < IMAGE_TABLE_ENTRIES && page < image->layout.page_count; i++) {
		uint32_t place = le32_get(block->entries[i].place);

		if (place >= IMAGE_PACKED && place - IMAGE_PACKED >= places)
			return -EBADMSG;
		image->packed_count += place >= IMAGE_PACKED;
		image->committed[page].place = place;
		image->committed[page++].checksum = le32_get(block->entries[i].checksum);
	}
	return 0;
}

/* Takes the record and its table. In words that say what is wrong with the table. */
static int load(struct image *image, const struct record *record, struct error *why)
{
	uint64_t generation = generation_of(record), index = 0;
	const struct image_layout *layout = &image->layout;
	struct image_table_block *blocks = (struct image_table_block *)image->bounce;
	uint32_t checksum = 0;

	image->commit = record->commit;
	image->packed_count = 0;
	while (index < layout->table_blocks) {
		uint32_t count = chunk_of(image, layout->table_blocks - index);
		int err = image->disk->ops->read(
			image->disk, layout->table[generation % 2] + index * IMAGE_BLOCK_BYTES,
			blocks, count * IMAGE_BLOCK_BYTES);

		if (err)
			return error_set(why, err,
					 "the table of generation %" PRIu64 " cannot be read: %s",
					 generation, strerror(-err));
		for (uint32_t i = 0; i < count; i++, index++) {
			err = image_table_block_check(&blocks[i], generation, index, layout, why);
			if (err)
				return err;
			if (take_entries(image, &blocks[i], index))
				return error_set(why, -EBADMSG,
						 "the table of generation %" PRIu64
						 " names places that its record does not have",
						 generation);
			checksum = image_table_checksum(checksum, &blocks[i]);
		}
	}
	if (checksum != le32_get(record->commit.table_checksum))
		return error_set(why, -EBADMSG,
				 "the table of generation %" PRIu64 " is not its record's",
				 generation);
	return 0;
}

static int check_all_pages(struct image *image, struct error *why)
{
	uint64_t page = 0;

	while (page < image->layout.page_count) {
		uint32_t count = chunk_of(image, image->layout.page_count - page);
		int err = image_read(image, page, count, image->bounce, why);

		if (err)
			return err;
		page += count;
	}
	return 0;
}

/* The newest generation's table is damaged: what it wrote since the one before may be anywhere. */
static int load_before(struct image *image, const struct record *newest,
		       const struct record *before, const struct error *damage,
		       struct error *ret_loss, struct error *why)
{
	char newest_time[TIME_TEXT_BYTES], before_time[TIME_TEXT_BYTES];
	struct error reason;
	int err = before->state;

	reason = before->why;
	if (!err)
		err = load(image, before, &reason);
	if (!err)
		err = check_all_pages(image, &reason);
	if (err)
		return error_set(why, is_damage(err) ? -EBADMSG : err,
				 "no generation is whole: %.120s; and before it: %.120s",
				 damage->text, reason.text);
	image->record_doubtful = true;
	error_set(ret_loss, 0,
		  "%.120s; generation %" PRIu64 " of %s is taken instead, and what was changed "
		  "from then to %s is missing",
		  damage->text, generation_of(before), time_of(before, before_time),
		  time_of(newest, newest_time));
	return 0;
}

/* The other record is damaged, not torn, as every torn write leaves a record: which was newer? */
static int check_lone(struct image *image, const struct record *taken, const struct record *other,
		      struct error *ret_loss, struct error *why)
{
	char time[TIME_TEXT_BYTES];
	struct error reason;
	int err = check_all_pages(image, &reason);

	if (err)
		return error_set(why, is_damage(err) ? -EBADMSG : err,
				 "no generation is whole: %.120s in the one record, and in the "
				 "other: %.120s",
				 other->why.text, reason.text);
	image->record_doubtful = true;
	error_set(ret_loss, 0,
		  "%.120s; generation %" PRIu64 " of %s is taken, and what a later one saved, if "
		  "there was one, is missing",
		  other->why.text, generation_of(taken), time_of(taken, time));
	return 0;
}

static int choose(struct image *image, const struct record records[2], struct error *ret_loss,
		  struct error *why)
{
	const struct record *newest = &records[0], *before = &records[1];
	struct error damage;
	int err;

	if (newest->state || (!before->state && generation_of(before) > generation_of(newest))) {
		newest = &records[1];
		before = &records[0];
	}
	for (int i = 0; i < 2; i++)
		if (records[i].state == -ENOTSUP)
			return error_set(why, -ENOTSUP, "%s", records[i].why.text);
	for (int i = 0; i < 2; i++)
		if (records[i].state && !is_damage(records[i].state))
			return error_set(why, records[i].state, "%s", records[i].why.text);
	if (newest->state)
		return error_set(why, -EBADMSG, "no generation is whole: %.120s; %.120s",
				 records[0].why.text, records[1].why.text);
	err = load(image, newest, &damage);
	if (err && !is_damage(err))
		return error_set(why, err, "%s", damage.text);
	if (err)
		return load_before(image, newest, before, &damage, ret_loss, why);
	if (before->state && before->state != -ENODATA)
		return check_lone(image, newest, before, ret_loss, why);
	return 0;
}

static int open_on(struct disk *disk, const uint8_t host_id[IMAGE_ID_BYTES],
		   struct image **ret_image, struct error *ret_loss, struct error *why)
{
	struct record records[2] = { 0 };
	struct image_layout layout;
	struct image_head head;
	struct image *image;
	int err = read_head(disk, host_id, &head, &layout, why);

	if (err)
		return err;
	err = disk->ops->sync(disk);
	if (err)
		return error_set(why, err, "the disk cannot be synced: %s", strerror(-err));
	err = image_new(&head, &layout, &image);
	if (err)
		return error_set(why, err, "there is no memory for the image's table: %s",
				 strerror(-err));
	image->disk = disk;
	for (unsigned i = 0; i < 2; i++)
		read_record(disk, &image->head, i, &records[i]);
	err = choose(image, records, ret_loss, why);
	if (err) {
		image_delete(image);
		return err;
	}
	*ret_image = image;
	return 0;
}

int image_open(struct disk *disk, const uint8_t host_id[IMAGE_ID_BYTES], struct image **ret_image,
	       struct error *ret_loss, struct error *why)
{
	int err;

	ret_loss->text[0] = '\0';
	err = open_on(disk, host_id, ret_image, ret_loss, why);
	/* Nothing was written, so nothing can be on its way. */
	if (err)
		disk->ops->close(disk);
	return err;
}
