/* SPDX-License-Identifier: Apache-2.0 */
#include "pump/pager_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/own_memory.h"
#include "base/own_thread.h"
#include "base/raw_map.h"
#include "kernel/thread_cpu.h"

/* Address space for the program's mappings; halved until the kernel grants it. */
#define PAGER_REGION_PAGES_MAX ((uint64_t)1 << 28) /* 1 TiB */
#define PAGER_REGION_PAGES_MIN ((uint64_t)1 << 18) /* 1 GiB */
/* What is kept of each page: entry, links, digest, checksum. */
#define PAGER_ENTRY_BYTES (sizeof(uint64_t) + sizeof(struct page_link) + sizeof(uint64_t) + 4)

uint64_t pager_acquire(struct pager *pager, uint64_t page)
{
	uint64_t entry;

	while (!page_table_acquire(&pager->table, page, &entry))
		sched_yield();
	return entry;
}

void pager_list(struct pager *pager, uint64_t page)
{
	pthread_mutex_lock(&pager->lock);
	if (!page_list_holds(&pager->resident, (uint32_t)page))
		page_list_push(&pager->resident, (uint32_t)page);
	pthread_mutex_unlock(&pager->lock);
}

void pager_settle(struct pager *pager, uint64_t page, uint64_t entry)
{
	if (page_entry_state(entry) == PAGE_LOCAL)
		pager_list(pager, page);
	page_table_release(&pager->table, page, entry);
}

bool pager_is_at_rest(struct pager *pager, uint64_t entry)
{
	bool stored;

	if (page_entry_state(entry) != PAGE_VICTIM)
		return true;
	pthread_mutex_lock(&pager->lock);
	stored = frame_pool_is_stored(&pager->frames, page_entry_frame(entry));
	pthread_mutex_unlock(&pager->lock);
	return stored;
}

/* ---- Start ---- */

/* A child that no pager serves must not read zeros where pages are far: it has nothing. */
static void set_usage(void *start, size_t bytes)
{
	raw_madvise(start, bytes, MADV_NOHUGEPAGE);
	raw_madvise(start, bytes, MADV_DONTFORK);
}

static int reserve_range(size_t bytes, void **ret_start)
{
	int err = raw_reserve(NULL, bytes, 0, ret_start);

	if (!err)
		set_usage(*ret_start, bytes);
	return err;
}

static int make_region(struct pager *pager, struct error *why)
{
	void *start;
	int err = -ENOMEM;

	for (uint64_t pages = PAGER_REGION_PAGES_MAX; err && pages >= PAGER_REGION_PAGES_MIN;
	     pages /= 2) {
		err = reserve_range(pages * PAGE_BYTES, &start);
		pager->page_count = pages;
	}
	if (!err)
		err = uffd_register(&pager->uffd, start, pager->page_count * PAGE_BYTES);
	if (err)
		return error_set(why, err, "no address space for the region: %s", strerror(-err));
	pager->start = start;
	return 0;
}

static int make_tables(struct pager *pager, struct error *why)
{
	uint64_t n = pager->page_count;
	void *entries, *checksums, *digests, *links;
	int err = own_memory_map_lazily(n * sizeof(uint64_t), &entries);

	if (!err)
		err = own_memory_map_lazily(n * sizeof(uint32_t), &checksums);
	if (!err)
		err = own_memory_map_lazily(n * sizeof(uint64_t), &digests);
	if (!err)
		err = own_memory_map_lazily(n * sizeof(struct page_link), &links);
	if (err)
		return error_set(why, err, "no address space for the page table");
	pager->table = (struct page_table){ .entries = entries, .page_count = n };
	pager->checksums = checksums;
	pager->digests = digests;
	pager->resident.links = links;
	return 0;
}

int pager_map_pool(struct pager *pager, void *start, size_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (start ? MAP_FIXED : 0);
	void *pool;
	int err = raw_mmap(start, bytes, PROT_READ | PROT_WRITE, flags, -1, 0, &pool);

	if (err)
		return err;
	pager->pool = pool;
	set_usage(pool, bytes);
	atomic_store(&pager->member->pool_start, (uintptr_t)pool);
	atomic_store(&pager->member->pool_end, (uintptr_t)pool + bytes);
	return uffd_register(&pager->uffd, pool, bytes);
}

/* Twice the groups that the victims fill: a group is empty again only when its last frame is. */
static int make_frames(struct pager *pager, struct error *why)
{
	uint32_t count = (uint32_t)(2 * pager->policy.high + 8 * FRAME_GROUP_FRAMES) /
			 FRAME_GROUP_FRAMES * FRAME_GROUP_FRAMES;
	void *frames, *groups;
	int err = own_memory_map(count * sizeof(struct frame), &frames);

	if (!err)
		err = own_memory_map(count / FRAME_GROUP_FRAMES * sizeof(struct frame_group),
				     &groups);
	if (!err)
		err = pager_map_pool(pager, NULL, count * PAGE_BYTES);
	if (err)
		return error_set(why, err, "no memory for the frame pool: %s", strerror(-err));
	frame_pool_init(&pager->frames, frames, groups, count);
	return 0;
}

int pager_open_proc(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), dumpable = prctl(PR_GET_DUMPABLE);

	if (fd >= 0 || errno != EACCES || dumpable == 1)
		return fd < 0 ? -errno : fd;
	/* A process that has changed its user may look at itself again for this moment. */
	prctl(PR_SET_DUMPABLE, 1);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	prctl(PR_SET_DUMPABLE, 0);
	return fd;
}

int pager_open_memory(struct pager *pager, struct error *why)
{
	int fd = pager_open_proc("/proc/self/mem");

	if (fd < 0)
		return error_set(why, fd, "/proc/self/mem: %s", strerror(-fd));
	pager->memory_fd = descriptor_move_up(fd);
	return 0;
}

static int open_kernel(struct pager *pager, const struct pager_config *config, struct error *why)
{
	int err = uffd_open(&pager->uffd, why);

	if (err)
		return err;
	pager->use_move = pager->uffd.can_move && config->kernel != PAGER_KERNEL_COPY;
	if (config->kernel == PAGER_KERNEL_MOVE && !pager->uffd.can_move)
		return error_set(
			why, -ENOSYS,
			"--kernel move: this kernel has no UFFDIO_MOVE; use --kernel copy");
	pager->uffd.fd = descriptor_move_up(pager->uffd.fd);
	pager->spare_fd = descriptor_copy(pager->uffd.fd);
	return pager_open_memory(pager, why);
}

static int make_lane(struct pager *pager, uint32_t index, struct error *why)
{
	struct lane *lane = &pager->lanes[index];
	void *buffer;
	int err = own_memory_map((1 + INTAKE_PAGES_MAX) * PAGE_BYTES, &buffer);

	if (err)
		return error_set(why, err, "no memory for a lane");
	lane->landing = (char *)buffer + PAGE_BYTES;
	lane->pager = pager;
	lane->index = index;
	lane->buffer = buffer;
	pthread_mutex_init(&lane->lock, NULL);
	return far_lane_open(pager->far, &lane->lock, &lane->far, why);
}

int pager_start_handler(struct lane *lane, struct error *why)
{
	int err = own_thread_start(&lane->thread, NULL, pager_handle, lane);
	cpu_set_t cpus;

	if (err)
		return error_set(why, err, "cannot start a handler thread: %s", strerror(-err));
	CPU_ZERO(&cpus);
	CPU_SET((size_t)lane->cpu, &cpus);
	pthread_setaffinity_np(lane->thread, sizeof(cpus), &cpus);
	pthread_setname_np(lane->thread, "perdure");
	return 0;
}

/* One handler to each CPU that the process may use. */
static int start_lanes(struct pager *pager, struct error *why)
{
	int cpus[PAGER_LANES_MAX];
	cpu_set_t allowed;
	int err = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return error_set(why, -errno, "sched_getaffinity: %s", strerror(errno));
	for (int cpu = 0; cpu < CPU_SETSIZE && pager->lane_count < PAGER_LANES_MAX; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed))
			cpus[pager->lane_count++] = cpu;
	for (uint32_t i = 0; !err && i <= pager->lane_count; i++)
		err = make_lane(pager, i, why);
	/* A page on its way out is there twice for an instant, in each lane. */
	pager->limit_pages -= pager->lane_count + 1;
	pager->waiting = (int32_t)pager->lane_count;
	thread_cpu_init();
	for (uint32_t i = 0; !err && i < pager->lane_count; i++) {
		pager->lanes[i].cpu = cpus[i];
		err = pager_start_handler(&pager->lanes[i], why);
	}
	if (!err)
		err = far_mender_start(pager->far, why);
	return err;
}

static int make_key(void *key, size_t bytes, struct error *why)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = getrandom((char *)key + done, bytes - done, 0);

		if (n < 0 && errno != EINTR)
			return error_set(why, -errno, "getrandom: %s", strerror(errno));
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int open_far(struct pager *pager, const struct pager_config *config, struct error *why)
{
	struct far_config far = {
		.uris = config->far_uris,
		.uri_count = config->far_count,
		.mirror = config->mirror,
		.key_file = config->key_file,
		.timeout_ms = config->timeout_ms,
		.pages = pager->pool,
		.pages_bytes = pager_pool_bytes(pager),
		.counters = pager->counters,
	};

	return far_open(&far, &pager->far, why);
}

int pager_start(const struct pager_config *config, struct pager **ret_pager, struct error *why)
{
	struct pager *pager;
	void *memory;
	int err = own_memory_map(sizeof(*pager), &memory);

	if (err)
		return error_set(why, err, "no memory for the pager");
	pager = memory;
	pager->limit_pages = config->local_bytes / PAGE_BYTES;
	/* A backing that does not answer is given up, and then another tried. */
	pager->room_wait_ns = 2 * (uint64_t)config->timeout_ms * 1000000;
	pager->policy = evict_policy_for(pager->limit_pages);
	prefetch_init(&pager->prefetch, config->prefetch);
	pager->whole_pages = config->whole_pages;
	pager->prefetch_timer_ns = config->prefetch_timer_ns;
	pager->timer_ns_max = (uint64_t)config->timeout_ms * 1000000 / 2;
	assert(config->prefetch_timer_ns < (uint64_t)config->timeout_ms * 1000000);
	pager->member = config->member;
	pager->counters = &config->member->counters;
	pthread_mutex_init(&pager->lock, NULL);
	pthread_mutex_init(&pager->gate, NULL);
	pthread_mutex_init(&pager->prefetch_lock, NULL);
	sem_init(&pager->held, 0, 0);
	err = own_memory_map(PAGE_BYTES, &memory);
	if (err)
		return error_set(why, err, "no memory for the zero page");
	pager->zero_page = memory;
	err = make_key(&pager->digest_key, sizeof(pager->digest_key), why);
	if (!err)
		err = make_key(&pager->line_key, sizeof(pager->line_key), why);
	if (!err)
		err = pager_lines_start(pager, why);
	if (!err)
		err = open_kernel(pager, config, why);
	if (!err)
		err = make_region(pager, why);
	if (!err)
		err = make_tables(pager, why);
	if (!err)
		err = make_frames(pager, why);
	if (!err)
		err = open_far(pager, config, why);
	if (!err)
		err = start_lanes(pager, why);
	if (err)
		return err;
	atomic_store(&pager->member->region_start, (uintptr_t)pager->start);
	atomic_store(&pager->member->region_end,
		     (uintptr_t)pager->start + pager->page_count * PAGE_BYTES);
	*ret_pager = pager;
	return 0;
}

/* ---- The program's calls ---- */

uintptr_t pager_region_start(const struct pager *pager)
{
	return (uintptr_t)pager->start;
}

uint64_t pager_region_pages(const struct pager *pager)
{
	return pager->page_count;
}

uint64_t pager_local_bytes(const struct pager *pager)
{
	return pager->limit_pages * PAGE_BYTES;
}

int pager_register(struct pager *pager, uint64_t first, uint64_t count)
{
	set_usage(pager_page(pager, first), count * PAGE_BYTES);
	return uffd_register(&pager->uffd, pager_page(pager, first), count * PAGE_BYTES);
}

int pager_is_resident(const struct pager *pager, uint64_t page)
{
	return page_entry_state(page_table_peek(&pager->table, page)) == PAGE_LOCAL;
}

int pager_is_untouched(const struct pager *pager, uint64_t page)
{
	return !page_table_peek(&pager->table, page);
}

int pager_refuses_pinned(const struct pager *pager)
{
	return pager->use_move;
}

void pager_set_mapped(struct pager *pager, uint64_t pages)
{
	struct run_counters *counters = pager->counters;
	uint64_t bytes = pages * PAGE_BYTES;

	atomic_store_explicit(&counters->region_bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&counters->metadata_bytes,
			      pages * PAGER_ENTRY_BYTES + far_metadata_bytes(pager->far),
			      memory_order_relaxed);
	if (bytes > atomic_load_explicit(&counters->region_bytes_max, memory_order_relaxed))
		atomic_store_explicit(&counters->region_bytes_max, bytes, memory_order_relaxed);
}
