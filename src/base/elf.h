/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ELF_H
#define BASE_ELF_H

/*
 * What a launcher must know of an executable before it preloads a library into it. Only the file
 * header and the program headers are read; nothing in the file is trusted.
 */

#include <stdbool.h>
#include <stdint.h>

struct elf_facts {
	bool native;	      /* class, byte order and machine are those of this build */
	bool executable;      /* ET_EXEC or ET_DYN */
	bool has_interpreter; /* PT_INTERP: the dynamic loader runs, so LD_PRELOAD is heeded */
	uint16_t machine;     /* EM_..., as the file says */
	uint8_t class_bits;   /* 32 or 64 */
};

/*
 * Reads `fd` with pread; its offset stays. -ENOEXEC when it is no ELF file or is malformed, other
 * errors are those of reading. For a file that is not native only the header is looked at.
 */
int elf_inspect(int fd, struct elf_facts *ret_facts);

#endif
