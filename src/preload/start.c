/* SPDX-License-Identifier: Apache-2.0 */
/* Starts the pager before the program's own code runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/raw_map.h"
#include "preload/preload.h"
#include "pump/region.h"

bool preload_ready;
struct pager *preload_pager;

static uint64_t number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : 0;
}

static bool stores_pages(const char *text)
{
	return text && !strcmp(text, "pages");
}

static enum pager_kernel kernel_of(const char *text)
{
	if (text && !strcmp(text, "move"))
		return PAGER_KERNEL_MOVE;
	if (text && !strcmp(text, "copy"))
		return PAGER_KERNEL_COPY;
	return PAGER_KERNEL_AUTO;
}

static enum prefetch_mode prefetch_of(const char *text)
{
	if (text && strcmp(text, "line") == 0)
		return PREFETCH_LINE;
	return text && strcmp(text, "none") == 0 ? PREFETCH_NONE : PREFETCH_ADAPTIVE;
}

/* The lines of PERDURE_FAR; the copy that they lie in stays as long as the process. */
static int split_far(struct pager_config *config, struct error *why)
{
	const char *text = getenv("PERDURE_FAR");
	char *lines = strdup(text ? text : ""), *rest = NULL, *line;

	if (!lines)
		return error_set(why, -ENOMEM, "no memory");
	for (line = strtok_r(lines, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (config->far_count == PAGER_FAR_MAX)
			return error_set(why, -E2BIG, "PERDURE_FAR names more than %d places",
					 PAGER_FAR_MAX);
		config->far_uris[config->far_count++] = line;
	}
	return 0;
}

static int start(struct error *why)
{
	struct pager_config config = {
		.local_bytes = number_of("PERDURE_LOCAL"),
		.mirror = (uint32_t)number_of("PERDURE_MIRROR"),
		.timeout_ms = (uint32_t)number_of("PERDURE_TIMEOUT_MS"),
		.key_file = getenv("PERDURE_KEY_FILE"),
		.kernel = kernel_of(getenv("PERDURE_KERNEL")),
		.prefetch = prefetch_of(getenv("PERDURE_PREFETCH")),
		.whole_pages = stores_pages(getenv("PERDURE_STORE")),
		.prefetch_timer_ns = number_of("PERDURE_PREFETCH_TIMER_NS"),
	};
	int err = split_far(&config, why);

	join_prepare();
	if (!err)
		err = join_run(&config.member, why);
	if (!err)
		err = pager_start(&config, &preload_pager, why);
	if (err)
		return err;
	err = fork_start();
	if (err)
		return error_set(why, err, "pthread_atfork: %s", strerror(-err));
	region_start(preload_pager);
	__atomic_store_n(&preload_ready, true, __ATOMIC_RELEASE);
	return 0;
}

__attribute__((constructor(101))) static void preload_start(void)
{
	struct error why = { .text = "cannot start" };

	allocate_prepare();
	fork_prepare();
	direct_prepare();
	/* Preloaded by something else than `perdure run`: the program runs as if it were not. */
	if (!getenv("PERDURE_LOCAL"))
		return;
	inside_enter();
	if (start(&why)) {
		dprintf(STDERR_FILENO, "perdure: %s\n", why.text);
		_exit(1);
	}
	inside_leave();
}
