/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command_line.h"

#include <errno.h>
#include <stdio.h>

#include "cli/commands.h"

bool command_line_read(const char *purpose, const struct option_spec *specs, size_t spec_count,
		       int argc, char **argv, void *target, int *ret_exit)
{
	struct error why;
	int first;
	bool help;
	int err = option_parse(specs, spec_count, argc, argv, target, &first, &help, &why);

	if (!err && !help && first < argc)
		err = error_set(&why, -EINVAL, "\"%s\" is too much; it takes options only",
				argv[first]);
	if (err) {
		fprintf(stderr, "perdure %s: %s\n", argv[0], why.text);
		*ret_exit = EXIT_USAGE;
		return false;
	}
	if (!help)
		return true;
	printf("usage: perdure %s [OPTIONS]\n\n%s\n\n", argv[0], purpose);
	option_print(specs, spec_count, stdout);
	*ret_exit = EXIT_DONE;
	return false;
}
