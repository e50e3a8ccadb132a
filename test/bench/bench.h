/*-------------------------------------------------------------------------
 *
 * bench.h
 *	  The load tool's parts: clients that read, writers that publish.
 *
 * People are numbered from 0, and so are rooms, each of which has a fixed
 * number of people: client n is person n, in room n / room_size.  Their ids
 * are made of the numbers, so that neither has to be looked up.
 *
 * A message's text begins with the time at which it was to be sent, on the
 * clock of this machine, and with who sent it; whoever receives it knows how
 * long that took, and how long after its commit had returned.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "histogram.h"

#define SECOND			INT64_C(1000000000)

#define ID_SIZE			37
#define TIME_MARK		"\"content\":\"@"
#define STAMP			"%019ld %02d %010lu "	/* time, writer, turn */
#define STAMP_SIZE		34
#define SEQ_MARK		"\"seq\":"

typedef struct settings
{
	int			port;			/* of what serves the clients */
	bool		hub;			/* it is hub.c: publish over its port */
	bool		deflate;		/* clients offer compression */
	bool		words;			/* texts are words, which compress like some */
	bool		broadcast;		/* clients publish, not writers */
	bool		presence;		/* clients track, and that is all */
	bool		storm;			/* clients are cut, and come back */
	bool		restart;		/* .. because the gateway ends */
	const char *secret;			/* of the tokens */
	int			clients;
	int			room_size;
	int			text_size;		/* of a message, or of the hub's frame */
	int			writers;
	int			burst;			/* messages in a transaction */
	double		rate;			/* messages a second; 0: as many as can be */
	double		seconds;
	double		warmup;			/* of those, not counted */
	int			rounds;			/* not writers, but one burst at a time */
	double		heartbeat;		/* seconds; 0: none */
	double		patience;		/* with frames that do not come, in seconds */
} settings;

typedef struct totals
{
	uint64_t	frames;			/* with messages; or presences told of */
	uint64_t	bytes;			/* of all frames to those who have joined */
	uint64_t	gaps;
	uint64_t	duplicates;
	int			joined;
	int			closed;			/* by the other side */
	int			refused;		/* of those who came back */
	int			attempts;		/* to come back */
	int64_t		last;			/* when the last frame came */
	int64_t		since;			/* what is sent from then on is timed */
	histogram	latency;
	histogram	after_commit;	/* as far as it came after that */
} totals;

static inline int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static inline void
person_id(char *id, int number)
{
	snprintf(id, ID_SIZE, "00000000-0000-4000-8000-%012x", (unsigned) number);
}

static inline void
room_id(char *id, int room_size, int number)
{
	snprintf(id, ID_SIZE, "%08x-0000-4000-9000-%012x", (unsigned) room_size,
			 (unsigned) number);
}

static inline int
rooms(const settings *s)
{
	return s->clients / s->room_size;
}

extern void die(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));

/* clients.c: connect, join, and read; false: the time was up before. */
extern totals received;
extern void clients_start(const settings *s);
extern bool clients_join(double seconds);
extern bool clients_read(int64_t until, uint64_t frames);
extern void clients_stop(void);

/* talk.c */
extern void talk_track(void);
extern uint64_t talk_burst(void);

/* storm.c; times in ns since the cut, 0: not in time. */
typedef struct storm_result
{
	int64_t		back;			/* everybody has joined again */
	int64_t		complete;		/* and has all messages */
	int			missing;		/* clients that are not, in the end */
	uint64_t	lost;
} storm_result;

extern uint64_t storm(storm_result *result);

/* writers.c */
extern void writers_fill(const settings *s);
extern uint64_t writers_burst(const settings *s);
extern void writers_end_gateway(void);
extern void writers_start(const settings *s);
extern uint64_t writers_stop(histogram *commits);

/* When that turn's commit had returned; 0: it has not yet. */
extern int64_t writer_committed(int writer, uint64_t turn);

#endif							/* BENCH_BENCH_H */
