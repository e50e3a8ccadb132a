/*-------------------------------------------------------------------------
 *
 * signals.h
 *	  The binary signal: a broadcast, or a change of who is present, on its
 *	  way from the gateway where it was made to all gateways.
 *
 * Signals are made by one hub and taken by every hub, that one included, in
 * one order that is the same for all; with several gateways the streamer
 * brings them into it.  Nothing of them is ever stored.  A hub does what a
 * signal says when it comes back, not when it makes it.
 *
 * Numbers are in host order, as in an event.  Layout: the header, then the
 * topic as it is in frames, the name, and the payload, each of the length
 * that the header gives.
 *
 * Presence is replicated: each gateway owns the entries of its own channels,
 * and all others follow.  An entry is known by its gateway and channel.  What
 * a gateway may have failed to tell it repeats as a whole, between
 * SIGNAL_RESET and SIGNAL_SYNCED: entries of the gateway that did not come in
 * between are gone.  (Nobody's client sees the difference, unless there is
 * one.)  A gateway that died gets the same two from the streamer.
 *
 * This file is shared with code that knows nothing of PostgreSQL: no type of
 * the server's may appear in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_SIGNALS_H
#define REALTIME_SIGNALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGNAL_MAGIC	0x6f6d7332	/* "oms2" */

typedef enum signal_kind
{
	SIGNAL_BROADCAST = 'B',		/* name: event */
	SIGNAL_TRACK = 'T',			/* name: key; an entry is there, or changed */
	SIGNAL_UNTRACK = 'U',		/* the entry is gone */
	SIGNAL_RESET = 'R',			/* all entries of the gateway follow .. */
	SIGNAL_SYNCED = 'S',		/* .. and these were all */
	SIGNAL_ASK = 'A'			/* every gateway shall do that */
} signal_kind;

/* Flags. */
#define SIGNAL_PRIVATE	0x01	/* of private channels */
#define SIGNAL_WHOLE	0x02	/* the payload is the whole payload of the
								 * message, and there is no name */
#define SIGNAL_RAW		0x04	/* the payload is no JSON */
#define SIGNAL_LINGERS	0x08	/* the entry's connection is lost */

typedef struct signal_header
{
	uint32_t	magic;
	uint32_t	size;			/* of the whole signal, this header included */
	uint8_t		kind;			/* signal_kind */
	uint8_t		flags;
	uint16_t	gateway;		/* that made it, or that it is about */
	uint16_t	topic_len;
	uint16_t	name_len;
	uint32_t	payload_len;
	uint32_t	pad;
	uint64_t	channel;		/* number of the channel there */
	uint64_t	ref;			/* SIGNAL_TRACK: changes with the payload */
	uint8_t		profile_id[16]; /* who did it; zero for nobody */
} signal_header;

#define signal_topic(s)		((const char *) ((s) + 1))
#define signal_name(s)		(signal_topic(s) + (s)->topic_len)
#define signal_payload(s)	(signal_name(s) + (s)->name_len)

/* Is this a signal, of whatever content?  (Else it may be an event.) */
static inline bool
signal_is(const void *data, size_t len)
{
	return len >= sizeof(signal_header) &&
		((const signal_header *) data)->magic == SIGNAL_MAGIC;
}

extern bool signal_valid(const void *data, size_t len);

#endif							/* REALTIME_SIGNALS_H */
