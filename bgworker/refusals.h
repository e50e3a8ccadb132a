/*-------------------------------------------------------------------------
 *
 * refusals.h
 *	  Whom a gateway turned away, and why, for the server's log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MSG_REFUSALS_H
#define MSG_REFUSALS_H

#include "postgres.h"

#include "utils/timestamp.h"

/* May be called where no error may be raised; reason is kept, not copied. */
extern void msg_refusals_count(const char *reason);

/* Write what is due, or all that there is. */
extern void msg_refusals_report(TimestampTz now, bool all);

/* When will there be something to write?  0: nothing has been counted. */
extern TimestampTz msg_refusals_due(void);

#endif							/* MSG_REFUSALS_H */
