/* SPDX-License-Identifier: Apache-2.0 */
/* Who talks to the agent over its socket (format/agent.h). Nothing here waits for a client. */

#include "agent/agent_state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/descriptor_pass.h"
#include "base/log.h"

#define BACKLOG 64
/* Any user may connect: none can keep root, or another, from it. */
#define CLIENTS_OF_USER 64
#define CLIENTS_OF_MASTERS 32

int agent_listen(struct agent *agent, struct error *why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s",
			      agent->place.folder, AGENT_SOCKET_NAME);
	CLEANUP_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (length >= (int)sizeof(address.sun_path))
		return error_set(why, -ENAMETOOLONG, "\"%s\" is too long for a socket's path",
				 agent->place.folder);
	/* Ours is the lock of the images: whoever listened there has ended. */
	unlink(address.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    chmod(address.sun_path, 0666) || listen(fd, BACKLOG))
		return error_set(why, -errno, "cannot listen on \"%s\": %s", address.sun_path,
				 strerror(errno));
	agent->listen_fd = take_fd(&fd);
	return 0;
}

static bool is_masters(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* A place for one more connection of the user's; AGENT_CLIENTS_MAX: none. */
static uint32_t find_place(const struct agent *agent, uid_t uid)
{
	uint32_t place = AGENT_CLIENTS_MAX, own = 0, used = 0;

	for (uint32_t i = 0; i < AGENT_CLIENTS_MAX; i++) {
		const struct agent_client *client = &agent->clients[i];

		if (client->fd < 0)
			place = i;
		used += client->fd >= 0;
		own += client->fd >= 0 && client->uid == uid;
	}
	if (!is_masters(uid) &&
	    (own >= CLIENTS_OF_USER || used >= AGENT_CLIENTS_MAX - CLIENTS_OF_MASTERS))
		return AGENT_CLIENTS_MAX;
	return place;
}

void agent_accept(struct agent *agent)
{
	struct ucred who;
	socklen_t length = sizeof(who);
	uint32_t i;
	CLEANUP_FD int fd = -1;

	fd = accept4(agent->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length))
		return;
	i = find_place(agent, who.uid);
	if (i == AGENT_CLIENTS_MAX)
		return;
	agent->clients[i] = (struct agent_client){ .pid = who.pid, .uid = who.uid };
	agent->clients[i].fd = take_fd(&fd);
}

static void drop(struct agent_client *client)
{
	close(client->fd);
	client->fd = -1;
}

static void answer(struct agent_client *client, const struct agent_answer *answer, int fd)
{
	if (descriptor_send(client->fd, answer, sizeof(*answer), fd, MSG_DONTWAIT))
		drop(client);
}

static void answer_error(struct agent_client *client, int result, const struct error *why)
{
	struct agent_answer message = { .version = AGENT_VERSION, .result = result };

	memcpy(message.text, why->text, sizeof(message.text));
	answer(client, &message, -1);
}

/* A text of any length goes along as a file in memory. */
static void answer_json(struct agent_client *client, json_t *object)
{
	struct agent_answer message = { .version = AGENT_VERSION };
	CLEANUP_FD int fd = memfd_create("perdure-answer", MFD_CLOEXEC);

	if (fd < 0 || json_dumpfd(object, fd, JSON_INDENT(2))) {
		json_decref(object);
		answer_error(client, -ENOMEM, &(struct error){ "no memory for the answer" });
		return;
	}
	message.bytes = (uint64_t)lseek(fd, 0, SEEK_END);
	lseek(fd, 0, SEEK_SET);
	json_decref(object);
	answer(client, &message, fd);
}

/* ---- Requests ---- */

static int find(struct agent *agent, const struct agent_client *client, const char *name,
		struct agent_region **ret_place, struct error *why)
{
	struct agent_region *place = agent_find(agent, name);

	if (!place)
		return error_set(why, -ENOENT, "there is no region \"%s\"", name);
	if (!is_masters(client->uid) && client->uid != place->region->owner)
		return error_set(why, -EACCES, "region \"%s\" is another user's", name);
	if (place->region->state == REGION_DAMAGED)
		return error_set(why, -EBADMSG, "region \"%s\": %s", name,
				 place->region->trouble.text);
	*ret_place = place;
	return 0;
}

static int do_open(struct agent *agent, struct agent_client *client,
		   const struct agent_request *request, struct error *why)
{
	struct agent_answer message = { .version = AGENT_VERSION };
	struct agent_region *place;
	int err = find(agent, client, request->name, &place, why);

	if (err)
		return err;
	message.bytes = place->region->bytes;
	message.slot = agent_slot(agent, place);
	message.flags = place->region->state == REGION_RESTORING ? AGENT_IS_RESTORING : 0;
	answer(client, &message, place->region->fd);
	return 0;
}

/* ---- Userfaultfds that outlive the agent ---- */

static int keep(struct agent *agent, const struct region *region, int uffd_fd, int *ret_fd)
{
	uint32_t i = 0;
	int ends[2], err;

	while (i < WATCHER_WRITERS_MAX && agent->kept[i].region)
		i++;
	if (i == WATCHER_WRITERS_MAX)
		return -ENOSPC;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends))
		return -errno;
	err = descriptor_send(ends[0], "", 1, uffd_fd, MSG_DONTWAIT);
	close(ends[0]);
	if (err) {
		close(ends[1]);
		return err;
	}
	agent->kept[i] = (struct agent_kept){ .fd = ends[1], .region = region };
	*ret_fd = ends[1];
	return 0;
}

void agent_let_go(struct agent *agent, const struct region *region, bool here)
{
	for (uint32_t i = 0; i < WATCHER_WRITERS_MAX; i++) {
		struct agent_kept *kept = &agent->kept[i];
		char byte;
		int fd = -1;

		if (kept->region != region)
			continue;
		if (here)
			(void)descriptor_receive(kept->fd, &byte, 1, &fd, MSG_DONTWAIT);
		cleanup_fd(&fd);
		cleanup_fd(&kept->fd);
		kept->region = NULL;
	}
}

static int do_join(struct agent *agent, struct agent_client *client,
		   const struct agent_request *request, int *uffd_fd, struct error *why)
{
	struct agent_answer message = { .version = AGENT_VERSION };
	struct agent_region *place;
	CLEANUP_FD int own_fd = fcntl(*uffd_fd, F_DUPFD_CLOEXEC, 0);
	int err = find(agent, client, request->name, &place, why), kept_fd = -1;

	if (!err && *uffd_fd < 0)
		err = error_set(why, -EBADF, "no userfaultfd came along");
	if (!err)
		err = watcher_join(place->region->watched, take_fd(uffd_fd),
				   (uintptr_t)request->start, request->bytes, request->first_page,
				   client->pid, why);
	if (err)
		return err;
	/* What is not restored when this fails is zeros to the client once the agent is gone. */
	if (place->region->state == REGION_RESTORING &&
	    (err = keep(agent, place->region, own_fd, &kept_fd)))
		return error_set(why, err, "cannot keep the userfaultfd: %s", strerror(-err));
	answer(client, &message, kept_fd);
	return 0;
}

static int do_create(struct agent *agent, struct agent_client *client,
		     const struct agent_request *request, struct error *why)
{
	uid_t owner = request->owner < 0 ? client->uid : (uid_t)request->owner;
	int err = agent_begin_create(agent, request, owner, why);

	client->awaits_create = !err;
	return err;
}

static int do_destroy(struct agent *agent, struct agent_client *client,
		      const struct agent_request *request, struct error *why)
{
	struct agent_answer message = { .version = AGENT_VERSION };
	struct agent_region *place = agent_find(agent, request->name);
	int err;

	if (!place)
		return error_set(why, -ENOENT, "there is no region \"%s\"", request->name);
	err = agent_destroy_region(agent, place, why);
	if (!err)
		answer(client, &message, -1);
	return err;
}

static int do_pulse(struct agent *agent, struct agent_client *client)
{
	struct agent_answer message = { .version = AGENT_VERSION,
					.bytes = sizeof(struct agent_pulse) };

	answer(client, &message, agent->pulse_fd);
	return 0;
}

static int do_request(struct agent *agent, struct agent_client *client,
		      struct agent_request *request, int *fd, struct error *why)
{
	bool masters = request->verb == AGENT_CREATE || request->verb == AGENT_DESTROY ||
		       request->verb == AGENT_SAVE;

	request->name[AGENT_NAME_BYTES - 1] = '\0';
	if (masters && !is_masters(client->uid))
		return error_set(why, -EPERM, "that is for root and the agent's own user");
	switch (request->verb) {
	case AGENT_STATUS:
		answer_json(client, agent_status_json(agent));
		return 0;
	case AGENT_CREATE:
		return do_create(agent, client, request, why);
	case AGENT_DESTROY:
		return do_destroy(agent, client, request, why);
	case AGENT_OPEN:
		return do_open(agent, client, request, why);
	case AGENT_PULSE:
		return do_pulse(agent, client);
	case AGENT_JOIN:
		return do_join(agent, client, request, fd, why);
	case AGENT_SAVE:
		client->awaits_save = true;
		if (!agent_ask_save(agent, request->flags & AGENT_SAVE_REHEARSE, why))
			return 0;
		client->awaits_save = false;
		return -EBUSY;
	default:
		return error_set(why, -EINVAL, "unknown request %u", request->verb);
	}
}

void agent_hear(struct agent *agent, struct agent_client *client)
{
	struct agent_request request;
	struct error why;
	ssize_t bytes;
	int passed = -1, result;

	bytes = descriptor_receive(client->fd, &request, sizeof(request), &passed,
				   MSG_DONTWAIT | MSG_TRUNC);
	CLEANUP_FD int fd = passed;
	if (bytes == -EAGAIN)
		return;
	if (bytes != sizeof(request) || request.version != AGENT_VERSION) {
		if (bytes > 0)
			answer_error(client, -ENOTSUP,
				     &(struct error){ "this agent is of another version" });
		if (client->fd >= 0)
			drop(client);
		return;
	}
	result = do_request(agent, client, &request, &fd, &why);
	if (result && client->fd >= 0)
		answer_error(client, result, &why);
}

/* ---- Answers that were waited for ---- */

void agent_answer_save(struct agent *agent)
{
	for (uint32_t i = 0; i < AGENT_CLIENTS_MAX; i++) {
		struct agent_client *client = &agent->clients[i];

		if (client->fd < 0 || !client->awaits_save)
			continue;
		client->awaits_save = false;
		if (agent->last_save.result)
			answer_error(client, agent->last_save.result, &agent->last_save.why);
		else
			answer_json(client, agent_save_json(agent));
	}
}

void agent_answer_create(struct agent *agent, int result, const struct error *why)
{
	const struct agent_answer message = { .version = AGENT_VERSION };

	for (uint32_t i = 0; i < AGENT_CLIENTS_MAX; i++) {
		struct agent_client *client = &agent->clients[i];

		if (client->fd < 0 || !client->awaits_create)
			continue;
		client->awaits_create = false;
		if (result)
			answer_error(client, result, why);
		else
			answer(client, &message, -1);
	}
}
