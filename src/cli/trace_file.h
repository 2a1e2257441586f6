/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_TRACE_FILE_H
#define CLI_TRACE_FILE_H

/* A trace (format/trace.h) as a file. All errors in words that quote the path. */

#include "base/error.h"
#include "format/trace.h"

struct trace_file {
	const char *path; /* the caller's */
	int fd;
	struct trace_writer writer;
};

/* Creates or empties the file, which says that it is not finished. */
int trace_file_create(struct trace_file *ret_file, const char *path, struct error *why);

int trace_file_add(struct trace_file *file, struct trace_reference reference, struct error *why);

/* Writes what is left, and the header that makes it whole. Closes it in any case. */
int trace_file_finish(struct trace_file *file, struct error *why);

/* Closes and removes it. */
void trace_file_remove(struct trace_file *file);

/* Maps a trace to be read and looks at its header; unmapped by trace_file_unmap(). */
int trace_file_map(const char *path, struct trace *ret_trace, struct error *why);
void trace_file_unmap(const struct trace *trace);

#endif
