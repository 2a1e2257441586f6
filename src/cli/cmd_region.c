/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/option.h"
#include "base/units.h"
#include "cli/agent_call.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/region_mount.h"
#include "cli/region_text.h"
#include "kernel/agent_client.h"

struct region_options {
	const char *folder;
	bool persist;
	bool json;
	bool format;
	int32_t owner;
};

static int take_folder(void *target, const char *text, struct error *why)
{
	((struct region_options *)target)->folder = text;
	return 0;
}

static int take_persist(void *target, const char *text, struct error *why)
{
	((struct region_options *)target)->persist = true;
	return 0;
}

static int take_json(void *target, const char *text, struct error *why)
{
	((struct region_options *)target)->json = true;
	return 0;
}

static int take_format(void *target, const char *text, struct error *why)
{
	((struct region_options *)target)->format = true;
	return 0;
}

static int take_owner(void *target, const char *text, struct error *why)
{
	const struct passwd *user = getpwnam(text);
	unsigned long number;

	if (!user && option_parse_number(text, 0, INT32_MAX, &number, NULL))
		return error_set(why, -EINVAL, "there is no user \"%s\"", text);
	((struct region_options *)target)->owner = user ? (int32_t)user->pw_uid : (int32_t)number;
	return 0;
}

static const struct option_spec specs[] = {
	{ "folder", "DIR", "the agent's folder of regions (default: " AGENT_FOLDER ")",
	  take_folder },
	{ "persist", NULL, "create: survives lost power (the only kind yet)", take_persist },
	{ "owner", "USER", "create: who may map it, beside root (default: you)", take_owner },
	{ "json", NULL, "list: print a JSON array", take_json },
	{ "format", NULL, "mount: make an ext4 file system on an empty region", take_format },
};

static int fail(int code, const struct error *why)
{
	fprintf(stderr, "perdure region: %s\n", why->text);
	return code;
}

static int create(const struct region_options *options, char **words, struct error *why)
{
	struct agent_request request;
	struct agent_answer answer;
	int err = agent_request_make(&request, AGENT_CREATE, words[0], why);

	if (!options->persist)
		return error_set(why, -EINVAL, "say --persist: no other regions are made yet");
	if (!err)
		err = parse_size(words[1], &request.bytes, why);
	if (err)
		return err;
	if (request.bytes == 0)
		return error_set(why, -EINVAL, "\"%s\" is no size for a region", words[1]);
	request.bytes = (request.bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	request.owner = options->owner;
	return agent_call(options->folder, &request, -1, &answer, NULL, why);
}

static int destroy(const struct region_options *options, char **words, struct error *why)
{
	struct agent_request request;
	struct agent_answer answer;
	int err = agent_request_make(&request, AGENT_DESTROY, words[0], why);

	return err ? err : agent_call(options->folder, &request, -1, &answer, NULL, why);
}

static int list(const struct region_options *options, char **words, struct error *why)
{
	struct agent_request request;
	json_t *status, *regions;
	int err;

	agent_request_make(&request, AGENT_STATUS, NULL, NULL);
	err = agent_call_json(options->folder, &request, AGENT_LIMIT_MS, &status, why);
	if (err)
		return err;
	regions = json_object_get(status, "regions");
	if (options->json) {
		json_dumpf(regions, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		region_text_print(regions);
	}
	json_decref(status);
	return 0;
}

static int mount_it(const struct region_options *options, char **words, struct error *why)
{
	return region_mount(options->folder, words[0], words[1], options->format, why);
}

static int unmount_it(const struct region_options *options, char **words, struct error *why)
{
	return region_unmount(options->folder, words[0], why);
}

static const struct {
	const char *name;
	int words;
	int (*run)(const struct region_options *options, char **words, struct error *why);
	const char *usage;
} verbs[] = {
	{ "create", 2, create, "create NAME SIZE --persist [--owner USER]" },
	{ "list", 0, list, "list [--json]" },
	{ "destroy", 1, destroy, "destroy NAME" },
	{ "mount", 2, mount_it, "mount NAME DIR [--format]" },
	{ "unmount", 1, unmount_it, "unmount DIR|NAME" },
};

static void print_usage(FILE *out)
{
	fputs("usage: perdure region VERB\n\n", out);
	for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
		fprintf(out, "  perdure region %s\n", verbs[i].usage);
	fputc('\n', out);
	option_print(specs, ARRAY_COUNT(specs), out);
}

/* Options may stand before and behind the words; returns how many words there are, at most 3. */
static int read_words(int argc, char **argv, struct region_options *options, char **ret_words,
		      bool *ret_help, struct error *why)
{
	int count = 0;

	while (argc > 1) {
		int first, err = option_parse(specs, ARRAY_COUNT(specs), argc, argv, options,
					      &first, ret_help, why);

		if (err || *ret_help)
			return err;
		if (first == argc)
			break;
		if (count == 3)
			return error_set(why, -EINVAL, "\"%s\" is too much", argv[first]);
		ret_words[count++] = argv[first];
		argc -= first;
		argv += first;
	}
	return count;
}

int cmd_region(int argc, char **argv)
{
	struct region_options options = { .folder = agent_client_folder(), .owner = -1 };
	char *words[3];
	struct error why;
	bool help = false;
	int count = read_words(argc, argv, &options, words, &help, &why), err;

	if (help) {
		print_usage(stdout);
		return EXIT_DONE;
	}
	if (count < 0)
		return fail(EXIT_USAGE, &why);
	for (size_t i = 0; count && i < ARRAY_COUNT(verbs); i++) {
		if (strcmp(verbs[i].name, words[0]))
			continue;
		if (count - 1 != verbs[i].words) {
			error_set(&why, -EINVAL, "usage: perdure region %s", verbs[i].usage);
			return fail(EXIT_USAGE, &why);
		}
		err = verbs[i].run(&options, words + 1, &why);
		return err ? fail(EXIT_FAILED, &why) : EXIT_DONE;
	}
	error_set(&why, -EINVAL,
		  count ? "\"%s\" is none of create, list, destroy, mount and unmount"
			: "what? create, list, destroy, mount or unmount%s",
		  count ? words[0] : "");
	return fail(EXIT_USAGE, &why);
}
