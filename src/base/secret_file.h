/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SECRET_FILE_H
#define BASE_SECRET_FILE_H

#include "base/error.h"

/*
 * Opens a file with a secret in it for reading: a plain file, and not open to every user. `kind` is
 * what the words call it, "key file" for example. In words.
 */
int secret_file_open(const char *path, const char *kind, int *ret_fd, struct error *why);

#endif
