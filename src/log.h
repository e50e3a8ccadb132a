/*-------------------------------------------------------------------------
 *
 * log.h
 *	  Keeping the text of messages, and tokens, out of the server's log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_LOG_H
#define OPENHR_MSG_LOG_H

extern void msg_log_init(void);

/*
 * The present statement may hold such text: from here until its end, neither
 * the log nor pg_stat_activity shows it.
 */
extern void msg_hide_statement(void);

#endif							/* OPENHR_MSG_LOG_H */
