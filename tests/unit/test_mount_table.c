/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "kernel/mount_table.h"
#include "suite.h"

START_TEST(test_lines)
{
	struct mount_entry entry;

	ck_assert(mount_entry_parse("36 35 7:12 / /mnt/data rw,noatime master:1 - ext4 /dev/loop12 "
				    "rw\n",
				    &entry));
	ck_assert(entry.device == makedev(7, 12));
	ck_assert_str_eq(entry.path, "/mnt/data");
	/* A path with a space, a tab, a line end and a backslash in it. */
	ck_assert(mount_entry_parse("1 2 0:5 /root /a\\040b\\011c\\012d\\134e rw - tmpfs t rw",
				    &entry));
	ck_assert_str_eq(entry.path, "/a b\tc\nd\\e");
	/* Not three digits: as it stands. */
	ck_assert(mount_entry_parse("1 2 0:5 / /a\\04 rw - tmpfs t rw", &entry));
	ck_assert_str_eq(entry.path, "/a\\04");
	ck_assert(mount_entry_parse("1 2 0:5 / /a\\ rw - tmpfs t rw", &entry));
	ck_assert_str_eq(entry.path, "/a\\");
}
END_TEST

START_TEST(test_what_is_no_line)
{
	static char long_line[PATH_MAX + 64];
	struct mount_entry entry;

	ck_assert(!mount_entry_parse("", &entry));
	ck_assert(!mount_entry_parse("36 35 7 / /mnt rw", &entry));
	ck_assert(!mount_entry_parse("36 35 7:1 /", &entry));
	ck_assert(!mount_entry_parse("36 35 7:1 / ", &entry));
	strcpy(long_line, "36 35 7:1 / /");
	memset(long_line + strlen(long_line), 'x', PATH_MAX);
	ck_assert(!mount_entry_parse(long_line, &entry));
}
END_TEST

START_TEST(test_find)
{
	struct mount_entry entry;
	struct stat status;

	ck_assert_int_eq(stat("/proc", &status), 0);
	ck_assert_int_eq(mount_table_find(status.st_dev, &entry), 0);
	ck_assert(entry.device == status.st_dev);
	ck_assert_int_eq(mount_table_find(makedev(4095, 1048575), &entry), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mount_table");
	TCase *tcase = tcase_create("mount_table");

	tcase_add_test(tcase, test_lines);
	tcase_add_test(tcase, test_what_is_no_line);
	tcase_add_test(tcase, test_find);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
