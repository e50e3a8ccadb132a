/*-------------------------------------------------------------------------
 *
 * list.h
 *	  Doubly linked lists whose links live in the members.
 *
 * A node that is in no list points at itself, so taking it out a second time
 * does no harm.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_LIST_H
#define REALTIME_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct list_node
{
	struct list_node *prev;
	struct list_node *next;
} list_node;

typedef list_node list;			/* the head */

/* The struct that a node is a member of. */
#define list_entry(type, member, node) \
	((type *) (void *) ((char *) (node) - offsetof(type, member)))

#define list_foreach(node, head) \
	for (list_node *node = (head)->next; node != (head); node = node->next)

/* For a body that takes the node out of the list. */
#define list_foreach_safe(node, head) \
	for (list_node *node = (head)->next, *node##_next = node->next; \
		 node != (head); node = node##_next, node##_next = node->next)

static inline void
list_init(list_node *node)
{
	node->prev = node->next = node;
}

static inline bool
list_is_empty(const list *head)
{
	return head->next == head;
}

static inline void
list_push(list *head, list_node *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void
list_remove(list_node *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, taken out, or NULL. */
static inline list_node *
list_shift(list *head)
{
	list_node  *node = head->next;

	if (node == head)
		return NULL;
	list_remove(node);
	return node;
}

/* Move all of from to the end of head. */
static inline void
list_move(list *head, list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = head->prev;
	head->prev->next = from->next;
	from->prev->next = head;
	head->prev = from->prev;
	list_init(from);
}

#endif							/* REALTIME_LIST_H */
