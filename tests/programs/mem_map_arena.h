/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROGRAMS_MEM_MAP_ARENA_H
#define PROGRAMS_MEM_MAP_ARENA_H

/*
 * The arena of mem_map and its model, shared by the files of that one program. The arena is under
 * test; the model and the page states lie in shared file mappings.
 */
#include "program.h"

#define RUN_PAGES_MAX 64
enum page_kind { PAGE_NONE, PAGE_ANON, PAGE_FILE, PAGE_SHARED };

#define FLAG_FREED 1	  /* MADV_FREE: the old bytes or zeros, until the next write */
#define FLAG_NOT_FORKED 2 /* MADV_DONTFORK */
#define FLAG_WIPED 4	  /* MADV_WIPEONFORK */

struct page {
	uint8_t kind;
	uint8_t prot;
	uint8_t flags;
	uint32_t file_page;
};

struct run {
	size_t first;
	size_t count;
};

extern uint8_t *arena; /* under test */
extern uint8_t *model; /* what it must hold */
extern struct page *pages;
extern uint8_t *model_copy; /* a forked child's */
extern struct page *pages_copy;
extern size_t page_count;
extern struct random dice;
extern uint64_t operation; /* the number of the one that runs now */

static inline uint8_t *address_of(size_t page)
{
	return arena + page * PAGE;
}

static inline uint8_t *model_of(size_t page)
{
	return model + page * PAGE;
}

struct run run_random(size_t limit);
struct run run_uniform(struct run run); /* cut where pages stop being like its first one */
void run_check(struct run run, const char *what);
void run_set(struct run run, enum page_kind kind, int prot);
void page_check(size_t page, const char *what);
void page_write(size_t page);
void map_at(struct run run, int prot, int flags, int fd, size_t file_page);

void operation_remap(void);
void operation_fork(void);

#endif
