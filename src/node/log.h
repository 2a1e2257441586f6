/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NODE_LOG_H
#define NODE_LOG_H

/*
 * The node's log: one line an event on standard error. At most LOG_LINES_PER_SECOND of them in each
 * process, so that a hostile client cannot fill a disk; the next line says how many were left out.
 */

#define LOG_LINES_PER_SECOND 20

void node_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
