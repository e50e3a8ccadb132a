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

#if PG_VERSION_NUM < 180000
#define PG_MODULE_MAGIC_EXT(...) PG_MODULE_MAGIC
#endif

#endif							/* OPENHR_MSG_COMPAT_H */
