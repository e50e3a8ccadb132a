/*-------------------------------------------------------------------------
 *
 * decode.h
 *	  The output plugin's parts, among themselves.
 *
 * callbacks.c	what the server calls: options, transactions, changes
 * relations.c	which relation is one of our tables, and all about it
 * rows.c		a change -> one event, binary or text
 * values.c		a Datum -> JSON
 * live.c		a row as it is in the table now -> an event (live.h)
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_DECODE_H
#define OPENHR_MSG_DECODE_H

#include "access/htup.h"
#include "fmgr.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "replication/logical.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#include "event.h"

/* How a type's values are written. */
typedef enum DecodeKind
{
	DECODE_BOOL,
	DECODE_INT2,
	DECODE_INT4,
	DECODE_INT8,
	DECODE_NUMBER,				/* by the output function, bare */
	DECODE_TEXT,
	DECODE_UUID,
	DECODE_BYTEA,
	DECODE_DATETIME,
	DECODE_JSON,
	DECODE_JSONB,
	DECODE_ARRAY,
	DECODE_COMPOSITE,
	DECODE_OUTPUT				/* by the output function, as a string */
} DecodeKind;

typedef struct DecodeType
{
	DecodeKind	kind;
	Oid			typid;			/* never a domain: its base type */
	int16		typlen;
	bool		typbyval;
	char		typalign;
	FmgrInfo	output;			/* DECODE_NUMBER and DECODE_OUTPUT */
	struct DecodeType *element; /* DECODE_ARRAY */
} DecodeType;

typedef struct DecodeColumn
{
	int			index;			/* where in the leaf's tuple, from 0 */
	bool		identity;		/* of the leaf's replica identity */
	uint32		type_hash;		/* of the declared type, in the syscache */
	const char *key;			/* ,"name": */
	int			key_len;
	DecodeType	type;
} DecodeColumn;

/* A tuple of a leaf, taken apart. */
typedef struct DecodeRow
{
	Datum	   *values;
	bool	   *nulls;
	bool		is_stored;		/* its TOASTed values can be read */
} DecodeRow;

/* What has to be known of a relation that is one of our tables, or of a
 * partition of one. */
typedef struct DecodeTable
{
	dlist_node	node;			/* in the list of all */
	MemoryContext context;		/* holds this struct and all it points to */
	event_table table;
	Oid			relid;			/* of the leaf */
	Oid			root;
	const char *label;			/* "table":"...","schema":"..." */
	const char *columns;		/* [{"name":"...","type":"..."},...] */
	int			columns_len;

	/* The root's columns, in its order. */
	int			ncolumns;
	DecodeColumn *column;

	/* Places of the header's fields in the leaf's tuple; -1: not there. */
	int			conversation;
	int			profile;
	int			seq;
	int			version;
	int			deleted;
	int			revoked;

	/* For the change at hand. */
	DecodeRow	new_row;
	DecodeRow	old_row;
} DecodeTable;

typedef struct DecodeState
{
	bool		binary;			/* option "format" */
	bool		columns;		/* option "columns" */
	MemoryContext event_context;	/* reset after every event */
	uint32		ordinal;		/* of the transaction's next event */
	uint32		silent;			/* changes of other tables, ever */
} DecodeState;

/*
 * A change on its way out.  A row that is not NULL is written; for DELETE
 * old_row is NULL when the server logged nothing that identifies the row.
 */
typedef struct DecodeEvent
{
	event_action action;
	const DecodeTable *table;	/* NULL for EVENT_COMMIT */
	const DecodeRow *row;
	const DecodeRow *old_row;	/* its identity columns count */
} DecodeEvent;

/*
 * Writing into a StringInfo without a call: reserve room, which leaves one
 * more byte for a terminator, then put into it.
 */
static inline void
reserve(StringInfo out, int len)
{
	if (out->maxlen - out->len <= len)
		enlargeStringInfo(out, len);
}

static inline void
put(StringInfo out, const char *s, int len)
{
	memcpy(out->data + out->len, s, len);
	out->len += len;
}

static inline void
put_char(StringInfo out, char c)
{
	out->data[out->len++] = c;
}

/* From PostgreSQL's epoch to that of Unix. */
static inline int64
decode_unix_time(TimestampTz time)
{
	return time + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
		USECS_PER_DAY;
}

/* relations.c */
extern void decode_relations_init(MemoryContext parent);
extern void decode_relations_prune(void);
extern DecodeTable *decode_relation(Relation relation);
extern DecodeTable *decode_live_relation(Relation relation);

/* rows.c */
extern void decode_write(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						 const DecodeEvent *event);
extern void decode_append_binary(StringInfo out, const event_header *stamp,
								 const DecodeEvent *event);
extern void decode_append_row(StringInfo out, const DecodeTable *table,
							  const DecodeRow *row, bool identity_only,
							  uint8 *flags);

/* values.c */
extern void decode_type_init(DecodeType *type, Oid typid, MemoryContext cxt);
extern bool decode_append_value(StringInfo out, DecodeType *type, Datum value,
								int limit);
extern void decode_append_string(StringInfo out, const char *s, int len);
extern void decode_append_key(StringInfo out, const char *name);

#endif							/* OPENHR_MSG_DECODE_H */
