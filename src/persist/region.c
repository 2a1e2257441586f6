/* SPDX-License-Identifier: Apache-2.0 */
#include "persist/region.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own_memory.h"

#define LOCK_MS 10000 /* longer than the kernel takes to put a killed agent's ring away */
#define MODE 0600 /* others come to the region through its owner */

void region_path(const struct region_place *place, const char *name, enum region_file file,
		 char ret_path[PATH_MAX])
{
	static const char *const formats[] = { "%s/%s", "%s/.%s.restoring", "%s/.%s.live",
					       "%s/%s.image" };
	const char *folder = file == REGION_IMAGE ? place->images : place->folder;

	snprintf(ret_path, PATH_MAX, formats[file], folder, name);
}

static void remove_file(const struct region_place *place, const char *name, enum region_file file)
{
	char path[PATH_MAX];

	region_path(place, name, file, path);
	unlink(path);
}

/* ---- The image ---- */

/* A page that nobody has put there yet, for who touches it now. */
static int fetch_page(void *context, uint64_t page, void *ret_bytes)
{
	struct region *region = context;
	int err;

	if (!region->image)
		return -EIO;
	/* What was here and is no more was taken out by a program (MADV_REMOVE): zeros. */
	if (page < region->restored) {
		memset(ret_bytes, 0, PAGE_BYTES);
		return 0;
	}
	pthread_rwlock_rdlock(&region->image_lock);
	err = image_read(region->image, page, 1, ret_bytes, NULL);
	pthread_rwlock_unlock(&region->image_lock);
	return err;
}

static int open_disk(const struct region_place *place, const char *name, uint64_t create_bytes,
		     struct disk **ret_disk, struct error *why)
{
	const struct disk_file_options options = {
		.create_bytes = create_bytes,
		.wait_ms_max = place->disk_wait_ms_max,
		.lock_ms_max = LOCK_MS,
	};
	char path[PATH_MAX];

	region_path(place, name, REGION_IMAGE, path);
	return disk_file_open(path, &options, ret_disk, why);
}

static int create_image(const struct region_place *place, struct region *region,
			uint64_t packed_pages, struct error *why)
{
	struct image_config config = {
		.region_bytes = region->bytes,
		.packed_pages = packed_pages,
		.created_unix_ns = clock_unix_ns(),
	};
	char path[PATH_MAX];
	struct disk *disk;
	uint64_t bytes;
	int err;

	if (getrandom(config.region_id, sizeof(config.region_id), 0) != sizeof(config.region_id))
		return error_set(why, -EIO, "getrandom: %s", strerror(errno));
	memcpy(config.host_id, place->host_id, IMAGE_ID_BYTES);
	strcpy(config.name, region->name);
	err = image_bytes(&config, &bytes, why);
	if (!err)
		err = open_disk(place, region->name, bytes, &disk, why);
	if (err)
		return err;
	err = image_format(disk, &config, why);
	/* Whose the region is, its image's file says: the region's is gone with the power. */
	region_path(place, region->name, REGION_IMAGE, path);
	if (!err && chown(path, region->owner, (gid_t)-1))
		err = error_set(why, -errno, "cannot give \"%s\" to user %u: %s", path,
				region->owner, strerror(errno));
	if (err) {
		disk->ops->close(disk);
		remove_file(place, region->name, REGION_IMAGE);
		return err;
	}
	return image_open(disk, place->host_id, &region->image, &region->loss, why);
}

/* ---- The file in memory ---- */

static int map_file(struct region *region, struct error *why)
{
	void *memory = mmap(NULL, region->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);

	if (memory == MAP_FAILED)
		return error_set(why, -errno, "cannot map region \"%s\": %s", region->name,
				 strerror(errno));
	region->memory = memory;
	madvise(memory, region->bytes, MADV_NOHUGEPAGE);
	madvise(memory, region->bytes, MADV_DONTFORK);
	return 0;
}

static int make_file(const struct region_place *place, struct region *region, bool whole,
		     struct error *why)
{
	char path[PATH_MAX];
	int err = 0;

	region_path(place, region->name, REGION_HIDDEN, path);
	unlink(path);
	region->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, MODE);
	if (region->fd < 0)
		return error_set(why, -errno, "cannot create \"%s\": %s", path, strerror(errno));
	if (ftruncate(region->fd, (off_t)region->bytes) ||
	    (whole && fallocate(region->fd, 0, 0, (off_t)region->bytes)) ||
	    fchown(region->fd, region->owner, (gid_t)-1))
		err = -errno;
	if (err)
		return error_set(why, err,
				 "no room for region \"%s\", %" PRIu64
				 " MiB, in the memory of \"%s\": %s",
				 region->name, region->bytes >> 20, place->folder, strerror(-err));
	return map_file(region, why);
}

/* What .NAME.live says: that NAME is the memory of this image, whole. */
struct live_note {
	uint8_t region_id[IMAGE_ID_BYTES];
};

static int note_live(const struct region_place *place, const struct region *region)
{
	struct live_note note;
	char path[PATH_MAX];
	int fd, err = 0;

	region_path(place, region->name, REGION_LIVE_NOTE, path);
	memcpy(note.region_id, image_head_of(region->image)->region_id, IMAGE_ID_BYTES);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, MODE);
	if (fd < 0)
		return -errno;
	if (write(fd, &note, sizeof(note)) != sizeof(note))
		err = -EIO;
	close(fd);
	return err;
}

int region_publish(const struct region_place *place, struct region *region, struct error *why)
{
	char from[PATH_MAX], to[PATH_MAX];
	int err = note_live(place, region);

	region_path(place, region->name, REGION_HIDDEN, from);
	region_path(place, region->name, REGION_NAMED, to);
	/* It may have its name already, with who opens it waiting. */
	if (!err && rename(from, to) && errno != ENOENT)
		err = -errno;
	return err ? error_set(why, err, "cannot give region \"%s\" its name: %s", region->name,
			       strerror(-err))
		   : 0;
}

/* The file that an agent before this one left, if it is whole and this image's. */
static bool take_over(const struct region_place *place, struct region *region)
{
	struct live_note note;
	struct stat status;
	char path[PATH_MAX];
	bool ours;
	int fd;

	region_path(place, region->name, REGION_LIVE_NOTE, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ours = read(fd, &note, sizeof(note)) == sizeof(note) &&
	       !memcmp(note.region_id, image_head_of(region->image)->region_id, IMAGE_ID_BYTES);
	close(fd);
	region_path(place, region->name, REGION_NAMED, path);
	fd = ours ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return false;
	if (fstat(fd, &status) || !S_ISREG(status.st_mode) ||
	    (uint64_t)status.st_size != region->bytes) {
		close(fd);
		return false;
	}
	region->fd = fd;
	return true;
}

void region_set_foreign(struct region *region, enum region_foreign foreign)
{
	atomic_store_explicit(&region->foreign, foreign, memory_order_release);
}

bool region_is_exact(const struct region *region)
{
	return !region->foreign && watcher_is_exact(region->watched);
}

/* ---- Making and ending ---- */

static struct region *new_region(const char *name)
{
	struct region *region = calloc(1, sizeof(*region));

	if (!region)
		return NULL;
	region->fd = -1;
	region->filler.fd = -1;
	snprintf(region->name, sizeof(region->name), "%s", name);
	pthread_rwlock_init(&region->image_lock, NULL);
	return region;
}

static int make_tables(struct region *region, struct error *why)
{
	void *digests, *heat;
	int err = own_memory_map_lazily(region->page_count * sizeof(uint64_t), &digests);

	if (!err) {
		region->digests = digests;
		err = own_memory_map_lazily(region->page_count, &heat);
	}
	if (err)
		return error_set(why, err, "no memory for the tables of region \"%s\"",
				 region->name);
	region->heat = heat;
	return 0;
}

static int watch(struct region *region, struct watcher *watcher, struct error *why)
{
	const struct watched_region_options options = {
		.page_count = region->page_count,
		.fetch = fetch_page,
		.context = region,
		.heat = region->heat,
	};

	return watcher_add(watcher, &options, &region->watched, why);
}

void region_close(struct region *region)
{
	if (!region)
		return;
	if (region->watched)
		watcher_remove(region->watched);
	image_close(region->image);
	if (region->filler.fd >= 0)
		close(region->filler.fd);
	if (region->memory)
		munmap(region->memory, region->bytes);
	if (region->fd >= 0)
		close(region->fd);
	own_memory_unmap(region->step, REGION_STEP_PAGES * PAGE_BYTES);
	own_memory_unmap(region->digests, region->page_count * sizeof(uint64_t));
	own_memory_unmap((void *)region->heat, region->page_count);
	pthread_rwlock_destroy(&region->image_lock);
	free(region);
}

static bool exists(const struct region_place *place, const char *name, enum region_file file)
{
	char path[PATH_MAX];

	region_path(place, name, file, path);
	return access(path, F_OK) == 0;
}

int region_create(const struct region_place *place, struct watcher *watcher, const char *name,
		  uint64_t bytes, uint64_t packed_pages, uid_t owner, struct region **ret_region,
		  struct error *why)
{
	struct region *region;
	int err;

	if (exists(place, name, REGION_IMAGE) || exists(place, name, REGION_NAMED))
		return error_set(why, -EEXIST, "\"%s\" is the name of a region that exists", name);
	region = new_region(name);
	if (!region)
		return error_set(why, -ENOMEM, "no memory for a region");
	region->bytes = bytes;
	region->page_count = bytes / PAGE_BYTES;
	region->owner = owner;
	region->packed_restored = region->page_count;
	region->restored = region->page_count;
	region->state = REGION_LIVE;
	err = make_tables(region, why);
	if (!err)
		err = make_file(place, region, true, why);
	if (!err)
		err = create_image(place, region, packed_pages, why);
	if (!err)
		err = watch(region, watcher, why);
	if (!err)
		err = region_publish(place, region, why);
	if (err) {
		if (region->image)
			remove_file(place, name, REGION_IMAGE);
		remove_file(place, name, REGION_HIDDEN);
		remove_file(place, name, REGION_LIVE_NOTE);
		region_close(region);
		return err;
	}
	*ret_region = region;
	return 0;
}

/* Makes an empty file, whose missing pages are filled by a userfaultfd of our own. */
static int begin_restore(const struct region_place *place, struct region *region, struct error *why)
{
	int err = uffd_open_shared(&region->filler, why);
	void *step;

	if (err)
		return err;
	err = own_memory_map(REGION_STEP_PAGES * PAGE_BYTES, &step);
	if (err)
		return error_set(why, err, "no memory to restore region \"%s\"", region->name);
	region->step = step;
	err = make_file(place, region, false, why);
	if (!err && uffd_register(&region->filler, region->memory, region->bytes))
		err = error_set(why, -errno, "cannot watch region \"%s\": %s", region->name,
				strerror(errno));
	region->state = REGION_RESTORING;
	return err;
}

static int open_image(const struct region_place *place, struct region *region, struct error *why)
{
	char path[PATH_MAX];
	struct stat status;
	struct disk *disk;
	int err = open_disk(place, region->name, 0, &disk, why);

	region_path(place, region->name, REGION_IMAGE, path);
	if (!err && !stat(path, &status))
		region->owner = status.st_uid;
	if (!err)
		err = image_open(disk, place->host_id, &region->image, &region->loss, why);
	if (err)
		return err;
	region->bytes = le64_get(image_head_of(region->image)->region_bytes);
	region->page_count = region->bytes / PAGE_BYTES;
	return 0;
}

/* A region that cannot be served, and why; its files stay as they are. */
static int give_up(const char *name, const struct error *trouble, struct region **ret_region,
		   struct error *why)
{
	struct region *region = new_region(name);

	if (!region)
		return error_set(why, -ENOMEM, "no memory for a region");
	region->trouble = *trouble;
	region->state = REGION_DAMAGED;
	*ret_region = region;
	return 0;
}

static int begin(const struct region_place *place, struct watcher *watcher, struct region *region,
		 struct error *why)
{
	int err = open_image(place, region, why);

	if (!err)
		err = make_tables(region, why);
	if (!err)
		err = watch(region, watcher, why);
	if (err)
		return err;
	if (take_over(place, region)) {
		region->restored = region->packed_restored = region->page_count;
		region->state = REGION_LIVE;
		err = map_file(region, why);
		if (!err)
			watcher_mark(region->watched, 0, region->page_count);
		return err;
	}
	remove_file(place, region->name, REGION_LIVE_NOTE);
	remove_file(place, region->name, REGION_NAMED);
	return begin_restore(place, region, why);
}

int region_open(const struct region_place *place, struct watcher *watcher, const char *name,
		struct region **ret_region, struct error *why)
{
	struct region *region = new_region(name);
	struct error trouble;

	if (!region)
		return error_set(why, -ENOMEM, "no memory for a region");
	if (begin(place, watcher, region, &trouble)) {
		region_close(region);
		return give_up(name, &trouble, ret_region, why);
	}
	*ret_region = region;
	return 0;
}

int region_destroy(const struct region_place *place, struct region *region, struct error *why)
{
	char name[IMAGE_NAME_BYTES], path[PATH_MAX];
	int err = 0;

	memcpy(name, region->name, sizeof(name));
	region_close(region);
	/* The note first: without it the rest is nobody's memory. */
	remove_file(place, name, REGION_LIVE_NOTE);
	remove_file(place, name, REGION_NAMED);
	remove_file(place, name, REGION_HIDDEN);
	region_path(place, name, REGION_IMAGE, path);
	if (unlink(path))
		err = error_set(why, -errno, "cannot remove \"%s\": %s", path, strerror(errno));
	return err;
}
