/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork(). The child has a pager of its own, which begins in the child's atfork handler; until then
 * the C library's own work in the child may already touch far pages, and the parent's forking
 * thread serves those.
 */
#include "pump/pager_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/descriptor_pass.h"
#include "base/own_memory.h"
#include "base/raw_map.h"

/* A child that does not come to serve itself in this time, stopped for instance, is given up. */
#define PAGER_FORK_WAIT_NS (60 * 1000000000ull)
#define PAGER_FORK_POLL_MS 100
#define PAGER_FORK_REPORT_POLL_MS 1 /* the report of the fork is being read in another thread */

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_CHUNK (PAGE_BYTES / sizeof(uint64_t))

static const char child_is_ready = 'r', parent_is_done = 'd';

/* ---- The parent ---- */

static int open_sockets(struct pager *pager, struct pager_fork *fork)
{
	fork->row = 0;
	while (fork->row < PAGER_FORKS_MAX && pager->fork_sockets[fork->row][0])
		fork->row++;
	if (fork->row == PAGER_FORKS_MAX)
		return -EAGAIN;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fork->sockets))
		return -errno;
	for (uint32_t i = 0; i < ARRAY_COUNT(fork->sockets); i++) {
		fork->sockets[i] = descriptor_move_up(fork->sockets[i]);
		pager->fork_sockets[fork->row][i] = fork->sockets[i];
	}
	return 0;
}

static void close_sockets(struct pager *pager, uint32_t row)
{
	for (uint32_t i = 0; i < ARRAY_COUNT(pager->fork_sockets[row]); i++) {
		if (pager->fork_sockets[row][i])
			descriptor_close(pager->fork_sockets[row][i]);
		pager->fork_sockets[row][i] = 0;
	}
}

int pager_fork_open(struct pager *pager, struct pager_fork *ret_fork)
{
	int err;

	if (!pager->uffd.can_fork)
		return -ENOSYS;
	err = open_sockets(pager, ret_fork);
	if (err)
		return err;
	err = far_fork_open(pager->far, &ret_fork->member);
	if (err)
		close_sockets(pager, ret_fork->row);
	ret_fork->open = !err;
	return err;
}

/* Waits until no lane evicts or has a store or a read on its way; none begins again. */
static void settle_lanes(struct pager *pager)
{
	for (uint32_t i = 0; i <= pager->lane_count; i++) {
		struct lane *lane = &pager->lanes[i];

		pthread_mutex_lock(&lane->lock);
		while (far_stores_pending(lane->far) || far_reads_pending(lane->far)) {
			pager_reap(lane);
			sched_yield();
		}
		pthread_mutex_unlock(&lane->lock);
	}
}

/* The frames are not inherited: whatever is in them goes far, or comes back. */
static void drop_victims(struct pager *pager)
{
	uint32_t victims;

	do {
		if (!pager_reclaim(pager))
			sched_yield();
		pthread_mutex_lock(&pager->lock);
		victims = pager->frames.victim_count;
		pthread_mutex_unlock(&pager->lock);
	} while (victims);
}

void pager_fork_prepare(struct pager *pager, struct pager_fork *fork)
{
	struct lane *lane = &pager->lanes[pager->lane_count];

	far_mender_pause(pager->far);
	pthread_mutex_lock(&lane->lock);
	pager_evict_ahead(lane, true);
	pthread_mutex_unlock(&lane->lock);
	pager->forking_thread = gettid();
	atomic_store(&pager->child_fd, -1);
	atomic_store(&pager->report_due, true);
	atomic_store(&pager->still, true);
	settle_lanes(pager);
	drop_victims(pager);
	far_fork_inherit(pager->far, fork->member);
}

void pager_note_fork(struct pager *pager, int child_fd)
{
	child_fd = descriptor_move_up(child_fd);
	if (atomic_exchange(&pager->report_due, false))
		atomic_store(&pager->child_fd, child_fd);
	else
		descriptor_close(child_fd);
}

bool pager_put_off(struct lane *lane, char *page)
{
	if (!atomic_load(&lane->pager->still) || lane->put_off_count == PAGER_PUT_OFF_MAX)
		return false;
	lane->put_off[lane->put_off_count++] = page;
	return true;
}

static void wake_put_off(struct pager *pager)
{
	for (uint32_t i = 0; i < pager->lane_count; i++) {
		struct lane *lane = &pager->lanes[i];

		pthread_mutex_lock(&lane->lock);
		while (lane->put_off_count)
			uffd_wake(&pager->uffd, lane->put_off[--lane->put_off_count]);
		pthread_mutex_unlock(&lane->lock);
	}
}

/*
 * A page that the child misses was not here at the fork, so its bytes are those of its slot, which
 * nobody gives up while the pager is still; that the parent may have it here by now is no matter.
 */
static void serve_child(struct lane *lane, const struct uffd *child, char *at)
{
	struct pager *pager = lane->pager;
	uint64_t page = (uint64_t)(at - pager->start) / PAGE_BYTES;
	uint64_t entry = page_table_peek(&pager->table, page);
	uint32_t slot = page_entry_slot(entry), backing = 0;
	const char *bytes = pager->zero_page;
	int err = page_entry_state(entry) == PAGE_LOST ? -ENODATA : 0;

	if (slot && !err) {
		bytes = lane->buffer;
		err = far_fetch(lane->far, slot, pager->checksums[page], lane->buffer, &backing);
		if (err < 0)
			pager_say_lost(pager, page, backing, err);
	}
	if (err >= 0)
		uffd_copy(child, at, bytes);
	else if (child->can_poison)
		uffd_poison(child, at);
	uffd_wake(child, at);
}

/* Takes the child's descriptor, once it was reported, and gives the child a copy of it. */
static int take_child(struct pager *pager, int socket, struct uffd *ret_child)
{
	const char byte = 0; /* a descriptor goes with bytes */
	int fd = atomic_load(&pager->child_fd);

	if (fd < 0 || ret_child->fd >= 0)
		return 0;
	*ret_child = pager->uffd;
	ret_child->fd = fd;
	/* As uffd_open() does; and a child that is killed leaves nobody waiting in read(). */
	if (fcntl(fd, F_SETFL, O_NONBLOCK))
		return -errno;
	return descriptor_send(socket, &byte, 1, fd, MSG_DONTWAIT);
}

/* One round: true when the child serves itself, or is gone. */
static bool attend(struct lane *lane, int socket, struct uffd *child)
{
	struct pollfd fds[2] = { { .fd = socket, .events = POLLIN } };
	struct uffd_message message;
	char byte = 0;

	if (take_child(lane->pager, socket, child))
		return true;
	fds[1] = (struct pollfd){ .fd = child->fd, .events = POLLIN };
	if (poll(fds, 2, child->fd < 0 ? PAGER_FORK_REPORT_POLL_MS : PAGER_FORK_POLL_MS) <= 0)
		return false;
	while (fds[1].revents & POLLIN && !uffd_read(child, &message))
		if (message.event == UFFD_FAULT)
			serve_child(lane, child, (char *)message.address);
	if (!fds[0].revents)
		return false;
	if (recv(socket, &byte, 1, MSG_DONTWAIT) == 1)
		send(socket, &parent_is_done, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	return true;
}

void pager_fork_parent(struct pager *pager, struct pager_fork *fork)
{
	struct lane *lane = &pager->lanes[pager->lane_count];
	uint64_t deadline_ns = clock_now_ns() + PAGER_FORK_WAIT_NS;
	struct uffd child = { .fd = -1 };

	far_mender_resume(pager->far);
	/* What the kernel refused while the fork was not reported, it does now. */
	wake_put_off(pager);
	descriptor_close(fork->sockets[1]);
	pager->fork_sockets[fork->row][1] = 0;
	pthread_mutex_lock(&lane->lock);
	while (!attend(lane, fork->sockets[0], &child) && clock_now_ns() < deadline_ns)
		;
	pthread_mutex_unlock(&lane->lock);
	/* The report of a child that is gone already may be in a handler's hands still. */
	if (!atomic_exchange(&pager->report_due, false))
		while (atomic_load(&pager->child_fd) < 0)
			sched_yield();
	descriptor_close(atomic_exchange(&pager->child_fd, -1));
	close_sockets(pager, fork->row);
	/* One that lives by now is left to its own end. */
	far_fork_leave(pager->far, fork->member);
	if (pager->spare_fd < 0)
		pager->spare_fd = descriptor_copy(pager->uffd.fd);
	atomic_store(&pager->still, false);
	wake_put_off(pager);
	fork->open = false;
}

/* ---- The child ---- */

static int receive_descriptor(int socket, int *ret_fd, struct error *why)
{
	char byte;

	if (descriptor_receive(socket, &byte, 1, ret_fd, 0) != 1)
		return error_set(why, -ECHILD, "the parent of the fork is gone");
	if (*ret_fd < 0)
		return error_set(why, -EMFILE, "no file descriptor is left for a forked child");
	*ret_fd = descriptor_move_up(*ret_fd);
	return 0;
}

static int remake_kernel(struct pager *pager, int socket, struct error *why)
{
	descriptor_close(pager->uffd.fd);
	descriptor_close(pager->memory_fd);
	descriptor_close(pager->spare_fd);
	descriptor_close(pager->child_fd);
	pager->uffd.fd = -1;
	int err = receive_descriptor(socket, &pager->uffd.fd, why);

	if (err)
		return err;
	pager->spare_fd = descriptor_copy(pager->uffd.fd);
	return pager_open_memory(pager, why);
}

int pager_fork_enter(struct pager *pager)
{
	void *ignored;

	return raw_reserve(pager->pool, pager_pool_bytes(pager), MAP_FIXED, &ignored);
}

/* An empty pool in the place of the parent's, and an empty list. */
static int remake_local(struct pager *pager, struct error *why)
{
	uint32_t frames = pager->frames.group_count * FRAME_GROUP_FRAMES;
	void *links = pager->resident.links;
	int err = pager_map_pool(pager, pager->pool, pager_pool_bytes(pager));

	if (!err)
		err = raw_mmap(
			links, pager->page_count * sizeof(struct page_link), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0, &links);
	if (err)
		return error_set(why, err, "no memory for the child of a fork: %s", strerror(-err));
	memset(pager->frames.frames, 0, frames * sizeof(struct frame));
	memset(pager->frames.groups, 0, pager->frames.group_count * sizeof(struct frame_group));
	frame_pool_init(&pager->frames, pager->frames.frames, pager->frames.groups, frames);
	pager->resident = (struct page_list){ .links = links };
	pager->local_pages = 0;
	pager->still = false;
	return 0;
}

static int remake_lanes(struct pager *pager, struct error *why)
{
	int err = 0;

	pthread_mutex_init(&pager->lock, NULL);
	pthread_mutex_init(&pager->prefetch_lock, NULL);
	pthread_mutex_init(&pager->gate, NULL);
	sem_init(&pager->held, 0, 0);
	pager->waiting = (int32_t)pager->lane_count;
	pthread_mutex_lock(&pager->gate);
	for (uint32_t i = 0; !err && i <= pager->lane_count; i++) {
		pthread_mutex_init(&pager->lanes[i].lock, NULL);
		pager->lanes[i].put_off_count = 0;
		pager->lanes[i].away = 0;
		pager->lanes[i].misses = 0;
		pager->lanes[i].foreign = 0;
		pager->lanes[i].late_count = 0;
		err = far_lane_reopen(pager->lanes[i].far, why);
	}
	for (uint32_t i = 0; !err && i < pager->lane_count; i++)
		err = pager_start_handler(&pager->lanes[i], why);
	if (!err)
		err = far_mender_start(pager->far, why);
	while (!err && sem_wait(&pager->held))
		;
	return err;
}

/* From here on the parent serves this process no longer, and nobody else does before start. */
static int part(struct pager *pager, int socket, struct error *why)
{
	char byte = 0;

	if (send(socket, &child_is_ready, 1, MSG_NOSIGNAL) != 1 || recv(socket, &byte, 1, 0) != 1 ||
	    byte != parent_is_done)
		return error_set(why, -ECHILD, "the parent of the fork is gone");
	return 0;
}

int pager_fork_child(struct pager *pager, struct pager_fork *fork, struct run_member *member,
		     struct error *why)
{
	int socket = fork->sockets[1], err;

	pager->fork_sockets[fork->row][1] = 0;
	/* The ends of other forks too: who waits at the other one must hear when it is closed. */
	for (uint32_t row = 0; row < PAGER_FORKS_MAX; row++)
		close_sockets(pager, row);
	pager->member = member;
	pager->counters = &member->counters;
	atomic_store(&member->region_start, (uintptr_t)pager->start);
	atomic_store(&member->region_end, (uintptr_t)pager->start + pager->page_count * PAGE_BYTES);
	err = remake_kernel(pager, socket, why);
	if (!err)
		err = remake_local(pager, why);
	if (!err)
		err = pager_lines_start(pager, why);
	if (!err)
		err = far_fork_child(pager->far, fork->member, pager->counters, why);
	if (!err)
		err = remake_lanes(pager, why);
	if (!err)
		err = part(pager, socket, why);
	descriptor_close(socket);
	fork->open = false;
	return err;
}

/*
 * What the kernel has is the truth. Entries may be of a moment before or after the mappings were
 * cloned, when the parent's handlers were at work; but only arrivals can have come between, and an
 * arrival leaves the slot as it is.
 */
static void adopt_page(struct pager *pager, uint64_t page, bool present)
{
	_Atomic uint64_t *place = &pager->table.entries[page];
	uint64_t before = *place;
	uint64_t entry = before & ~(PAGE_ENTRY_BUSY | PAGE_ENTRY_LOCKED | PAGE_ENTRY_FRAME);

	if (page_entry_state(before) == PAGE_LOST)
		present = false;
	else if (present)
		entry = page_entry_with_state(entry, PAGE_LOCAL);
	else
		entry = page_entry_with_state(entry,
					      page_entry_slot(entry) ? PAGE_FAR : PAGE_UNTOUCHED);
	if (present) {
		page_list_push(&pager->resident, (uint32_t)page);
		pager->local_pages++;
	}
	/* Only then does the table's page become the child's own. */
	if (entry != before)
		*place = entry;
}

int pager_fork_adopt(struct pager *pager, uint64_t first, uint64_t count)
{
	uint64_t *words = (uint64_t *)pager->lanes[pager->lane_count].buffer, n;
	int fd = pager_open_proc("/proc/self/pagemap"), err = fd < 0 ? fd : 0;

	for (uint64_t done = 0; !err && done < count; done += n) {
		uint64_t start = (uintptr_t)pager_page(pager, first + done) / PAGE_BYTES;

		n = count - done < PAGEMAP_CHUNK ? count - done : PAGEMAP_CHUNK;
		if (pread(fd, words, n * sizeof(*words), (off_t)(start * sizeof(*words))) !=
		    (ssize_t)(n * sizeof(*words)))
			err = -EIO;
		for (uint64_t i = 0; !err && i < n; i++)
			adopt_page(pager, first + done + i,
				   words[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED));
	}
	descriptor_close(fd);
	return err;
}

void pager_fork_forget(struct pager *pager, uint64_t first, uint64_t count)
{
	if (count)
		raw_madvise(pager_page(pager, first), count * PAGE_BYTES, MADV_DONTNEED);
	for (uint64_t page = first; page < first + count; page++) {
		uint64_t entry = page_table_peek(&pager->table, page);

		if (page_entry_slot(entry))
			far_free(pager->far, page_entry_slot(entry));
		if (entry)
			pager->table.entries[page] = PAGE_UNTOUCHED;
	}
}

void pager_fork_start(struct pager *pager)
{
	atomic_store(&pager->counters->local_bytes_max, pager->local_pages * PAGE_BYTES);
	pthread_mutex_unlock(&pager->gate);
}
