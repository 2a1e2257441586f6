/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Before a save, those who are not tracked are held still (S1): processes that have a region's file
 * are stopped, file systems on a region are frozen, which brings what they hold back into the
 * region. They go on when the tracked writers do. It takes FREEZE_LIMIT_NS at the most: a save in
 * time is worth more than one of a file system that was unmounted in order.
 */

#include "agent/agent_state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/freezer.h"
#include "base/clock.h"
#include "base/log.h"
#include "kernel/loop.h"
#include "kernel/mount_table.h"

#define FREEZE_LIMIT_NS 3000000000ull
#define ROUNDS_MAX 4 /* of stopping: who has forked meanwhile is found by the next */

int agent_freeze_open(struct agent *agent, struct error *why)
{
	return freezer_start(agent->bell_fd, &agent->freeze.fd, why);
}

void agent_freeze_close(struct agent *agent)
{
	if (agent->freeze.fd >= 0)
		close(agent->freeze.fd);
	agent->freeze.fd = -1;
}

static void lose_freezer(struct agent *agent)
{
	log_line("the freezer has ended: who is not tracked is not stopped at a save");
	agent_freeze_close(agent);
	agent->freeze.awaits = false;
}

/* False: nobody is there to hear it. */
static bool ask(struct agent *agent, struct freezer_request *request)
{
	struct agent_freeze *freeze = &agent->freeze;

	if (send(freeze->fd, request, sizeof(*request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		lose_freezer(agent);
		return false;
	}
	freeze->awaits = request->verb != FREEZER_UNDO;
	freeze->touched = request->verb != FREEZER_UNDO;
	return true;
}

/* ---- What is to be held still ---- */

static bool was_told(const struct freezer_request *told, pid_t pid)
{
	for (uint32_t i = 0; i < told->count; i++) {
		if (told->pids[i] == pid)
			return true;
	}
	return false;
}

/* True if an answer is awaited now. */
static bool stop_more(struct agent *agent)
{
	struct agent_freeze *freeze = &agent->freeze;
	static struct freezer_request request, found;

	if (freeze->rounds++ == ROUNDS_MAX)
		return false;
	if (freeze->rounds == 1)
		request.count = 0;
	found.count = agent_find_foreigners(agent, found.pids, FREEZER_PIDS_MAX);
	for (uint32_t i = 0; i < found.count; i++) {
		if (!was_told(&request, found.pids[i]))
			continue;
		found.pids[i--] = found.pids[--found.count];
	}
	if (!found.count)
		return false;
	for (uint32_t i = 0; i < found.count && request.count < FREEZER_PIDS_MAX; i++)
		request.pids[request.count++] = found.pids[i];
	found.verb = FREEZER_STOP;
	return ask(agent, &found);
}

/* The next loop device of a region's, counted through all of them, that is mounted. */
static bool next_mount(struct agent *agent, struct mount_entry *ret_entry)
{
	struct loop_device devices[FREEZER_FILE_SYSTEMS_MAX];
	uint32_t number = 0;

	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++) {
		size_t count;

		const struct region *region = agent->regions[i].region;

		if (!region || region->foreign != REGION_FOREIGN)
			continue;
		count = agent_find_loops(agent, region, devices, FREEZER_FILE_SYSTEMS_MAX);
		for (size_t k = 0; k < count && k < FREEZER_FILE_SYSTEMS_MAX; k++) {
			if (number++ < agent->freeze.loops_done)
				continue;
			agent->freeze.loops_done++;
			if (!mount_table_find(devices[k].device, ret_entry))
				return true;
		}
	}
	return false;
}

/* The agent would wait for itself. */
static bool has_our_log(const struct mount_entry *entry)
{
	struct stat log;

	if (fstat(STDERR_FILENO, &log) || log.st_dev != entry->device)
		return false;
	log_line("\"%s\" is not frozen: the agent's log is there", entry->path);
	return true;
}

static bool freeze_next(struct agent *agent)
{
	static struct freezer_request request = { .verb = FREEZER_FREEZE };
	struct mount_entry entry;

	do {
		if (!next_mount(agent, &entry))
			return false;
	} while (has_our_log(&entry));
	request.device = entry.device;
	memcpy(request.path, entry.path, sizeof(request.path));
	return ask(agent, &request);
}

/* ---- Steps ---- */

static bool step(struct agent *agent)
{
	struct agent_freeze *freeze = &agent->freeze;

	if (freeze->fd < 0)
		return false;
	if (!freeze->stopped && stop_more(agent))
		return true;
	freeze->stopped = true;
	return freeze->fd >= 0 && freeze_next(agent);
}

static void go_on(struct agent *agent)
{
	if (step(agent))
		return;
	agent->freeze.under_way = false;
	agent_save_still(agent);
}

void agent_freeze_begin(struct agent *agent)
{
	struct agent_freeze *freeze = &agent->freeze;

	freeze->under_way = true;
	freeze->stopped = false;
	freeze->rounds = 0;
	freeze->loops_done = 0;
	freeze->end_ns = clock_now_ns() + FREEZE_LIMIT_NS;
	agent_hear_files(agent);
	if (!freeze->awaits) {
		go_on(agent);
		return;
	}
	/* It hangs since the save before: nothing more is asked of it. */
	log_line("the freezer hangs: saving without it");
	freeze->under_way = false;
	agent_save_still(agent);
}

static void hear(struct agent *agent)
{
	struct agent_freeze *freeze = &agent->freeze;
	struct freezer_answer answer;
	ssize_t bytes = recv(freeze->fd, &answer, sizeof(answer), MSG_DONTWAIT);

	if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (bytes != sizeof(answer)) {
		lose_freezer(agent);
		return;
	}
	freeze->awaits = false;
	if (answer.result)
		log_line("%s", answer.why.text);
}

void agent_freeze_settle(struct agent *agent)
{
	struct agent_freeze *freeze = &agent->freeze;

	if (freeze->awaits)
		hear(agent);
	if (!freeze->under_way)
		return;
	if (!freeze->awaits) {
		go_on(agent);
	} else if (clock_now_ns() >= freeze->end_ns) {
		log_line("not all who are not tracked could be held still within %llu s: saving",
			 FREEZE_LIMIT_NS / 1000000000u);
		freeze->under_way = false;
		agent_save_still(agent);
	}
}

void agent_freeze_end(struct agent *agent)
{
	static struct freezer_request request = { .verb = FREEZER_UNDO };
	bool awaits = agent->freeze.awaits;

	if (agent->freeze.fd < 0 || !agent->freeze.touched)
		return;
	if (ask(agent, &request))
		agent->freeze.awaits = awaits;
}

uint64_t agent_freeze_wake_ns(const struct agent *agent)
{
	return agent->freeze.under_way ? agent->freeze.end_ns : UINT64_MAX;
}
