/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/elf.h"
#include "suite.h"

/* A dynamically linked program, as small as it gets: the header and one program header. */
struct tiny {
	Elf64_Ehdr header;
	Elf64_Phdr segments[20];
};

static struct tiny tiny;

static void setup(void)
{
	memset(&tiny, 0, sizeof(tiny));
	memcpy(tiny.header.e_ident, ELFMAG, SELFMAG);
	tiny.header.e_ident[EI_CLASS] = ELFCLASS64;
	tiny.header.e_ident[EI_DATA] = ELFDATA2LSB;
	tiny.header.e_type = ET_DYN;
#ifdef __x86_64__
	tiny.header.e_machine = EM_X86_64;
#else
	tiny.header.e_machine = EM_AARCH64;
#endif
	tiny.header.e_phoff = sizeof(Elf64_Ehdr);
	tiny.header.e_phentsize = sizeof(Elf64_Phdr);
	tiny.header.e_phnum = 20;
	tiny.segments[19].p_type = PT_INTERP;
}

static int inspect(size_t length, struct elf_facts *ret_facts)
{
	int fd = memfd_create("elf", MFD_CLOEXEC), rc;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, &tiny, length), (ssize_t)length);
	rc = elf_inspect(fd, ret_facts);
	close(fd);
	return rc;
}

START_TEST(test_this_very_program)
{
	struct elf_facts facts;
	int fd = open("/proc/self/exe", O_RDONLY);

	ck_assert_int_eq(elf_inspect(fd, &facts), 0);
	ck_assert(facts.native && facts.executable && facts.has_interpreter);
	ck_assert_int_eq(facts.class_bits, 64);
	ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), 0);
	close(fd);
}
END_TEST

START_TEST(test_interpreter_in_the_last_header)
{
	struct elf_facts facts;

	ck_assert_int_eq(inspect(sizeof(tiny), &facts), 0);
	ck_assert(facts.has_interpreter);
	tiny.segments[19].p_type = PT_LOAD;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), 0);
	ck_assert(!facts.has_interpreter);
}
END_TEST

START_TEST(test_foreign)
{
	struct elf_facts facts;

	tiny.header.e_machine = EM_S390;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), 0);
	ck_assert(!facts.native);
	ck_assert_int_eq(facts.machine, EM_S390);
	setup();
	tiny.header.e_ident[EI_CLASS] = ELFCLASS32;
	ck_assert_int_eq(inspect(sizeof(Elf32_Ehdr), &facts), 0);
	ck_assert(!facts.native);
	ck_assert_int_eq(facts.class_bits, 32);
	setup();
	tiny.header.e_type = ET_REL;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), 0);
	ck_assert(!facts.executable);
}
END_TEST

START_TEST(test_malformed)
{
	struct elf_facts facts;
	size_t length;

	for (length = 0; length < sizeof(tiny); length += 7)
		ck_assert_int_eq(inspect(length, &facts), -ENOEXEC);
	tiny.header.e_phnum = 0;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), -ENOEXEC);
	tiny.header.e_phnum = UINT16_MAX;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), -ENOEXEC);
	setup();
	tiny.header.e_phentsize = 1;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), -ENOEXEC);
	setup();
	tiny.header.e_phoff = UINT64_MAX - 8;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), -ENOEXEC);
	tiny.header.e_phoff = INT64_MAX - 8;
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), -ENOEXEC);
	setup();
	tiny.header.e_ident[0] = 'E';
	ck_assert_int_eq(inspect(sizeof(tiny), &facts), -ENOEXEC);
}
END_TEST

START_TEST(test_unreadable)
{
	struct elf_facts facts;
	int ends[2];

	ck_assert_int_eq(elf_inspect(-1, &facts), -EBADF);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(elf_inspect(ends[0], &facts), -ESPIPE);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("elf");
	TCase *tcase = tcase_create("elf");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, test_this_very_program);
	tcase_add_test(tcase, test_interpreter_in_the_last_header);
	tcase_add_test(tcase, test_foreign);
	tcase_add_test(tcase, test_malformed);
	tcase_add_test(tcase, test_unreadable);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
