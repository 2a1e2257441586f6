/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's regions: opened at the start, made and destroyed by command. */

#include "agent/agent_state.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own_thread.h"
#include "base/units.h"

#define IMAGE_SUFFIX ".image"
/* One packed area is a quarter of the region: a save of more goes to the homes. */
#define PACKED_SHARE 4
#define PACKED_PAGES_MIN 1024

struct agent_region *agent_find(struct agent *agent, const char *name)
{
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		struct region *region = agent->regions[i].region;

		if (region && !strcmp(region->name, name))
			return &agent->regions[i];
	}
	return NULL;
}

uint32_t agent_slot(const struct agent *agent, const struct agent_region *region)
{
	return (uint32_t)(region - agent->regions);
}

static struct agent_region *free_place(struct agent *agent)
{
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		if (!agent->regions[i].region)
			return &agent->regions[i];
	}
	return NULL;
}

static void take_in(struct agent *agent, struct region *region, bool named)
{
	struct agent_region *place = free_place(agent);
	char path[PATH_MAX];

	*place = (struct agent_region){
		.region = region, .gate.fd = -1, .watch = -1, .named = named
	};
	if (region->state == REGION_DAMAGED)
		return;
	region_path(&agent->place, region->name, named ? REGION_NAMED : REGION_HIDDEN, path);
	if (agent_watch_file(agent, place, path))
		log_line("region \"%s\": cannot watch who opens it: %s", region->name,
			 strerror(errno));
	mover_add(agent->mover, region);
}

/* ---- At the start ---- */

static void say_opened(const struct region *region)
{
	const struct image_commit *commit;

	if (region->state == REGION_DAMAGED) {
		log_line("region \"%s\" is not served: %s", region->name, region->trouble.text);
		return;
	}
	commit = image_commit_record(region->image);
	if (region->loss.text[0])
		log_line("region \"%s\": %s", region->name, region->loss.text);
	log_line("region \"%s\": %s generation %" PRIu64, region->name,
		 region->state == REGION_LIVE ? "taken over, all of it unflushed; its image is"
					      : "restoring",
		 le64_get(commit->generation));
}

static int open_one(struct agent *agent, const char *file_name, struct error *why)
{
	char name[AGENT_NAME_BYTES];
	struct region *region;
	int err;

	snprintf(name, sizeof(name), "%.*s", (int)(strlen(file_name) - strlen(IMAGE_SUFFIX)),
		 file_name);
	if (agent_check_name(name, why))
		return 0;
	if (!free_place(agent)) {
		log_line("region \"%s\" is not served: %d are the most", name, AGENT_REGIONS_MAX);
		return 0;
	}
	err = region_open(&agent->place, agent->watcher, name, &region, why);
	if (err)
		return err;
	say_opened(region);
	take_in(agent, region, region->state == REGION_LIVE);
	/* Who had it under the agent before is not known. */
	if (region->state == REGION_LIVE)
		region_set_foreign(region, REGION_FOREIGN);
	return 0;
}

/* Who opens a region that is being restored waits, if the kernel can have him wait. */
static void shut_gates(struct agent *agent)
{
	const struct gate *gates[AGENT_REGIONS_MAX];
	char hidden[PATH_MAX], named[PATH_MAX];
	unsigned count = 0;
	struct error why;

	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		struct agent_region *place = &agent->regions[i];

		if (!place->region || place->named || place->region->state != REGION_RESTORING)
			continue;
		region_path(&agent->place, place->region->name, REGION_HIDDEN, hidden);
		region_path(&agent->place, place->region->name, REGION_NAMED, named);
		if (gate_shut(&place->gate, hidden, named, &why))
			log_line("region \"%s\" has no name until it is restored: %s",
				 place->region->name, why.text);
		else
			gates[count++] = &place->gate;
	}
	if (!count || !gatekeeper_start(&agent->gatekeeper, gates, count, agent->lock_fd, &why))
		return;
	log_line("regions have no names until they are restored: %s", why.text);
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++)
		gate_refuse(&agent->regions[i].gate);
}

static bool is_image(const char *name)
{
	size_t length = strlen(name);

	return length > strlen(IMAGE_SUFFIX) && length < AGENT_NAME_BYTES + strlen(IMAGE_SUFFIX) &&
	       !strcmp(name + length - strlen(IMAGE_SUFFIX), IMAGE_SUFFIX);
}

int agent_open_regions(struct agent *agent, struct error *why)
{
	DIR *folder = opendir(agent->place.images);
	struct dirent *entry;
	int err = 0;

	if (!folder)
		return error_set(why, -errno, "cannot read the folder \"%s\": %s",
				 agent->place.images, strerror(errno));
	while (!err && (entry = readdir(folder))) {
		if (is_image(entry->d_name))
			err = open_one(agent, entry->d_name, why);
	}
	closedir(folder);
	if (!err)
		shut_gates(agent);
	return err;
}

void agent_close_regions(struct agent *agent)
{
	if (agent->making.under_way) {
		pthread_join(agent->making.thread, NULL);
		if (!agent->making.result)
			region_close(agent->making.region);
	}
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		struct region *region = agent->regions[i].region;

		if (!region)
			continue;
		if (region->state != REGION_DAMAGED || region->watched)
			mover_remove(agent->mover, region);
		region_close(region);
		agent->regions[i].region = NULL;
	}
}

/* ---- By command ---- */

static void *make_region(void *argument)
{
	struct agent_making *making = argument;
	struct agent *agent = making->agent;
	uint64_t packed = making->bytes / PAGE_BYTES / PACKED_SHARE, one = 1;

	if (packed < PACKED_PAGES_MIN)
		packed = PACKED_PAGES_MIN;
	making->result = region_create(&agent->place, agent->watcher, making->name, making->bytes,
				       packed, making->owner, &making->region, &making->why);
	atomic_store(&making->ended, true);
	(void)!write(agent->bell_fd, &one, sizeof(one));
	return NULL;
}

/* Larger than the battery could ever pay for: refused before anything is made. */
static int check_bytes(const struct agent *agent, uint64_t bytes, struct error *why)
{
	if (bytes == 0 || bytes % PAGE_BYTES)
		return error_set(why, -EINVAL, "a region's size is a multiple of 4K and not 0");
	if (agent->budget.largest_bytes && bytes > agent->budget.largest_bytes)
		return error_set(why, -ENOSPC,
				 "the battery can never pay for a region of %" PRIu64
				 " MiB: %" PRIu64 " MiB is the largest",
				 bytes >> 20, agent->budget.largest_bytes >> 20);
	return 0;
}

/* Two homes, two packed areas and two tables have to fit the disk. */
static int check_disk(const struct agent *agent, uint64_t bytes, struct error *why)
{
	const uint64_t spare = 8 << 20; /* tables, records, rounding */
	struct statvfs disk;
	uint64_t free_bytes;

	if (statvfs(agent->place.images, &disk))
		return 0;
	free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	if (bytes < UINT64_MAX / 4 && bytes * 5 / 2 + spare <= free_bytes)
		return 0;
	free_bytes = free_bytes > spare ? (free_bytes - spare) * 2 / 5 : 0;
	return error_set(why, -ENOSPC,
			 "the disk of \"%s\" cannot hold a region of %" PRIu64
			 " MiB twice and what a save packs: %" PRIu64 " MiB is the largest",
			 agent->place.images, bytes >> 20, free_bytes >> 20);
}

int agent_begin_create(struct agent *agent, const struct agent_request *request, uid_t owner,
		       struct error *why)
{
	struct agent_making *making = &agent->making;
	int err = agent_check_name(request->name, why);

	if (!err)
		err = check_bytes(agent, request->bytes, why);
	if (!err)
		err = check_disk(agent, request->bytes, why);
	if (err)
		return err;
	if (agent_find(agent, request->name))
		return error_set(why, -EEXIST, "\"%s\" is the name of a region that exists",
				 request->name);
	if (making->under_way)
		return error_set(why, -EBUSY, "region \"%s\" is being made: one at a time",
				 making->name);
	if (!free_place(agent))
		return error_set(why, -ENOSPC, "%d regions are the most", AGENT_REGIONS_MAX);
	*making = (struct agent_making){
		.under_way = true,
		.agent = agent,
		.bytes = request->bytes,
		.owner = owner,
	};
	memcpy(making->name, request->name, sizeof(making->name));
	err = own_thread_start(&making->thread, NULL, make_region, making);
	if (err) {
		making->under_way = false;
		return error_set(why, err, "no thread to make the region: %s", strerror(-err));
	}
	return 0;
}

static void settle_making(struct agent *agent)
{
	struct agent_making *making = &agent->making;

	/* The mover takes in none before a save has ended. */
	if (!making->under_way || !atomic_load(&making->ended) || agent->saving)
		return;
	pthread_join(making->thread, NULL);
	making->under_way = false;
	if (!making->result) {
		log_line("region \"%s\" of %" PRIu64 " MiB made", making->name,
			 making->bytes >> 20);
		take_in(agent, making->region, true);
	}
	agent_answer_create(agent, making->result, &making->why);
}

static void settle_restoring(struct agent *agent, struct agent_region *place)
{
	struct region *region = place->region;
	struct error why;

	if (place->named || region->state == REGION_RESTORING)
		return;
	if (region->state == REGION_DAMAGED) {
		if (place->why_not.text[0])
			return;
		log_line("region \"%s\" is damaged: %s", region->name, region->trouble.text);
		place->why_not = region->trouble;
		agent_let_go(agent, region, false);
		gate_refuse(&place->gate);
		return;
	}
	if (region_publish(&agent->place, region, &why)) {
		log_line("%s", why.text);
		return;
	}
	place->named = true;
	agent_let_go(agent, region, true);
	gate_open(&place->gate);
	log_line("region \"%s\" is restored", region->name);
}

static void end_gatekeeper(struct agent *agent)
{
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		if (agent->regions[i].region && agent->regions[i].gate.fd >= 0)
			return;
	}
	gatekeeper_end(&agent->gatekeeper);
}

bool agent_is_restoring(const struct agent *agent)
{
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		const struct region *region = agent->regions[i].region;

		if (region && region->state == REGION_RESTORING)
			return true;
	}
	return false;
}

void agent_settle_regions(struct agent *agent)
{
	settle_making(agent);
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		if (agent->regions[i].region)
			settle_restoring(agent, &agent->regions[i]);
	}
	end_gatekeeper(agent);
}

int agent_destroy_region(struct agent *agent, struct agent_region *place, struct error *why)
{
	struct region *region = place->region;
	struct loop_device loop;

	if (agent->saving)
		return error_set(why, -EBUSY, "a save is under way: destroy \"%s\" after it",
				 region->name);
	if (agent_find_loops(agent, region, &loop, 1))
		return error_set(why, -EBUSY,
				 "region \"%s\" is the file of /dev/loop%u: "
				 "`perdure region unmount %s` first",
				 region->name, loop.number, region->name);
	if (region->watched)
		mover_remove(agent->mover, region);
	log_line("region \"%s\" destroyed", region->name);
	gate_refuse(&place->gate);
	agent_let_go(agent, region, false);
	*place = (struct agent_region){ .gate.fd = -1, .watch = -1 };
	return region_destroy(&agent->place, region, why);
}
