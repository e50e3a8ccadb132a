/*-------------------------------------------------------------------------
 *
 * catchup.h
 *	  Catching up: its parts, among themselves.
 *
 * catchup.c		who catches up, when, and what he is told
 * catchup_wire.c	what is asked for that, and what comes back
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_CATCHUP_H
#define REALTIME_CATCHUP_H

#include "rooms.h"

/* An event of the stream that is held back: its head, and its frame. */
typedef struct held
{
	event_header event;
	frame	   *frame;
} held;

typedef enum catchup_state
{
	CATCHUP_UNREADY,			/* its user is being read */
	CATCHUP_IN_LINE,			/* in hub.in_line */
	CATCHUP_ASKED,				/* in hub.asked */
	CATCHUP_TELLING				/* in hub.telling: a reply is being sent */
} catchup_state;

typedef struct catchup
{
	map_entry	entry;			/* hub.catchups, while asked */
	uint64_t	ticket;
	list_node	link;			/* in the list of its state */
	channel    *channel;
	catchup_state state;
	bool		resume;			/* from what was saved for the client */
	bool		overrun;		/* events were dropped that were held back */
	int			rounds;
	int			tries;
	int64_t		not_before;		/* seconds; after a failure */
	uint64_t	needs;			/* partings that must have been saved */

	/* The round: where it begins, and, after its first piece, the rest. */
	mark	   *from;			/* NULL with resume */
	mark	   *until;
	char	   *cursor;
	uint32_t	cursor_len;

	/* The piece that is being told. */
	char	   *reply;
	size_t		reply_len;
	size_t		told;			/* bytes of it */
	uint32_t	nevents;		/* of it, that are left */
	bool		more;			/* there is another piece */
	int64_t		moved;			/* seconds: when the reader last took something */

	held	   *held;
	uint32_t	nheld;
	uint32_t	held_size;
	size_t		held_bytes;
} catchup;

/* catchup_wire.c */
extern void catchup_put_request(buf *b, const catchup *c);
extern void catchup_forget_round(catchup *c);
extern bool catchup_read_reply(catchup *c);
extern const event_header *catchup_next_event(catchup *c);
extern void catchup_strike_message(catchup *c, const uint8_t *room_id,
								   int64_t seq);

#endif							/* REALTIME_CATCHUP_H */
