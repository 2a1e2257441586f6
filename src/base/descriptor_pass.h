/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_DESCRIPTOR_PASS_H
#define BASE_DESCRIPTOR_PASS_H

/*
 * A descriptor that goes with a message over a Unix socket (SCM_RIGHTS). `flags` are send(2)'s and
 * recv(2)'s. No allocation; the messages are small, so they go whole or not at all.
 */

#include <stddef.h>
#include <sys/types.h>

/* `fd` -1: none goes along. Never raises SIGPIPE. 0 or -errno. */
int descriptor_send(int socket, const void *bytes, size_t byte_count, int fd, int flags);

/*
 * The number of bytes, 0 when the other side has ended, or -errno. *ret_fd is close-on-exec and the
 * caller's to close, -1 when none came along, whatever is returned.
 */
ssize_t descriptor_receive(int socket, void *bytes, size_t byte_count, int *ret_fd, int flags);

#endif
