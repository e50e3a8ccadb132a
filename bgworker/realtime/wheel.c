/*-------------------------------------------------------------------------
 *
 * wheel.c
 *	  Timers to the second.
 *
 *-------------------------------------------------------------------------
 */
#include "wheel.h"

void
wheel_init(wheel *w)
{
	w->now = 0;
	for (int i = 0; i < WHEEL_SLOTS; i++)
		list_init(&w->slots[i]);
}

void
timer_init(timer *t, void (*fire) (timer *t, int64_t now_s))
{
	list_init(&t->link);
	t->due = 0;
	t->fire = fire;
}

static list *
wheel_slot(wheel *w, int64_t second)
{
	return &w->slots[(uint64_t) second % WHEEL_SLOTS];
}

void
timer_start(wheel *w, timer *t, int64_t due)
{
	/* A time in the past comes with the next turn. */
	int64_t		slot = due > w->now ? due : w->now + 1;

	list_remove(&t->link);
	t->due = due;
	list_push(wheel_slot(w, slot), &t->link);
}

void
timer_stop(timer *t)
{
	list_remove(&t->link);
}

void
wheel_turn(wheel *w, int64_t now_s)
{
	int64_t		from = w->now;
	list		due;
	list_node  *node;

	/* First turn, a clock set back, or asleep for more than a round. */
	if (from == 0 || now_s < from || now_s - from > WHEEL_SLOTS)
		from = now_s - WHEEL_SLOTS;
	w->now = now_s;

	list_init(&due);
	for (int64_t second = from + 1; second <= now_s; second++)
	{
		list	   *slot = wheel_slot(w, second);

		list_foreach_safe(it, slot)
		{
			if (list_entry(timer, link, it)->due <= now_s)
			{
				list_remove(it);
				list_push(&due, it);
			}
		}
	}
	while ((node = list_shift(&due)) != NULL)
	{
		timer	   *t = list_entry(timer, link, node);

		t->fire(t, now_s);
	}
}
