/* SPDX-License-Identifier: Apache-2.0 */
#include "base/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

#if defined(__x86_64__)
#define NATIVE_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define NATIVE_MACHINE EM_AARCH64
#else
#error "perdure is written for x86-64 and arm64"
#endif

/* The kernel refuses a table of program headers that is longer than this. */
#define TABLE_BYTES_MAX (64 * KIB)
#define HEADERS_AT_ONCE 16

static int read_exactly(int fd, void *buffer, size_t length, uint64_t offset)
{
	ssize_t got;

	if (offset > INT64_MAX - length)
		return -ENOEXEC;
	do {
		got = pread(fd, buffer, length, (off_t)offset);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return (size_t)got == length ? 0 : -ENOEXEC;
}

static int read_program_headers(int fd, const Elf64_Ehdr *header, struct elf_facts *facts)
{
	Elf64_Phdr table[HEADERS_AT_ONCE];
	uint32_t at, count, i;
	int rc;

	if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
	    header->e_phnum * sizeof(Elf64_Phdr) > TABLE_BYTES_MAX)
		return -ENOEXEC;
	for (at = 0; at < header->e_phnum; at += count) {
		count = header->e_phnum - at < HEADERS_AT_ONCE ? header->e_phnum - at
							       : HEADERS_AT_ONCE;
		if (header->e_phoff > INT64_MAX)
			return -ENOEXEC;
		rc = read_exactly(fd, table, count * sizeof(Elf64_Phdr),
				  header->e_phoff + at * sizeof(Elf64_Phdr));
		if (rc < 0)
			return rc;
		for (i = 0; i < count; i++)
			if (table[i].p_type == PT_INTERP)
				facts->has_interpreter = true;
	}
	return 0;
}

int elf_inspect(int fd, struct elf_facts *ret_facts)
{
	/* The fields up to e_machine lie alike in both classes; a 32-bit header is 52 bytes. */
	union {
		unsigned char ident[EI_NIDENT];
		Elf64_Ehdr header;
	} start = { 0 };
	struct elf_facts facts = { 0 };
	int rc = read_exactly(fd, &start, sizeof(Elf32_Ehdr), 0);

	if (rc < 0)
		return rc;
	if (memcmp(start.ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	facts.class_bits = start.ident[EI_CLASS] == ELFCLASS64 ? 64 : 32;
	facts.machine = start.header.e_machine;
	facts.native = facts.class_bits == 64 && start.ident[EI_DATA] == ELFDATA2LSB &&
		       facts.machine == NATIVE_MACHINE;
	facts.executable = start.header.e_type == ET_EXEC || start.header.e_type == ET_DYN;
	if (facts.native) {
		rc = read_exactly(fd, &start, sizeof(start), 0);
		if (rc == 0)
			rc = read_program_headers(fd, &start.header, &facts);
		if (rc < 0)
			return rc;
	}
	*ret_facts = facts;
	return 0;
}
