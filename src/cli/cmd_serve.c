/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/bytes.h"
#include "base/option.h"
#include "base/units.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "format/agent.h"
#include "policy/power.h"

#define DEFAULT_IMAGES "/var/lib/perdure"
#define DEFAULT_RESERVE_NS 60000000000ull
#define DEFAULT_SAFETY_PERCENT 30
#define DIRTY_BYTES_MIN (64ull << 10) /* with less than a page no program could ever store */

struct arguments {
	struct agent_options agent;
	const char *config;
	bool no_ups;
};

static struct agent_options *options_of(void *target)
{
	return &((struct arguments *)target)->agent;
}

static int take_config(void *target, const char *text, struct error *why)
{
	((struct arguments *)target)->config = text;
	return 0;
}

static int take_folder(void *target, const char *text, struct error *why)
{
	options_of(target)->folder = text;
	return text[0] == '/' ? 0 : error_set(why, -EINVAL, "\"%s\" does not begin with /", text);
}

static int take_images(void *target, const char *text, struct error *why)
{
	options_of(target)->images = text;
	return text[0] == '/' ? 0 : error_set(why, -EINVAL, "\"%s\" does not begin with /", text);
}

static int take_ups(void *target, const char *text, struct error *why)
{
	options_of(target)->has_ups = true;
	return ups_address_parse(text, &options_of(target)->ups, why);
}

static int take_ups_user(void *target, const char *text, struct error *why)
{
	options_of(target)->ups_user = text;
	return 0;
}

static int take_ups_password_file(void *target, const char *text, struct error *why)
{
	options_of(target)->ups_password_file = text;
	return 0;
}

static int take_no_ups(void *target, const char *text, struct error *why)
{
	((struct arguments *)target)->no_ups = true;
	return 0;
}

static int take_ups_runtime(void *target, const char *text, struct error *why)
{
	uint64_t ns;
	int err = parse_duration(text, &ns, why);

	if (err)
		return err;
	if (ns < 1000000000u || ns > 86400000000000ull)
		return error_set(why, -EINVAL, "\"%s\" is not between 1s and 86400s", text);
	options_of(target)->ups_runtime_s = (uint32_t)(ns / 1000000000u);
	return 0;
}

static int take_dirty_max(void *target, const char *text, struct error *why)
{
	uint64_t *bytes = &options_of(target)->dirty_bytes_max;
	int err = parse_size(text, bytes, why);

	if (!err && *bytes && *bytes < DIRTY_BYTES_MIN)
		err = error_set(why, -EINVAL, "\"%s\" is less than 64K", text);
	return err;
}

static int take_ride_through(void *target, const char *text, struct error *why)
{
	return parse_duration(text, &options_of(target)->ride_through_ns, why);
}

static int take_reserve(void *target, const char *text, struct error *why)
{
	return parse_duration(text, &options_of(target)->reserve_ns, why);
}

static int take_safety(void *target, const char *text, struct error *why)
{
	unsigned long percent;
	int err = option_parse_number(text, 0, 95, &percent, why);

	if (!err)
		options_of(target)->safety_percent = (uint32_t)percent;
	return err;
}

static int take_eager(void *target, const char *text, struct error *why)
{
	options_of(target)->eager = true;
	return 0;
}

static int take_pid_file(void *target, const char *text, struct error *why)
{
	options_of(target)->pid_file = text;
	return 0;
}

static const struct option_spec specs[] = {
	{ "config", "FILE", "read options from there, one a line: NAME = VALUE (perdure.conf(5))",
	  take_config },
	{ "folder", "DIR", "where the regions are, on a tmpfs (default: " AGENT_FOLDER ")",
	  take_folder },
	{ "images", "DIR", "where their images are (default: " DEFAULT_IMAGES ")", take_images },
	{ "ups", "NAME@HOST[:PORT]", "the UPS, as NUT's upsd serves it", take_ups },
	{ "ups-user", "NAME", "log in to upsd, so that it waits for a save", take_ups_user },
	{ "ups-password-file", "FILE", "the user's password", take_ups_password_file },
	{ "ups-runtime", "TIME", "of the full battery, for a UPS that does not say",
	  take_ups_runtime },
	{ "no-ups", NULL, "there is none: regions are never armed", take_no_ups },
	{ "dirty-max", "SIZE", "unflushed at the most (default: what the battery pays for)",
	  take_dirty_max },
	{ "ride-through", "TIME", "an outage that is shorter is none (default: 5s)",
	  take_ride_through },
	{ "reserve", "TIME", "of the battery's, for the host's shutdown (default: 60s)",
	  take_reserve },
	{ "safety", "PERCENT", "of the time for a save, not planned with (default: 30)",
	  take_safety },
	{ "eager", NULL, "be ready only when all regions are restored", take_eager },
	{ "pid-file", "FILE", "write the process's number here once it serves", take_pid_file },
};

int cmd_serve(int argc, char **argv)
{
	static struct arguments arguments = {
		.agent = {
			.folder = AGENT_FOLDER,
			.images = DEFAULT_IMAGES,
			.ride_through_ns = POWER_RIDE_THROUGH_NS,
			.reserve_ns = DEFAULT_RESERVE_NS,
			.safety_percent = DEFAULT_SAFETY_PERCENT,
		},
	};
	struct error why;
	int ret;

	if (!command_line_read("Keeps persistent regions of memory, and saves them when the power "
			       "fails.",
			       specs, ARRAY_COUNT(specs), argc, argv, &arguments, &ret))
		return ret;
	if (arguments.config) {
		if (config_file_read(arguments.config, specs, ARRAY_COUNT(specs), &arguments,
				     &why)) {
			fprintf(stderr, "perdure serve: %s\n", why.text);
			return EXIT_USAGE;
		}
		/* Once more: what is on the command line counts. */
		command_line_read("", specs, ARRAY_COUNT(specs), argc, argv, &arguments, &ret);
	}
	if (arguments.agent.has_ups == arguments.no_ups) {
		fprintf(stderr, "perdure serve: %s\n",
			arguments.no_ups
				? "--ups and --no-ups are given: one of them"
				: "no UPS is named: --ups NAME@HOST, or --no-ups to serve regions "
				  "that are never armed");
		return EXIT_USAGE;
	}
	ret = agent_run(&arguments.agent, &why);
	if (ret) {
		fprintf(stderr, "perdure serve: %s\n", why.text);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}
