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

/* Since 16 the "extra" of a setting lives in a memory context of guc.c. */
#if PG_VERSION_NUM < 160000
#define guc_malloc(elevel, size) malloc(size)
#endif

/* 16 took the macros for variable-length values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 180000
#define PG_MODULE_MAGIC_EXT(...) PG_MODULE_MAGIC
#endif

/* 18 put the mark of a function that does not return in front of it. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * Logical decoding.
 *
 * 17 made the tuple of a change a HeapTuple; before, it stood in a
 * ReorderBufferTupleBuf.
 */
#if PG_VERSION_NUM >= 170000
#define change_tuple(t)		(t)
#else
#define change_tuple(t)		((t) ? &(t)->tuple : NULL)
#endif

/*
 * Since 16 the server itself tells the client, now and then, that a long
 * transaction of which the plugin writes nothing is still being decoded.
 */
#if PG_VERSION_NUM >= 160000
#define decoding_keepalive(ctx)	((void) (ctx))
#else
#define decoding_keepalive(ctx)	OutputPluginUpdateProgress(ctx, false)
#endif

/* 18 checks here whether the slot was invalidated. */
#if PG_VERSION_NUM >= 180000
#define slot_acquire(name)	ReplicationSlotAcquire(name, true, true)
#else
#define slot_acquire(name)	ReplicationSlotAcquire(name, true)
#endif

/* 17 added failover and synced. */
#if PG_VERSION_NUM >= 170000
#define slot_create(name, persistency) \
	ReplicationSlotCreate(name, true, persistency, false, false, false)
#else
#define slot_create(name, persistency) \
	ReplicationSlotCreate(name, true, persistency, false)
#endif

/* 16 names the cause of an invalidation. */
#if PG_VERSION_NUM >= 160000
#define slot_is_invalid(slot)	((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define slot_is_invalid(slot) \
	(XLogRecPtrIsInvalid((slot)->data.restart_lsn) && \
	 !XLogRecPtrIsInvalid((slot)->data.invalidated_at))
#endif

/* 16 let build_attrmap_by_name() leave out what the input has not. */
#if PG_VERSION_NUM >= 160000
#define attrmap_by_name(in, out)	build_attrmap_by_name(in, out, false)
#else
#define attrmap_by_name(in, out)	build_attrmap_by_name(in, out)
#endif

/* 18 brought generated columns that are not stored. */
#if PG_VERSION_NUM >= 180000
#define attribute_is_stored(att) \
	((att)->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define attribute_is_stored(att)	true
#endif

/* 17 ties a set of wait events to a resource owner; ours live on. */
#if PG_VERSION_NUM >= 170000
#define create_wait_event_set(n)	CreateWaitEventSet(NULL, n)
#else
#define create_wait_event_set(n)	CreateWaitEventSet(TopMemoryContext, n)
#endif

/* 18 made the list of static background workers doubly linked. */
#if PG_VERSION_NUM >= 180000
#define static_worker_iter		dlist_iter
#define static_worker_foreach	dlist_foreach
#else
#define static_worker_iter		slist_iter
#define static_worker_foreach	slist_foreach
#endif

#endif							/* OPENHR_MSG_COMPAT_H */
