/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static int failed(const struct trace_file *file, int code, struct error *why)
{
	return error_set(why, code, "\"%s\": %s", file->path, strerror(-code));
}

static int write_all(const struct trace_file *file, const void *bytes, size_t count,
		     struct error *why)
{
	const char *at = bytes;

	while (count > 0) {
		ssize_t put = write(file->fd, at, count);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return failed(file, -errno, why);
		at += put;
		count -= (size_t)put;
	}
	return 0;
}

int trace_file_create(struct trace_file *ret_file, const char *path, struct error *why)
{
	struct trace_header header;
	struct stat status;
	int ret;

	ret_file->path = path;
	trace_writer_init(&ret_file->writer);
	ret_file->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (ret_file->fd < 0)
		return failed(ret_file, -errno, why);
	if (fstat(ret_file->fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		close(ret_file->fd);
		return error_set(why, -EINVAL, "\"%s\" is no ordinary file", path);
	}
	header = trace_writer_header(&ret_file->writer, false);
	ret = write_all(ret_file, &header, sizeof(header), why);
	if (ret < 0)
		trace_file_remove(ret_file);
	return ret;
}

static int write_block(struct trace_file *file, struct error *why)
{
	const void *block;
	size_t bytes = trace_writer_take(&file->writer, &block);

	return bytes ? write_all(file, block, bytes, why) : 0;
}

int trace_file_add(struct trace_file *file, struct trace_reference reference, struct error *why)
{
	return trace_writer_add(&file->writer, reference) ? write_block(file, why) : 0;
}

int trace_file_finish(struct trace_file *file, struct error *why)
{
	struct trace_header header;
	int ret = write_block(file, why);

	header = trace_writer_header(&file->writer, true);
	if (!ret && lseek(file->fd, 0, SEEK_SET) < 0)
		ret = failed(file, -errno, why);
	if (!ret)
		ret = write_all(file, &header, sizeof(header), why);
	if (close(file->fd) < 0 && !ret)
		ret = failed(file, -errno, why);
	return ret;
}

void trace_file_remove(struct trace_file *file)
{
	close(file->fd);
	unlink(file->path);
}

static int map(const char *path, const void **ret_bytes, size_t *ret_count, struct error *why)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	void *bytes = NULL;

	if (fd < 0 || fstat(fd, &status) < 0)
		return error_set(why, -errno, "\"%s\": %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return error_set(why, -EINVAL, "\"%s\" is no ordinary file", path);
	if (status.st_size > 0)
		bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return error_set(why, -errno, "\"%s\": %s", path, strerror(errno));
	*ret_bytes = bytes;
	*ret_count = (size_t)status.st_size;
	return 0;
}

int trace_file_map(const char *path, struct trace *ret_trace, struct error *why)
{
	struct error inner;
	const void *bytes = NULL;
	size_t count = 0;
	int ret = map(path, &bytes, &count, why);

	if (ret < 0)
		return ret;
	ret = trace_open(bytes, count, ret_trace, &inner);
	if (ret < 0) {
		trace_file_unmap(&(struct trace){ .bytes = bytes, .byte_count = count });
		error_set(why, ret, "\"%s\": %s", path, inner.text);
	}
	return ret;
}

void trace_file_unmap(const struct trace *trace)
{
	if (trace->byte_count)
		munmap((void *)trace->bytes, trace->byte_count);
}
