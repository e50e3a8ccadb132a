/*-------------------------------------------------------------------------
 *
 * gateway_notes.h
 *	  Lines of a gateway's for the log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_NOTES_H
#define OPENHR_MSG_GATEWAY_NOTES_H

/* Keep a line; may be called from where no error may be raised. */
extern void msg_note(void *arg, const char *line);

/* Once a turn: write them. */
extern void msg_notes_write(void);

#endif							/* OPENHR_MSG_GATEWAY_NOTES_H */
