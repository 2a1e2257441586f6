/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H

/*
 * The program that `perdure run` is asked to start: found as a shell finds it, and checked for what
 * would keep the preloaded library out of it, so that this is said before it starts and not
 * noticed by its memory use.
 */

#include <limits.h>

#include "base/error.h"

/*
 * Finds `command` (in PATH when it has no slash) and follows "#!" lines to the executable that the
 * kernel will really load. 0 with its path, ready for execv (a slash is in it). Otherwise, with one
 * line of words: -ENOENT not found, -EACCES found but not executable, -ENOEXEC, -EPERM or
 * -ENOTSUP for an executable that cannot be managed (wrong machine, setuid or with capabilities,
 * static).
 */
int program_find(const char *command, char ret_path[static PATH_MAX], struct error *why);

#endif
