/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

/*
 * The commands of `perdure`, one file each. argv[0] is the command's own name. Each prints its own
 * words and returns the exit code: one of these, or for `run` the program's own.
 */

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_EXECUTABLE = 126, /* as shells say it of a command that they cannot execute */
	EXIT_NOT_FOUND = 127,
};

int cmd_run(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_region(int argc, char **argv);
int cmd_save(int argc, char **argv);
int cmd_node(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_model(int argc, char **argv);

#endif
