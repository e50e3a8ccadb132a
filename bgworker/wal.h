/*-------------------------------------------------------------------------
 *
 * wal.h
 *	  Reading WAL as far as it is flushed, without waiting for more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_WAL_H
#define OPENHR_MSG_WAL_H

#include "access/xlogreader.h"

extern XLogReaderRoutine msg_wal_routine;

/*
 * The next record, or NULL when no whole one is flushed yet: ask again then.
 * Raises an error when the WAL cannot be read.
 */
extern XLogRecord *msg_wal_next(XLogReaderState *reader);

#endif							/* OPENHR_MSG_WAL_H */
