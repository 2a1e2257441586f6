/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text without white space around it; the end is cut off in place. */
static char *trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return text;
}

static const struct option_spec *find(const struct option_spec *specs, size_t count,
				      const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(specs[i].name, name) && strcmp(name, "config"))
			return &specs[i];
	}
	return NULL;
}

static int take_line(char *line, const struct option_spec *specs, size_t count, void *target,
		     struct error *why)
{
	const struct option_spec *spec;
	char *comment = strchr(line, '#'), *value;
	struct error reason;

	if (comment)
		*comment = '\0';
	line = trim(line);
	if (!*line)
		return 0;
	value = strchr(line, '=');
	if (value) {
		*value = '\0';
		value = trim(value + 1);
		line = trim(line);
	}
	spec = find(specs, count, line);
	if (!spec)
		return error_set(why, -EINVAL, "unknown option \"%.60s\"", line);
	if (!spec->value != !value)
		return error_set(why, -EINVAL,
				 spec->value ? "\"%s\" wants a value: %s = %s"
					     : "\"%s\" takes no value",
				 spec->name, spec->name, spec->value);
	if (spec->take(target, value, &reason))
		return error_set(why, -EINVAL, "%s: %s", spec->name, reason.text);
	return 0;
}

int config_file_parse(const char *path, char *text, const struct option_spec *specs,
		      size_t spec_count, void *target, struct error *why)
{
	struct error reason;

	for (int number = 1; text; number++) {
		char *line = text;

		text = strchr(text, '\n');
		if (text)
			*text++ = '\0';
		if (take_line(line, specs, spec_count, target, &reason))
			return error_set(why, -EINVAL, "\"%s\", line %d: %s", path, number,
					 reason.text);
	}
	return 0;
}

int config_file_read(const char *path, const struct option_spec *specs, size_t spec_count,
		     void *target, struct error *why)
{
	char *text = malloc(CONFIG_FILE_BYTES_MAX + 1);
	FILE *file = fopen(path, "re");
	size_t bytes;
	int err;

	if (!file || !text) {
		free(text);
		return error_set(why, -errno, "cannot read \"%s\": %s", path, strerror(errno));
	}
	bytes = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, file);
	err = ferror(file) ? -errno : 0;
	fclose(file);
	if (err) {
		free(text);
		return error_set(why, err, "cannot read \"%s\": %s", path, strerror(-err));
	}
	if (bytes > CONFIG_FILE_BYTES_MAX || memchr(text, '\0', bytes)) {
		free(text);
		return error_set(why, -EINVAL, "\"%s\" is no text of at most 64K", path);
	}
	text[bytes] = '\0';
	/* What is taken of it points into it. */
	return config_file_parse(path, text, specs, spec_count, target, why);
}
