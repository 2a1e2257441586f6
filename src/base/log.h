/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

/*
 * The log of a program that runs on and on (the node, the agent): one line an event on standard
 * error. At most LOG_LINES_PER_SECOND of them in each process, so that a hostile client cannot fill
 * a disk; the next line says how many were left out. One thread of a process logs.
 */

#define LOG_LINES_PER_SECOND 20

/* What every line begins with, "perdure node" for example; it stays the caller's. */
void log_begin(const char *program);

void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
