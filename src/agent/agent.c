/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent_state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/robust_lock.h"
#include "persist/host.h"

#define DESCRIPTORS_MAX 4096
#define LOCK_TRIES 500
#define LOCK_NAP_NS 2000000u
#define CHORES_NS 1000000000u
#define DISK_WAIT_MS 60000u /* a disk that is slower than that for one write is given up */
#define POLL_FDS_MAX (AGENT_CLIENTS_MAX + BUTTON_MAX + 5)
#define NS_PER_MS 1000000u

/* ---- sd_notify ---- */

/* Tells the service manager, if one asked; its protocol is one datagram. */
static void tell_manager(const char *text)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = name ? strlen(name) : 0;
	CLEANUP_FD int fd = -1;

	if (length == 0 || length >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

/* ---- Begin ---- */

static int make_pulse(struct agent *agent, struct error *why)
{
	agent->pulse_fd = memfd_create("perdure-pulse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (agent->pulse_fd < 0 || ftruncate(agent->pulse_fd, sizeof(struct agent_pulse)))
		return error_set(why, -errno, "cannot make the pulse: %s", strerror(errno));
	agent->pulse = mmap(NULL, sizeof(struct agent_pulse), PROT_READ | PROT_WRITE, MAP_SHARED,
			    agent->pulse_fd, 0);
	if (agent->pulse == MAP_FAILED) {
		agent->pulse = NULL;
		return error_set(why, -errno, "cannot map the pulse: %s", strerror(errno));
	}
	/* Clients read it: none may write what another believes. */
	if (fcntl(agent->pulse_fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL))
		return error_set(why, -errno, "cannot seal the pulse: %s", strerror(errno));
	robust_lock_init(&agent->pulse->life);
	robust_lock(&agent->pulse->life);
	return 0;
}

static int make_folder(const char *path, mode_t mode, struct error *why)
{
	struct stat status;

	if (mkdir(path, mode) && errno != EEXIST)
		return error_set(why, -errno, "cannot make the folder \"%s\": %s", path,
				 strerror(errno));
	if (stat(path, &status) || !S_ISDIR(status.st_mode))
		return error_set(why, -ENOTDIR, "\"%s\" is no folder", path);
	return 0;
}

static bool is_in_memory(const char *path)
{
	struct statfs status;

	return !statfs(path, &status) && status.f_type == TMPFS_MAGIC;
}

/* Loop devices say the path of their file without the links in it: ours is to be the same. */
static int resolve_folder(struct agent *agent, struct error *why)
{
	const char *path = agent->options->folder;

	if (!realpath(path, agent->folder))
		return error_set(why, -errno, "\"%s\": %s", path, strerror(errno));
	agent->place.folder = agent->folder;
	/* On a disk it would be there after a power cut, as it happened to be, and be believed. */
	if (!is_in_memory(path))
		return error_set(why, -EINVAL,
				 "\"%s\" is not on a tmpfs, where regions have to be", path);
	return 0;
}

static int lock_images(struct agent *agent, struct error *why)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/.lock", agent->place.images);
	agent->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (agent->lock_fd < 0)
		return error_set(why, -errno, "cannot open \"%s\": %s", path, strerror(errno));
	/* The gatekeeper of one that was killed may hold it for a moment. */
	for (uint32_t i = 0; flock(agent->lock_fd, LOCK_EX | LOCK_NB); i++) {
		if (i == LOCK_TRIES)
			return error_set(why, -EBUSY, "another agent serves the images of \"%s\"",
					 agent->place.images);
		clock_sleep_ns(LOCK_NAP_NS);
	}
	return 0;
}

static int take_signals(struct agent *agent, struct error *why)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGPWR);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write beyond a limit is an error, as others are */
	agent->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (agent->signal_fd < 0)
		return error_set(why, -errno, "signalfd: %s", strerror(errno));
	return 0;
}

/* Clients, writers and regions at their most are more than the 1024 that are usual. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= DESCRIPTORS_MAX)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int make_descriptors(struct agent *agent, struct error *why)
{
	agent->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	agent->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (agent->bell_fd < 0 || agent->inotify_fd < 0)
		return error_set(why, -errno, "no descriptors: %s", strerror(errno));
	return take_signals(agent, why);
}

static void init_power(struct agent *agent)
{
	const struct agent_options *options = agent->options;
	const struct power_config config = {
		.has_ups = options->has_ups,
		.ride_through_ns = options->ride_through_ns,
		.reserve_ns = options->reserve_ns,
		.hold_ns = POWER_HOLD_NS,
		.retry_ns = POWER_RETRY_NS,
	};

	power_init(&agent->power, &config);
}

static int begin_parts(struct agent *agent, struct error *why)
{
	const struct agent_options *options = agent->options;
	const struct ups_config config = {
		.address = options->ups,
		.user = options->ups_user,
		.password_file = options->ups_password_file,
		.poll_ms = UPS_POLL_MS,
		.wait_s = UPS_WAIT_S,
		.silent_ms = UPS_SILENT_MS,
	};
	int err = watcher_create(&agent->watcher, why);

	if (!err)
		err = mover_create(agent->watcher, agent->bell_fd, &agent->mover, why);
	if (!err && options->has_ups)
		err = ups_open(&config, &agent->ups, why);
	if (!err && button_open(BUTTON_DIRECTORY, &agent->button, why)) {
		log_line("the power button is not listened to: %s", why->text);
		agent->button.count = 0;
	}
	return err;
}

static int begin(struct agent *agent, struct error *why)
{
	int err;

	agent->place.images = agent->options->images;
	agent->place.disk_wait_ms_max = DISK_WAIT_MS;
	agent->lock_fd = agent->listen_fd = agent->signal_fd = agent->bell_fd = -1;
	agent->inotify_fd = agent->pulse_fd = agent->freeze.fd = -1;
	for (uint32_t i = 0; i < AGENT_CLIENTS_MAX; i++)
		agent->clients[i].fd = -1;
	for (uint32_t i = 0; i < AGENT_REGIONS_MAX; i++)
		agent->regions[i].gate.fd = -1;
	raise_limit();
	err = host_id(agent->place.host_id, why);
	if (!err)
		err = make_folder(agent->options->folder, 0755, why);
	if (!err)
		err = resolve_folder(agent, why);
	if (!err)
		err = make_folder(agent->place.images, 0700, why);
	if (!err && is_in_memory(agent->place.images))
		log_line("\"%s\" is on a tmpfs: images there do NOT survive lost power",
			 agent->place.images);
	if (!err)
		err = lock_images(agent, why);
	if (!err)
		err = make_descriptors(agent, why);
	if (!err)
		err = agent_freeze_open(agent, why);
	if (!err)
		err = make_pulse(agent, why);
	if (!err)
		err = begin_parts(agent, why);
	if (err)
		return err;
	init_power(agent);
	agent_weigh(agent);
	err = agent_open_regions(agent, why);
	return err ? err : agent_listen(agent, why);
}

static void end(struct agent *agent)
{
	for (uint32_t i = 0; i < AGENT_CLIENTS_MAX; i++) {
		if (agent->clients[i].fd >= 0)
			close(agent->clients[i].fd);
	}
	agent_close_regions(agent);
	mover_destroy(agent->mover);
	watcher_destroy(agent->watcher);
	ups_close(agent->ups);
	button_close(&agent->button);
	agent_freeze_close(agent);
	if (agent->pulse)
		munmap(agent->pulse, sizeof(*agent->pulse));
	cleanup_fd(&agent->pulse_fd);
	cleanup_fd(&agent->listen_fd);
	cleanup_fd(&agent->signal_fd);
	cleanup_fd(&agent->bell_fd);
	cleanup_fd(&agent->inotify_fd);
	cleanup_fd(&agent->lock_fd);
}

/* ---- The loop ---- */

static void hear_signals(struct agent *agent)
{
	struct signalfd_siginfo info;

	while (read(agent->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGPWR) {
			log_line("SIGPWR from process %u", info.ssi_pid);
			agent_power(agent, POWER_SIGPWR);
			continue;
		}
		if (agent->ending)
			continue;
		log_line("told to end by process %u: saving", info.ssi_pid);
		tell_manager("STOPPING=1");
		agent->ending = true;
		agent_power(agent, POWER_COMMAND);
	}
}

static void hear_bell(struct agent *agent)
{
	uint64_t rings;

	(void)!read(agent->bell_fd, &rings, sizeof(rings));
	agent_settle_save(agent);
	agent_settle_regions(agent);
	agent_weigh(agent);
}

static void do_chores(struct agent *agent, uint64_t now_ns)
{
	if (now_ns - agent->chores_ns < CHORES_NS)
		return;
	agent->chores_ns = now_ns;
	agent_look_for_foreigners(agent);
	agent_weigh(agent);
}

static int limit_ms(const struct agent *agent)
{
	uint64_t now_ns = clock_now_ns(), until_ns = agent->chores_ns + CHORES_NS;
	uint64_t wake_ns = power_wake_ns(&agent->power);

	if (wake_ns < until_ns)
		until_ns = wake_ns;
	if (agent_freeze_wake_ns(agent) < until_ns)
		until_ns = agent_freeze_wake_ns(agent);
	if (agent->ups && ups_wake_ns(agent->ups, &agent->view) < until_ns)
		until_ns = ups_wake_ns(agent->ups, &agent->view);
	return until_ns <= now_ns ? 0 : (int)((until_ns - now_ns) / NS_PER_MS + 1);
}

static void wait_and_hear(struct agent *agent)
{
	const int own[] = { agent->listen_fd, agent->signal_fd, agent->bell_fd, agent->inotify_fd,
			    agent->ups ? ups_fd(agent->ups) : -1 };
	struct pollfd fds[POLL_FDS_MAX];
	struct agent_client *heard[AGENT_CLIENTS_MAX];
	uint32_t count = ARRAY_COUNT(own), clients = 0;

	for (uint32_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){ .fd = own[i], .events = POLLIN };
	for (uint32_t i = 0; i < AGENT_CLIENTS_MAX; i++) {
		if (agent->clients[i].fd < 0)
			continue;
		heard[clients++] = &agent->clients[i];
		fds[count++] = (struct pollfd){ .fd = agent->clients[i].fd, .events = POLLIN };
	}
	for (size_t i = 0; i < agent->button.count; i++)
		fds[count++] = (struct pollfd){ .fd = agent->button.fds[i], .events = POLLIN };
	if (poll(fds, count, limit_ms(agent)) < 0)
		return;
	if (fds[1].revents)
		hear_signals(agent);
	if (button_take(&agent->button))
		agent_power(agent, POWER_BUTTON);
	if (agent->ups)
		agent_power(agent, POWER_UPS);
	if (fds[2].revents)
		hear_bell(agent);
	if (fds[3].revents)
		agent_hear_files(agent);
	for (uint32_t i = 0; i < clients; i++) {
		if (fds[ARRAY_COUNT(own) + i].revents)
			agent_hear(agent, heard[i]);
	}
	/* Last: an accepted descriptor may have the number of one that was just closed. */
	if (fds[0].revents)
		agent_accept(agent);
}

static void write_pid(const struct agent *agent)
{
	FILE *file;

	if (!agent->options->pid_file)
		return;
	file = fopen(agent->options->pid_file, "we");
	if (!file) {
		log_line("cannot write \"%s\": %s", agent->options->pid_file, strerror(errno));
		return;
	}
	fprintf(file, "%d\n", (int)getpid());
	fclose(file);
}

/* Once: at the start, or when all regions are restored. */
static void say_ready(struct agent *agent)
{
	if (agent->ready || (agent->options->eager && agent_is_restoring(agent)))
		return;
	agent->ready = true;
	write_pid(agent);
	tell_manager("READY=1");
}

int agent_run(const struct agent_options *options, struct error *why)
{
	static struct agent agent;
	int err;

	log_begin("perdure serve");
	agent = (struct agent){ .options = options };
	err = begin(&agent, why);
	if (!err) {
		log_line("serving the regions of \"%s\", images in \"%s\"", options->folder,
			 options->images);
		while (!agent_may_end(&agent)) {
			say_ready(&agent);
			wait_and_hear(&agent);
			agent_freeze_settle(&agent);
			agent_power(&agent, POWER_TICK);
			do_chores(&agent, clock_now_ns());
		}
	}
	end(&agent);
	return err;
}
