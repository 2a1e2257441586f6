/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/commands.h"
#include "cli/module.h"

static int cmd_version(int argc, char **argv);
static int cmd_help(int argc, char **argv);

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run", cmd_run, "run a program whose cold pages live elsewhere" },
	{ "serve", cmd_serve, "keep persistent regions, and save them when the power fails" },
	{ "region", cmd_region, "make, list, mount and destroy persistent regions" },
	{ "save", cmd_save, "save them now, or rehearse it" },
	{ "node", cmd_node, "lend this host's memory to others" },
	{ "status", cmd_status, "what every running `perdure run` holds, and where" },
	{ "top", cmd_top, "the same, refreshed" },
	{ "model", cmd_model, "a modelled coherent machine on a recorded memory trace" },
	{ "version", cmd_version, "print the version" },
	{ "help", cmd_help, "print this text" },
};

static void print_usage(FILE *out)
{
	size_t i;

	fputs("usage: perdure COMMAND [OPTIONS]\n\n", out);
	for (i = 0; i < ARRAY_COUNT(commands); i++)
		fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].help);
	fputs("\n`perdure COMMAND --help` lists a command's options.\n", out);
}

static int cmd_version(int argc, char **argv)
{
	if (argc > 1) {
		fprintf(stderr, "perdure version: \"%s\" is too much; it takes no argument\n",
			argv[1]);
		return EXIT_USAGE;
	}
	puts("perdure " PERDURE_VERSION);
	return EXIT_DONE;
}

static int cmd_help(int argc, char **argv)
{
	print_usage(stdout);
	return EXIT_DONE;
}

static const char *without_dashes(const char *name)
{
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return "help";
	if (strcmp(name, "--version") == 0)
		return "version";
	return name;
}

int main(int argc, char **argv)
{
	const char *name;
	size_t i;

	if (argc < 2) {
		fputs("perdure: a command is missing; `perdure help` lists them\n", stderr);
		return EXIT_USAGE;
	}
	module_announce();
	name = without_dashes(argv[1]);
	for (i = 0; i < ARRAY_COUNT(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "perdure: unknown command \"%s\"; `perdure help` lists them\n", argv[1]);
	return EXIT_USAGE;
}
