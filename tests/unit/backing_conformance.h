/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BACKING_CONFORMANCE_H
#define BACKING_CONFORMANCE_H

/*
 * What every backing must do, as one suite: the contract of backing/backing.h against a plain
 * array. A backing's test program names its URIs and runs the suite.
 */

#include <check.h>
#include <stddef.h>
#include <stdint.h>

#include "backing/backing.h"

#define CONFORMANCE_WAIT_MS 10000 /* an io that takes longer fails the test */

struct conformance_case {
	const char *uri;
	const char *key_file; /* NULL: none */
	/* It refuses a million million slots in words: not so for a backing without bounds. */
	bool bounded;
};

/* The cases stay the caller's and must outlive the run. */
Suite *conformance_suite(const char *name, const struct conformance_case *cases,
			 size_t case_count);


/* One page of contents that follow from `seed`: noise, text, zero, one word, or nearly empty. */
void conformance_fill_page(void *page, uint64_t seed);

/* Fails the test unless the page is what conformance_fill_page() made. */
void conformance_check_page(const void *page, uint64_t seed);

/* The pages for ios, mapped once for the process. */
#define CONFORMANCE_PAGES (BACKING_CHANNEL_DEPTH * BACKING_IO_PAGES_MAX)
uint8_t *conformance_pages(void);

/* Opens the URI as a program would; fails the test when it does not open. */
struct backing *conformance_open(const char *uri, const char *key_file);
struct backing_channel *conformance_channel(struct backing *backing);

/* Polls until the io is done and returns its result. Fails the test at the limit. */
int conformance_wait(struct backing_channel *channel, struct backing_io *io);

/* One io from submit to its result. */
int conformance_move(struct backing_channel *channel, enum backing_verb verb, uint64_t slot,
		     uint32_t page_count, void *pages);

int conformance_count_fds(void);
int conformance_count_mappings(void); /* 0 under a sanitizer, which makes mappings of its own */

#endif
