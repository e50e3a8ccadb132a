/*-------------------------------------------------------------------------
 *
 * attempts.h
 *	  How many times in a row decoding has not got through.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_ATTEMPTS_H
#define OPENHR_MSG_ATTEMPTS_H

/* Attempts that have failed, of those with the slot that there is. */
extern int	msg_attempts_failed(void);

/*
 * One begins.  Unless its end is told, by one of these, the process has
 * crashed and it has failed.
 */
extern void msg_attempt_begins(void);
extern void msg_attempt_succeeds(void);
extern void msg_attempt_is_broken_off(void);	/* says nothing */

/* It fails, be it long after it seemed to have succeeded; which one is it? */
extern int	msg_attempt_fails(void);

#endif							/* OPENHR_MSG_ATTEMPTS_H */
