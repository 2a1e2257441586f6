/* SPDX-License-Identifier: Apache-2.0 */
#include "base/option.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* getopt_long's val of the first spec; the next ones follow. Above any character. */
#define VALUE_FIRST 256
#define VALUE_HELP 255

static void fill_longopts(const struct option_spec *specs, size_t spec_count,
			  struct option *longopts)
{
	size_t i;

	for (i = 0; i < spec_count; i++)
		longopts[i] = (struct option){
			.name = specs[i].name,
			.has_arg = specs[i].value ? required_argument : no_argument,
			.val = VALUE_FIRST + (int)i,
		};
	longopts[i++] =
		(struct option){ .name = "help", .has_arg = no_argument, .val = VALUE_HELP };
	longopts[i] = (struct option){ 0 };
}

static int take(const struct option_spec *spec, void *target, const char *text, struct error *why)
{
	struct error inner = { "" };
	int rc = spec->take(target, text, &inner);

	if (rc < 0)
		return error_set(why, rc, "--%s: %s", spec->name, inner.text);
	return 0;
}

/* `shown` is the argument that getopt has just looked at, as the user typed it. */
static int refuse(int found, const char *shown, struct error *why)
{
	if (found == ':')
		return error_set(why, -EINVAL, "\"%s\" needs a value; --help lists the options",
				 shown);
	if (strchr(shown, '='))
		return error_set(why, -EINVAL,
				 "\"%s\" is no option that takes a value; --help lists "
				 "the options",
				 shown);
	return error_set(why, -EINVAL, "unknown option \"%s\"; --help lists the options", shown);
}

int option_parse(const struct option_spec *specs, size_t spec_count, int argc, char **argv,
		 void *target, int *ret_first, bool *ret_help, struct error *why)
{
	struct option longopts[OPTION_COUNT_MAX + 2];
	int found, rc, shown;

	assert(spec_count <= OPTION_COUNT_MAX);
	fill_longopts(specs, spec_count, longopts);
	*ret_help = false;
	optind = 0; /* glibc: begin anew */
	opterr = 0;
	for (;;) {
		shown = optind ? optind : 1;
		found = getopt_long(argc, argv, "+:h", longopts, NULL);
		if (found < 0)
			break;
		if (found == VALUE_HELP || found == 'h') {
			*ret_help = true;
			return 0;
		}
		if (found < VALUE_FIRST)
			return refuse(found, argv[shown], why);
		rc = take(&specs[found - VALUE_FIRST], target, optarg, why);
		if (rc < 0)
			return rc;
	}
	*ret_first = optind;
	return 0;
}

static int label_length(const struct option_spec *spec)
{
	return (int)strlen(spec->name) + (spec->value ? 1 + (int)strlen(spec->value) : 0);
}

void option_print(const struct option_spec *specs, size_t spec_count, FILE *out)
{
	int width = (int)strlen("help");
	size_t i;

	for (i = 0; i < spec_count; i++)
		if (label_length(&specs[i]) > width)
			width = label_length(&specs[i]);
	for (i = 0; i < spec_count; i++)
		fprintf(out, "  --%s%s%s%*s  %s\n", specs[i].name, specs[i].value ? " " : "",
			specs[i].value ? specs[i].value : "", width - label_length(&specs[i]), "",
			specs[i].help);
	fprintf(out, "  --%-*s  print this text\n", width, "help");
}

int option_parse_number(const char *text, unsigned long min, unsigned long max,
			unsigned long *ret_number, struct error *why)
{
	unsigned long number;
	char *end;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || number < min || number > max)
		return error_set(why, -EINVAL, "\"%s\" is no number from %lu to %lu", text, min,
				 max);
	*ret_number = number;
	return 0;
}
