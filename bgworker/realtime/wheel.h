/*-------------------------------------------------------------------------
 *
 * wheel.h
 *	  Timers to the second, as many as there are connections and channels.
 *
 * A timer costs the wheel nothing until its second comes; one that lies more
 * than a turn ahead is looked at once a turn.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_WHEEL_H
#define REALTIME_WHEEL_H

#include <stdint.h>

#include "list.h"

#define WHEEL_SLOTS		512

typedef struct timer
{
	list_node	link;
	int64_t		due;			/* seconds since 1970 */
	void		(*fire) (struct timer *t, int64_t now_s);
} timer;

typedef struct wheel
{
	int64_t		now;			/* the second that was served last */
	list		slots[WHEEL_SLOTS];
} wheel;

extern void wheel_init(wheel *w);
extern void timer_init(timer *t, void (*fire) (timer *t, int64_t now_s));

/* (Re)start or stop a timer. */
extern void timer_start(wheel *w, timer *t, int64_t due);
extern void timer_stop(timer *t);

/* Fire what is due; a timer may start and stop others while it fires. */
extern void wheel_turn(wheel *w, int64_t now_s);

#endif							/* REALTIME_WHEEL_H */
