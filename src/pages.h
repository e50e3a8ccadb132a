/*-------------------------------------------------------------------------
 *
 * pages.h
 *	  In which months a range of messages is.  pages.c tells why that matters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_PAGES_H
#define OPENHR_MSG_PAGES_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/*
 * Three columns about a range of seq in the conversation c: a time that is not
 * after its first message, the month that begins behind its last one (null:
 * none does), and a time that is not before its last one in that case.
 */
#define MSG_MONTHS_OF(first, last) \
	" coalesce((SELECT month FROM openhr_msg.conversation_months" \
	" WHERE conversation_id = c.id AND first_seq <= " first \
	" ORDER BY first_seq DESC LIMIT 1), c.created_at)," \
	" (SELECT month FROM openhr_msg.conversation_months" \
	" WHERE conversation_id = c.id AND first_seq > " last \
	" ORDER BY first_seq LIMIT 1), c.updated_at"

/* The smallest id of a time's millisecond, as far as ids go. */
extern void msg_first_id(TimestampTz time, pg_uuid_t *id);

/* The first id of the month after a time's. */
extern void msg_next_month_id(TimestampTz time, pg_uuid_t *id);

#endif							/* OPENHR_MSG_PAGES_H */
