/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MEMORY_PAGE_LIST_H
#define MEMORY_PAGE_LIST_H

/*
 * The resident pages of a region in the order in which they came: a doubly linked list threaded
 * through one 8-byte link a page, so that a page leaves it in constant time wherever it stands.
 * The caller hands the zeroed links in and serialises all calls.
 */

#include <stdbool.h>
#include <stdint.h>

struct page_link {
	uint32_t previous; /* page + 1; 0: none */
	uint32_t next;
};

struct page_list {
	struct page_link *links;
	uint32_t first; /* page + 1; 0: empty */
	uint32_t last;
	uint64_t count;
};

bool page_list_holds(const struct page_list *list, uint32_t page);
void page_list_push(struct page_list *list, uint32_t page);	   /* as the newest */
void page_list_push_oldest(struct page_list *list, uint32_t page); /* as the next to go */
void page_list_remove(struct page_list *list, uint32_t page);	   /* nothing if it is not there */
bool page_list_pop(struct page_list *list, uint32_t *ret_page);	   /* the oldest */

#endif
