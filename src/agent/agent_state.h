/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_AGENT_STATE_H
#define AGENT_AGENT_STATE_H

/* What the files of the agent share; all of it is the main thread's. */

#include <jansson.h>
#include <limits.h>
#include <pthread.h>

#include "agent/agent.h"
#include "agent/gate.h"
#include "format/agent.h"
#include "kernel/loop.h"
#include "persist/button.h"
#include "persist/mover.h"
#include "persist/ups.h"
#include "policy/budget.h"
#include "policy/power.h"

#define AGENT_CLIENTS_MAX 256 /* connections; each further one is closed at once */

struct agent_client {
	int fd; /* -1: a free place */
	pid_t pid;
	uid_t uid;
	bool awaits_save;
	bool awaits_create;
};

struct agent_region {
	struct region *region; /* NULL: a free place */
	struct gate gate;      /* while it is being restored */
	int watch;	       /* inotify's number of its file; -1: none */
	bool named;	       /* its file has its name */
	uint64_t foreign_ns;   /* when somebody not tracked was there last */
	bool armed;
	struct error why_not;
};

/* A region being made, in a thread of its own: writing its image takes its time. */
struct agent_making {
	bool under_way;
	_Atomic bool ended;
	pthread_t thread;
	struct agent *agent;
	char name[AGENT_NAME_BYTES];
	uint64_t bytes;
	uid_t owner;
	struct region *region;
	int result;
	struct error why;
};

/* Those who are not tracked, held still for a save. */
struct agent_freeze {
	int fd;		 /* the freezer's; -1: there is none */
	bool awaits;	 /* an answer */
	bool touched;	 /* something may have to be undone */
	bool under_way;	 /* the save waits for it */
	bool stopped;	 /* no process is left to be stopped */
	uint32_t rounds; /* of stopping */
	uint32_t loops_done;
	uint64_t end_ns;
};

/* In which a client's userfaultfd lies until the region is restored (format/agent.h). */
struct agent_kept {
	int fd;
	const struct region *region; /* NULL: a free place */
};

struct agent {
	const struct agent_options *options;
	char folder[PATH_MAX]; /* of the regions, without links in its path */
	struct region_place place;
	int lock_fd; /* of the images' folder: one agent at a time */
	int listen_fd;
	int signal_fd;
	int bell_fd; /* the mover's, and a making's end */
	int inotify_fd;
	int pulse_fd;
	struct agent_pulse *pulse;
	struct ups *ups; /* NULL: none */
	struct ups_view view;
	struct button button;
	struct watcher *watcher;
	struct mover *mover;
	struct agent_client clients[AGENT_CLIENTS_MAX];
	struct agent_kept kept[WATCHER_WRITERS_MAX];
	struct agent_region regions[AGENT_REGIONS_MAX];
	struct agent_making making;
	struct gatekeeper gatekeeper;
	struct agent_freeze freeze;

	struct power power;
	struct budget_terms terms;
	struct budget budget;
	struct mover_counters moved;
	bool ready;  /* said so */
	bool ending; /* told to end: after the save */
	bool saving;
	bool rehearsing;
	enum image_reason save_reason;
	uint64_t predicted_ns; /* of the save under way */
	struct mover_save last_save;
	uint64_t last_predicted_ns;
	uint64_t last_saved_unix_ns; /* 0: none yet */
	uint64_t chores_ns; /* when what is done each second was done last */
};

/* ---- regions.c ---- */

/* Opens all whose images are there. What cannot be served is said in the log and shown. */
int agent_open_regions(struct agent *agent, struct error *why);
void agent_close_regions(struct agent *agent);
struct agent_region *agent_find(struct agent *agent, const char *name);
uint32_t agent_slot(const struct agent *agent, const struct agent_region *region);
/* Begins to make one; the client is answered at its end. */
int agent_begin_create(struct agent *agent, const struct agent_request *request, uid_t owner,
		       struct error *why);
bool agent_is_restoring(const struct agent *agent);
/* After the bell: regions that are restored get their names, one that was made is taken in. */
void agent_settle_regions(struct agent *agent);
int agent_destroy_region(struct agent *agent, struct agent_region *region, struct error *why);

/* ---- foreign.c ---- */

/* Hears of everybody who opens or changes the region's file by its name. */
int agent_watch_file(struct agent *agent, struct agent_region *region, const char *path);
void agent_hear_files(struct agent *agent);
/* Looks who has regions' files open, if somebody may; each second. */
void agent_look_for_foreigners(struct agent *agent);
/* Processes that are not tracked and have a region's file; returns how many, `max` at the most. */
uint32_t agent_find_foreigners(const struct agent *agent, pid_t *ret_pids, uint32_t max);
/* Loop devices on the region; as loop_find(). */
size_t agent_find_loops(const struct agent *agent, const struct region *region,
			struct loop_device *ret_devices, size_t max);

/* ---- freeze.c ---- */

/* Before there is any thread. */
int agent_freeze_open(struct agent *agent, struct error *why);
void agent_freeze_close(struct agent *agent);
/* Begins to hold still who is not tracked; agent_save_still() is called when that is done. */
void agent_freeze_begin(struct agent *agent);
/* After the bell, and in time. */
void agent_freeze_settle(struct agent *agent);
uint64_t agent_freeze_wake_ns(const struct agent *agent);
/* They may go on. */
void agent_freeze_end(struct agent *agent);

/* ---- armed.c ---- */

/* What the battery pays for, and which regions are armed; each second, and after what changes it.
 */
void agent_weigh(struct agent *agent);
uint64_t agent_save_bytes(const struct agent *agent);

/* ---- saves.c ---- */

/* One event of power: what it asks for is done. */
void agent_power(struct agent *agent, enum power_event_kind kind);
/* 0 if a save that somebody asked for began, or one is under way. */
int agent_ask_save(struct agent *agent, bool rehearse, struct error *why);
/* All who are not tracked are held still, as far as they can be: the save goes on. */
void agent_save_still(struct agent *agent);
void agent_settle_save(struct agent *agent);
bool agent_may_end(const struct agent *agent);

/* ---- clients.c ---- */

int agent_listen(struct agent *agent, struct error *why);
void agent_accept(struct agent *agent);
void agent_hear(struct agent *agent, struct agent_client *client);
/* Forgets what is kept for the region's clients: `here`, as nothing of it is missing any more. */
void agent_let_go(struct agent *agent, const struct region *region, bool here);
void agent_answer_save(struct agent *agent);
void agent_answer_create(struct agent *agent, int result, const struct error *why);

/* ---- status.c ---- */

json_t *agent_status_json(const struct agent *agent);
json_t *agent_save_json(const struct agent *agent);

#endif
