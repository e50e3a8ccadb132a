/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between the server's majors, 15 to 18, in one place.
 *
 * Code elsewhere is written for the newest form; what is missing in older
 * servers is defined here.  No other file tests PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_COMPAT_H
#define OPENHR_MSG_COMPAT_H

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "openhr_msg supports PostgreSQL 15 to 18"
#endif

#if PG_VERSION_NUM < 160000
/* Since 16 the "extra" of a setting lives in a memory context of guc.c. */
#define guc_malloc(elevel, size) malloc(size)
#define ReplicationSlotIsInvalid(slot) \
	(XLogRecPtrIsInvalid((slot)->data.restart_lsn) && \
	 !XLogRecPtrIsInvalid((slot)->data.invalidated_at))
#else
#define ReplicationSlotIsInvalid(slot) \
	((slot)->data.invalidated != RS_INVAL_NONE)
#endif

#if PG_VERSION_NUM < 170000
#define ReplicationSlotCreate(name, db, persistency, phases, failover, synced) \
	ReplicationSlotCreate(name, db, persistency, phases)
#endif

#if PG_VERSION_NUM < 180000
#define PG_MODULE_MAGIC_EXT(...) PG_MODULE_MAGIC
#define ReplicationSlotAcquire(name, nowait, valid_only) \
	ReplicationSlotAcquire(name, nowait)
#endif

#endif							/* OPENHR_MSG_COMPAT_H */
