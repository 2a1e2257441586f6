/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Whatever the file holds: an answer or an error, and nothing outside of the file is read. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct elf_facts facts;
	int fd = memfd_create("fuzz-elf", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
		abort();
	(void)elf_inspect(fd, &facts);
	close(fd);
	return 0;
}
