/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/page_list.h"

#include <assert.h>

bool page_list_holds(const struct page_list *list, uint32_t page)
{
	return list->links[page].previous || list->links[page].next || list->first == page + 1;
}

void page_list_push(struct page_list *list, uint32_t page)
{
	struct page_link *link = &list->links[page];

	assert(!page_list_holds(list, page));
	link->previous = list->last;
	link->next = 0;
	if (list->last)
		list->links[list->last - 1].next = page + 1;
	else
		list->first = page + 1;
	list->last = page + 1;
	list->count++;
}

void page_list_push_oldest(struct page_list *list, uint32_t page)
{
	struct page_link *link = &list->links[page];

	assert(!page_list_holds(list, page));
	link->previous = 0;
	link->next = list->first;
	if (list->first)
		list->links[list->first - 1].previous = page + 1;
	else
		list->last = page + 1;
	list->first = page + 1;
	list->count++;
}

void page_list_remove(struct page_list *list, uint32_t page)
{
	struct page_link *link = &list->links[page];

	if (!page_list_holds(list, page))
		return;
	if (link->previous)
		list->links[link->previous - 1].next = link->next;
	else
		list->first = link->next;
	if (link->next)
		list->links[link->next - 1].previous = link->previous;
	else
		list->last = link->previous;
	link->previous = 0;
	link->next = 0;
	list->count--;
}

bool page_list_pop(struct page_list *list, uint32_t *ret_page)
{
	if (!list->first)
		return false;
	*ret_page = list->first - 1;
	page_list_remove(list, *ret_page);
	return true;
}
