/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_options.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backing/backing.h"
#include "base/bytes.h"
#include "base/option.h"
#include "base/units.h"
#include "pump/pager.h"

static_assert(RUN_URI_BYTES == BACKING_URI_BYTES, "a URI that parses fits the run segment");

static int take_local(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;
	uint64_t bytes;
	int rc = parse_size(text, &bytes, why);

	if (rc < 0)
		return rc;
	if (bytes < PAGER_LOCAL_BYTES_MIN)
		return error_set(why, -EINVAL,
				 "\"%s\" is too small to run at all; the least that "
				 "works is %" PRIu64 "K",
				 text, PAGER_LOCAL_BYTES_MIN / KIB);
	options->local_bytes = bytes / PAGE_BYTES * PAGE_BYTES;
	return 0;
}

static int take_far(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;

	if (options->far_count == RUN_BACKINGS_MAX)
		return error_set(why, -EINVAL, "\"%s\" is one too many; a run takes at most %d",
				 text, RUN_BACKINGS_MAX);
	/* The list travels to the program as lines of one variable. */
	if (strchr(text, '\n'))
		return error_set(why, -EINVAL, "\"%s\" has a line break in it", text);
	options->far[options->far_count++] = text;
	return backing_check_uri(text, why);
}

static int take_mirror(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;
	unsigned long copies;
	int rc = option_parse_number(text, 1, 2, &copies, why);

	if (rc == 0)
		options->mirror = (uint32_t)copies;
	return rc;
}

static int take_report(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;

	if (!*text)
		return error_set(why, -EINVAL, "\"\" is no file name");
	options->report_path = text;
	return 0;
}

static int take_key_file(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;

	options->key_file = text;
	return 0;
}

static int take_timeout(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;
	uint64_t ns;
	int rc = parse_duration(text, &ns, why);

	if (rc < 0)
		return rc;
	if (ns < RUN_TIMEOUT_MS_MIN * 1000000ull || ns > RUN_TIMEOUT_MS_MAX * 1000000ull)
		return error_set(why, -EINVAL, "\"%s\" is not between %dms and %ds", text,
				 RUN_TIMEOUT_MS_MIN, RUN_TIMEOUT_MS_MAX / 1000);
	options->timeout_ms = (uint32_t)(ns / 1000000);
	return 0;
}

static int take_kernel(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;

	if (strcmp(text, "auto") != 0 && strcmp(text, "move") != 0 && strcmp(text, "copy") != 0)
		return error_set(why, -EINVAL, "\"%s\" is none of auto, move and copy", text);
	options->kernel = text;
	return 0;
}

static int take_prefetch(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;

	if (strcmp(text, "none") != 0 && strcmp(text, "line") != 0 && strcmp(text, "adaptive") != 0)
		return error_set(why, -EINVAL, "\"%s\" is none of none, line and adaptive", text);
	options->prefetch = text;
	return 0;
}

static int take_prefetch_timer(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;
	uint64_t ns;
	int rc;

	if (strcmp(text, "auto") == 0) {
		options->prefetch_timer_ns = 0;
		return 0;
	}
	rc = parse_duration(text, &ns, why);
	if (rc < 0)
		return rc;
	if (!ns)
		return error_set(why, -EINVAL,
				 "\"%s\" is too short; --prefetch none turns "
				 "prefetch off",
				 text);
	options->prefetch_timer_ns = ns;
	return 0;
}

static int take_store(void *target, const char *text, struct error *why)
{
	struct run_options *options = target;

	if (strcmp(text, "lines") != 0 && strcmp(text, "pages") != 0)
		return error_set(why, -EINVAL, "\"%s\" is neither lines nor pages", text);
	options->store = text;
	return 0;
}

static const struct option_spec specs[] = {
	{ "local", "SIZE",
	  "memory the program may hold here, such as 256M (default: half of what "
	  "is available)",
	  take_local },
	{ "far", "URI", "where cold pages live; several are striped (default: mem:)", take_far },
	{ "mirror", "N", "copies of each page, 1 or 2, on different --far (default: 1)",
	  take_mirror },
	{ "report", "FILE", "write what happened as JSON when the program has ended", take_report },
	{ "key-file", "FILE", "the cluster key, for node:// (default: none)", take_key_file },
	{ "timeout", "TIME",
	  "how long a far page may take before it counts as lost (default: 10s, a file alone 60s, "
	  "mirrored 2s)",
	  take_timeout },
	{ "prefetch", "WAY",
	  "what is fetched ahead of need: none, line or adaptive "
	  "(default: adaptive)",
	  take_prefetch },
	{ "prefetch-timer", "TIME",
	  "how long a page fetched ahead may take to be of use "
	  "(default: auto)",
	  take_prefetch_timer },
	{ "store", "WAY",
	  "what of a changed page goes far: its changed lines, where the backing takes "
	  "them, or whole pages (default: lines)",
	  take_store },
	{ "kernel", "WAY", "how pages are moved: auto, move or copy (default: auto)", take_kernel },
};

void run_options_print(FILE *out)
{
	fputs("usage: perdure run [OPTIONS] [--] COMMAND [ARGUMENTS]\n\n", out);
	option_print(specs, ARRAY_COUNT(specs), out);
}

/* Half of the memory that the host could give now; the rest is for everything else on it. */
static int default_local(uint64_t *ret_bytes, struct error *why)
{
	FILE *file = fopen("/proc/meminfo", "re");
	uint64_t kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	if (file)
		fclose(file);
	if (kib == 0)
		return error_set(why, -EINVAL,
				 "/proc/meminfo does not say how much memory is "
				 "available; give --local");
	*ret_bytes = kib * KIB / 2 / PAGE_BYTES * PAGE_BYTES;
	if (*ret_bytes < PAGER_LOCAL_BYTES_MIN)
		*ret_bytes = PAGER_LOCAL_BYTES_MIN;
	return 0;
}

static uint32_t default_timeout_ms(const struct run_options *options)
{
	if (options->mirror > 1)
		return RUN_TIMEOUT_MS_MIRRORED;
	for (uint32_t i = 0; i < options->far_count; i++)
		if (!strncmp(options->far[i], "file:", 5) || strstr(options->far[i], ":file:"))
			return RUN_TIMEOUT_MS_DISK;
	return RUN_TIMEOUT_MS_ALONE;
}

int run_options_parse(int argc, char **argv, struct run_options *ret_options, bool *ret_help,
		      struct error *why)
{
	struct run_options options = {
		.mirror = 1,
		.kernel = "auto",
		.prefetch = "adaptive",
		.store = "lines",
	};
	int first, rc;

	rc = option_parse(specs, ARRAY_COUNT(specs), argc, argv, &options, &first, ret_help, why);
	if (rc < 0 || *ret_help)
		return rc;
	if (first == argc)
		return error_set(why, -EINVAL,
				 "a command is missing, as in `perdure run -- "
				 "redis-server`; --help lists the options");
	if (options.far_count == 0)
		options.far[options.far_count++] = "mem:";
	if (options.mirror > options.far_count)
		return error_set(why, -EINVAL,
				 "\"--mirror %u\" needs that many --far, and there is "
				 "%u; give another --far",
				 options.mirror, options.far_count);
	if (options.timeout_ms == 0)
		options.timeout_ms = default_timeout_ms(&options);
	if (options.prefetch_timer_ns >= options.timeout_ms * 1000000ull)
		return error_set(why, -EINVAL,
				 "the prefetch timer (%" PRIu64 "us) must be shorter "
				 "than --timeout (%ums); lower --prefetch-timer",
				 options.prefetch_timer_ns / 1000, options.timeout_ms);
	if (options.local_bytes == 0)
		rc = default_local(&options.local_bytes, why);
	options.command = argv + first;
	if (rc == 0)
		*ret_options = options;
	return rc;
}
