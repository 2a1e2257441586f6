/* SPDX-License-Identifier: Apache-2.0 */
#include "node/worker_fabric.h"

#include <unistd.h>

#include "base/clock.h"

/* A target's queue of notes is emptied in so many goes at the most. */
#define PROGRESS_ROUNDS 4

int worker_fabric_open(struct worker_fabric *fabric, uint32_t wanted, const char *host,
		       const struct lent *lent, struct error *why)
{
	int first_error = 0;

	for (unsigned i = 0; i < FABRIC_TRANSPORTS; i++) {
		struct fabric_target_options options = {
			.transport = (enum fabric_transport)i,
			.host = host,
			.memory = lent->door,
			.memory_bytes = (size_t)(lent->slots - lent->door) + lent->quota_bytes,
			.key = fabric->key,
		};
		int ret;

		if (!(wanted & (1u << i)) || fabric->targets[i])
			continue;
		ret = fabric_of(fabric->module, options.transport)
			      ->target_open(&options, &fabric->targets[i],
					    first_error ? NULL : why);
		if (ret && !first_error)
			first_error = ret;
	}
	return first_error;
}

void worker_fabric_close(struct worker_fabric *fabric)
{
	for (unsigned i = 0; i < FABRIC_TRANSPORTS; i++) {
		if (fabric->targets[i])
			fabric->targets[i]->ops->target_close(fabric->targets[i]);
		fabric->targets[i] = NULL;
	}
}

/*
 * In libfabric's shm, processes share a spin lock: one killed while it holds it would leave this
 * worker spinning for good. The alarm ends such a worker; its session could not go on anyway.
 */
static void progress_shm(struct fabric_target *target)
{
	alarm(WORKER_STUCK_SECONDS);
	for (unsigned i = 0; i < PROGRESS_ROUNDS; i++)
		target->ops->target_progress(target);
	alarm(0);
}

void worker_fabric_progress(struct worker_fabric *fabric)
{
	struct fabric_target *tcp = fabric->targets[FABRIC_TCP];

	if (tcp)
		tcp->ops->target_progress(tcp);
	if (fabric->targets[FABRIC_SHM])
		progress_shm(fabric->targets[FABRIC_SHM]);
}

int worker_fabric_sleep_ms(struct worker_fabric *fabric)
{
	struct fabric_target *tcp = fabric->targets[FABRIC_TCP];
	uint64_t now_ns = clock_now_ns();

	if (now_ns < fabric->awake_until_ns)
		return 0;
	if (tcp && !tcp->ops->target_may_sleep(tcp))
		return 0;
	fabric->slept_at_ns = now_ns;
	return fabric->targets[FABRIC_SHM] && now_ns < fabric->rung_until_ns ? WORKER_SHM_MS : -1;
}

void worker_fabric_woken(struct worker_fabric *fabric)
{
	uint64_t now_ns = clock_now_ns();

	if (now_ns < fabric->awake_until_ns)
		return;
	/* A short sleep: the traffic goes on, and the next request should find the worker awake. */
	if (now_ns - fabric->slept_at_ns < 2000 * fabric->spin_us)
		fabric->spin_us *= 2;
	else
		fabric->spin_us /= 2;
	if (fabric->spin_us < WORKER_SPIN_US_MIN)
		fabric->spin_us = WORKER_SPIN_US_MIN;
	if (fabric->spin_us > WORKER_SPIN_US_MAX)
		fabric->spin_us = WORKER_SPIN_US_MAX;
	fabric->awake_until_ns = now_ns + 1000 * fabric->spin_us;
}

void worker_fabric_rung(struct worker_fabric *fabric)
{
	fabric->rung_until_ns = clock_now_ns() + 1000ull * WORKER_RUNG_US;
}
