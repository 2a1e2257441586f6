/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_sim.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"

#define SECTOR_BYTES 512u
#define RECORDS_BEGIN 4096u /* of an image: format/image.h */
#define RECORDS_END 12288u

static struct disk_sim *sim_of(struct disk *disk)
{
	return (struct disk_sim *)disk;
}

static bool chance(struct disk_sim *sim, uint32_t of_10000)
{
	return of_10000 && random_below(&sim->random, 10000) < of_10000;
}

static void abuse(struct disk_sim *sim, const char *what)
{
	if (!sim->abuse)
		sim->abuse = what;
}

static uint64_t place_of(const struct disk_sim *sim, uint64_t offset)
{
	if (sim->lie == SIM_ONE_PLACE && offset >= sim->one_from &&
	    offset - sim->one_from < sim->one_bytes)
		return sim->one_to + (offset - sim->one_from);
	return offset;
}

/* True when the power is off. */
static bool begin_call(struct disk_sim *sim)
{
	if (sim->hook && !sim->power_off)
		sim->hook(sim->context);
	if (sim->calls_until_off && --sim->calls_until_off == 0)
		sim->power_off = true;
	return sim->power_off;
}

static void drop(struct disk_sim *sim, uint32_t index)
{
	free(sim->writes[index].bytes);
	sim->writes[index] = sim->writes[--sim->write_count];
}

static void drop_all(struct disk_sim *sim)
{
	while (sim->write_count)
		drop(sim, sim->write_count - 1);
}

static int sim_submit(struct disk *disk, struct disk_io *io)
{
	struct disk_sim *sim = sim_of(disk);
	struct sim_write *write = &sim->writes[sim->write_count];

	if (begin_call(sim))
		return -EIO;
	if (sim->timed_out)
		abuse(sim, "it was written to after a timeout");
	if (!io->byte_count || io->byte_count > DISK_IO_BYTES_MAX ||
	    (io->offset | io->byte_count | (uintptr_t)io->bytes) % 4096)
		abuse(sim, "a write was not of whole blocks");
	if (io->offset > disk->bytes || io->byte_count > disk->bytes - io->offset)
		abuse(sim, "a write was beyond its end");
	if (sim->write_count == SIM_WRITES_MAX)
		abuse(sim, "there are too many writes between two syncs");
	if (sim->abuse)
		return -EIO;
	if (chance(sim, sim->submit_errors))
		return random_below(&sim->random, 2) ? -EIO : -ENOSPC;
	*write = (struct sim_write){ .offset = place_of(sim, io->offset),
				     .byte_count = io->byte_count,
				     .io = io,
				     .bytes = malloc(io->byte_count) };
	ck_assert_ptr_nonnull(write->bytes);
	memcpy(write->bytes, io->bytes, io->byte_count);
	sim->write_count++;
	sim->submitted++;
	sim->bytes_submitted += io->byte_count;
	return 0;
}

/* A write that fails may have come as far as any sector. */
static int end_write(struct disk_sim *sim, struct sim_write *write)
{
	int result = 0;

	if (chance(sim, sim->timeouts))
		sim->timed_out = true;
	write->late = sim->power_off || sim->timed_out;
	if (write->late)
		return sim->power_off ? -EIO : -ETIMEDOUT;
	if (memcmp(write->bytes, write->io->bytes, write->byte_count) != 0)
		abuse(sim, "bytes changed while they were written");
	if (chance(sim, sim->write_errors)) {
		uint64_t sectors = write->byte_count / SECTOR_BYTES + 1;

		result = random_below(&sim->random, 2) ? -EIO : -ENOSPC;
		write->byte_count = (uint32_t)random_below(&sim->random, sectors) * SECTOR_BYTES;
	}
	memcpy(sim->now + write->offset, write->bytes, write->byte_count);
	return result;
}

static struct disk_io *sim_wait(struct disk *disk)
{
	struct disk_sim *sim = sim_of(disk);
	uint32_t on_their_way[DISK_DEPTH_MAX], count = 0;
	struct sim_write *write;
	struct disk_io *io;

	begin_call(sim);
	for (uint32_t i = 0; i < sim->write_count && count < DISK_DEPTH_MAX; i++)
		if (sim->writes[i].io)
			on_their_way[count++] = i;
	if (count == 0)
		return NULL;
	write = &sim->writes[on_their_way[random_below(&sim->random, count)]];
	io = write->io;
	io->result = end_write(sim, write);
	write->io = NULL;
	return io;
}

static void shuffle(struct disk_sim *sim)
{
	for (uint32_t i = 0; i < sim->write_count; i++) {
		uint32_t at = (uint32_t)random_below(&sim->random, i + 1);

		sim->order[i] = sim->order[at];
		sim->order[at] = i;
	}
}

static void land_sectors(struct disk_sim *sim, const struct sim_write *write)
{
	for (uint32_t at = 0; at < write->byte_count; at += SECTOR_BYTES)
		if (random_below(&sim->random, 2))
			memcpy(sim->durable + write->offset + at, write->bytes + at, SECTOR_BYTES);
}

/* Any writes land, in any order, some of them torn; `undo` keeps what was there before. */
static void land_some(struct disk_sim *sim, bool undo)
{
	uint64_t quarters = random_below(&sim->random, 5);

	shuffle(sim);
	for (uint32_t i = 0; i < sim->write_count; i++) {
		struct sim_write *write = &sim->writes[sim->order[i]];

		write->before = NULL;
		if (random_below(&sim->random, 4) >= quarters || !write->byte_count)
			continue;
		if (undo) {
			write->before = malloc(write->byte_count);
			ck_assert_ptr_nonnull(write->before);
			memcpy(write->before, sim->durable + write->offset, write->byte_count);
		}
		if (random_below(&sim->random, 4) == 0)
			land_sectors(sim, write);
		else
			memcpy(sim->durable + write->offset, write->bytes, write->byte_count);
	}
}

/* What did not become durable is gone from the disk's cache too. */
static void forget_cached(struct disk_sim *sim)
{
	for (uint32_t i = 0; i < sim->write_count; i++) {
		const struct sim_write *write = &sim->writes[i];

		memcpy(sim->now + write->offset, sim->durable + write->offset, write->byte_count);
	}
	drop_all(sim);
}

void disk_sim_try_crash(struct disk_sim *sim)
{
	land_some(sim, true);
}

void disk_sim_undo_crash(struct disk_sim *sim)
{
	for (uint32_t i = sim->write_count; i-- > 0;) {
		struct sim_write *write = &sim->writes[sim->order[i]];

		if (write->before)
			memcpy(sim->durable + write->offset, write->before, write->byte_count);
		free(write->before);
		write->before = NULL;
	}
}

void disk_sim_cut(struct disk_sim *sim)
{
	land_some(sim, false);
	forget_cached(sim);
	disk_sim_revive(sim);
}

void disk_sim_revive(struct disk_sim *sim)
{
	sim->power_off = false;
	sim->timed_out = false;
	sim->calls_until_off = 0;
}

static bool lies_now(const struct disk_sim *sim)
{
	bool has_record = false;

	for (uint32_t i = 0; i < sim->write_count; i++)
		has_record |= sim->writes[i].offset >= RECORDS_BEGIN &&
			      sim->writes[i].offset < RECORDS_END;
	return (sim->lie == SIM_NO_SYNC_BEFORE_RECORD && !has_record) ||
	       (sim->lie == SIM_NO_SYNC_OF_RECORD && has_record);
}

static int sim_sync(struct disk *disk)
{
	struct disk_sim *sim = sim_of(disk);

	if (begin_call(sim))
		return -EIO;
	sim->syncs++;
	for (uint32_t i = 0; i < sim->write_count; i++)
		if (sim->writes[i].io)
			abuse(sim, "it was synced while writes were on their way");
	if (chance(sim, sim->timeouts))
		sim->timed_out = true;
	if (sim->timed_out)
		return -ETIMEDOUT;
	if (chance(sim, sim->sync_errors)) {
		land_some(sim, false);
		forget_cached(sim);
		return -EIO;
	}
	if (lies_now(sim))
		return 0;
	for (uint32_t i = 0; i < sim->write_count; i++) {
		const struct sim_write *write = &sim->writes[i];

		memcpy(sim->durable + write->offset, sim->now + write->offset, write->byte_count);
	}
	drop_all(sim);
	return 0;
}

static int sim_read(struct disk *disk, uint64_t offset, void *bytes, uint32_t byte_count)
{
	struct disk_sim *sim = sim_of(disk);

	if (sim->power_off || chance(sim, sim->read_errors))
		return -EIO;
	if ((offset | byte_count | (uintptr_t)bytes) % 4096 || offset > disk->bytes ||
	    byte_count > disk->bytes - offset)
		abuse(sim, "a read was not of whole blocks of it");
	else
		memcpy(bytes, sim->now + place_of(sim, offset), byte_count);
	return sim->abuse ? -EIO : 0;
}

/* Writes that timed out land by now, or never. */
static int sim_close(struct disk *disk)
{
	struct disk_sim *sim = sim_of(disk);

	for (uint32_t i = 0; i < sim->write_count;) {
		struct sim_write *write = &sim->writes[i];

		if (write->io)
			abuse(sim, "it was closed while writes were on their way");
		if (write->late && random_below(&sim->random, 2)) {
			drop(sim, i);
			continue;
		}
		if (write->late)
			memcpy(sim->now + write->offset, write->bytes, write->byte_count);
		write->late = false;
		i++;
	}
	sim->timed_out = false;
	return 0;
}

static const struct disk_ops sim_ops = {
	.submit = sim_submit,
	.wait = sim_wait,
	.sync = sim_sync,
	.read = sim_read,
	.close = sim_close,
};

static uint8_t *map_zeros(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	return memory;
}

struct disk_sim *disk_sim_new(uint64_t bytes, uint64_t seed)
{
	struct disk_sim *sim = calloc(1, sizeof(*sim));

	ck_assert_ptr_nonnull(sim);
	sim->base = (struct disk){ .ops = &sim_ops, .bytes = bytes };
	sim->random = random_from_seed(seed);
	sim->now = map_zeros(bytes);
	sim->durable = map_zeros(bytes);
	return sim;
}

void disk_sim_delete(struct disk_sim *sim)
{
	drop_all(sim);
	munmap(sim->now, sim->base.bytes);
	munmap(sim->durable, sim->base.bytes);
	free(sim);
}

void disk_sim_calm(struct disk_sim *sim)
{
	sim->submit_errors = 0;
	sim->write_errors = 0;
	sim->sync_errors = 0;
	sim->read_errors = 0;
	sim->timeouts = 0;
}

/* ---- The view ---- */

static struct disk_sim *viewed(struct disk *disk)
{
	return ((struct sim_view *)disk)->sim;
}

static int view_submit(struct disk *disk, struct disk_io *io)
{
	abuse(viewed(disk), "it was written to where it was only to be read");
	return -EROFS;
}

static struct disk_io *view_wait(struct disk *disk)
{
	return NULL;
}

static int view_sync(struct disk *disk)
{
	return 0;
}

static int view_read(struct disk *disk, uint64_t offset, void *bytes, uint32_t byte_count)
{
	const struct disk_sim *sim = viewed(disk);

	memcpy(bytes, sim->durable + place_of(sim, offset), byte_count);
	return 0;
}

static int view_close(struct disk *disk)
{
	return 0;
}

static const struct disk_ops view_ops = {
	.submit = view_submit,
	.wait = view_wait,
	.sync = view_sync,
	.read = view_read,
	.close = view_close,
};

struct disk *disk_sim_view(struct disk_sim *sim, struct sim_view *view)
{
	*view = (struct sim_view){ .base = { .ops = &view_ops, .bytes = sim->base.bytes },
				   .sim = sim };
	return &view->base;
}
