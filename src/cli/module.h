/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_MODULE_H
#define CLI_MODULE_H

/*
 * Where Perdure's own shared objects lie: in $PERDURE_MODULE_DIR, else in the build tree that this
 * binary lies in, else in the library folder that belongs to the binary's own place (so that an
 * installation can be moved), else in the configured one. A binary that runs with more rights than
 * its user trusts only the last.
 */

#include <limits.h>

#include "base/error.h"

/* 0 with an absolute path, or -ENOENT with words that name the places. */
int module_find_preload(char ret_path[static PATH_MAX], struct error *why);

/*
 * To be called first: tells the code that loads other modules where an installation has them, by
 * setting PERDURE_MODULE_DIR when it is not set. For a binary with more rights than its user, what
 * the user set is dropped.
 */
void module_announce(void);

#endif
