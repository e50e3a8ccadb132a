/*-------------------------------------------------------------------------
 *
 * catchup_tables.c
 *	  The tables that catching up reads, in the order of their indexes.
 *
 * Not by SQL.  Who catches up looks at the headers of rows (who wrote them),
 * stops in the middle of an index, and does that for each of many
 * conversations, while ten thousand others do the same: to start a plan over
 * all months of messages would cost more than the reading.
 *
 * So the tables are opened once for a call, the months not before a
 * conversation has something new, and each look-up is a descent in an index.
 * Messages of a conversation come out of all months at once, merged by their
 * version.
 *
 * Columns and indexes go by name and by columns: a month may have them at
 * places of its own, and indexes by any name.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catchup_tables.h"
#include "compat.h"
#include "openhr_msg.h"

typedef struct MsgOneScan
{
	const MsgSource *source;
	SysScanDesc scan;
	HeapTuple	tuple;			/* the next one; NULL: no more */
	int64		version;		/* its second key, when there are several */
} MsgOneScan;

static const char *const conversation_columns[MSG_SOURCE_COLUMNS] = {
	[CONVERSATION_CREATED_AT] = "created_at",
	[CONVERSATION_UPDATED_AT] = "updated_at",
};
static const char *const participant_columns[MSG_SOURCE_COLUMNS] = {
	[PARTICIPANT_CONVERSATION] = "conversation_id",
	[PARTICIPANT_PROFILE] = "profile_id",
	[PARTICIPANT_JOINED_AT] = "joined_at",
};
static const char *const message_columns[MSG_SOURCE_COLUMNS] = {
	[MESSAGE_SEQ] = "seq",
	[MESSAGE_VERSION] = "version",
	[MESSAGE_CREATED_AT] = "created_at",
	[MESSAGE_UPDATED_AT] = "updated_at",
	[MESSAGE_DELIVERED_AT] = "delivered_at",
	[MESSAGE_READ_AT] = "read_at",
	[MESSAGE_IS_EDITED] = "is_edited",
	[MESSAGE_IS_DELETED] = "is_deleted",
};
static const char *const departure_columns[MSG_SOURCE_COLUMNS] = {
	[DEPARTURE_ID] = "id",
	[DEPARTURE_CONVERSATION] = "conversation_id",
	[DEPARTURE_PROFILE] = "profile_id",
	[DEPARTURE_LEFT_AT] = "left_at",
	[DEPARTURE_WAS_DELETED] = "was_deleted",
	[DEPARTURE_OLD_RECORD] = "old_record",
};

/* Where the tables are that have the document's names. */
static Oid
extension_schema(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			schema = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(MSG_EXTENSION));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);

	if (!OidIsValid(schema))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("extension \"%s\" does not exist", MSG_EXTENSION));
	return schema;
}

static Oid
find_table(const char *name, Oid schema)
{
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_TABLE),
				errmsg("table \"%s\" does not exist", name));
	return relid;
}

static AttrNumber
find_column(Relation heap, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(heap), name);

	if (number <= 0)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_COLUMN),
				errmsg("column \"%s\" of table \"%s\" does not exist",
					   name, RelationGetRelationName(heap)));
	return number;
}

/* Does the index have all rows, and these columns first? */
static bool
fits(Relation index, const AttrNumber *key, int nkeys)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisvalid || index->rd_rel->relam != BTREE_AM_OID ||
		form->indnkeyatts < nkeys ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < nkeys; i++)
	{
		if (form->indkey.values[i] != key[i] || index->rd_indoption[i] != 0)
			return false;
	}
	return true;
}

static void
open_index(MsgSource *source, int nkeys)
{
	List	   *indexes = RelationGetIndexList(source->heap);
	ListCell   *cell;

	source->index = NULL;
	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (fits(index, source->key, nkeys))
		{
			source->index = index;
			break;
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	if (source->index == NULL)
		ereport(ERROR,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("table \"%s\" has not the index that catching up needs",
					   RelationGetRelationName(source->heap)),
				errhint("Create one like that of \"%s.messages_default\".",
						MSG_SCHEMA));
}

static void
open_source(MsgSource *source, Oid relid, const char *key, const char *key2,
			const char *const *columns)
{
	source->heap = table_open(relid, AccessShareLock);
	source->key[0] = find_column(source->heap, key);
	if (key2)
		source->key[1] = find_column(source->heap, key2);
	for (int i = 0; i < MSG_SOURCE_COLUMNS && columns[i]; i++)
		source->column[i] = find_column(source->heap, columns[i]);
	open_index(source, key2 ? 2 : 1);
}

static void
close_source(MsgSource *source)
{
	index_close(source->index, AccessShareLock);
	table_close(source->heap, AccessShareLock);
}

MsgTables *
msg_tables_open(void)
{
	MsgTables  *tables = palloc0(sizeof(MsgTables));
	Oid			schema = extension_schema();
	Oid			participants = find_table("conversation_participants", schema);
	Oid			departures = find_table("departures",
										get_namespace_oid(MSG_SCHEMA, false));

	tables->snapshot = GetActiveSnapshot();
	tables->nmonths = -1;
	open_source(&tables->conversations, find_table("conversations", schema),
				"id", NULL, conversation_columns);
	open_source(&tables->memberships, participants,
				"profile_id", "conversation_id", participant_columns);
	open_source(&tables->participants, participants,
				"conversation_id", "profile_id", participant_columns);
	open_source(&tables->own_departures, departures,
				"profile_id", "id", departure_columns);
	open_source(&tables->departures, departures,
				"conversation_id", "id", departure_columns);
	return tables;
}

static void
open_months(MsgTables *tables)
{
	Oid			schema = RelationGetNamespace(tables->conversations.heap);
	List	   *relids = find_all_inheritors(find_table("messages", schema),
											 AccessShareLock, NULL);
	ListCell   *cell;

	tables->months = palloc0(list_length(relids) * sizeof(MsgSource));
	tables->nmonths = 0;
	foreach(cell, relids)
	{
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
			open_source(&tables->months[tables->nmonths++], lfirst_oid(cell),
						"conversation_id", "version", message_columns);
	}
	list_free(relids);
}

void
msg_tables_close(MsgTables *tables)
{
	close_source(&tables->conversations);
	close_source(&tables->memberships);
	close_source(&tables->participants);
	close_source(&tables->own_departures);
	close_source(&tables->departures);
	for (int i = 0; i < tables->nmonths; i++)
		close_source(&tables->months[i]);
}

static RegProcedure
comparison(Oid type, StrategyNumber strategy)
{
	bool		is_uuid = type == UUIDOID;

	switch (strategy)
	{
		case BTLessStrategyNumber:
			return is_uuid ? F_UUID_LT : F_INT8LT;
		case BTEqualStrategyNumber:
			return is_uuid ? F_UUID_EQ : F_INT8EQ;
		case BTGreaterStrategyNumber:
			return is_uuid ? F_UUID_GT : F_INT8GT;
	}
	elog(ERROR, "unexpected strategy %d", strategy);
}

static void
start_scan(MsgTables *tables, MsgOneScan *one, const MsgSource *source,
		   const pg_uuid_t *key, StrategyNumber strategy, Datum bound)
{
	ScanKeyData keys[2];
	int			nkeys = 0;

	ScanKeyInit(&keys[nkeys++], source->key[0], BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(key));
	if (strategy != InvalidStrategy)
	{
		Oid			type = TupleDescAttr(RelationGetDescr(source->heap),
										 source->key[1] - 1)->atttypid;

		ScanKeyInit(&keys[nkeys++], source->key[1], strategy,
					comparison(type, strategy), bound);
	}
	one->source = source;
	one->scan = systable_beginscan_ordered(source->heap, source->index,
										   tables->snapshot, nkeys, keys);
}

static void
advance(MsgRows *rows, MsgOneScan *one)
{
	one->tuple = systable_getnext_ordered(one->scan, rows->direction);
	if (one->tuple != NULL && rows->nscans > 1)
		one->version = msg_row_number(one->source, one->tuple,
									  MESSAGE_VERSION);
}

static MsgRows *
make_rows(int nscans, ScanDirection direction)
{
	MsgRows    *rows = palloc0(sizeof(MsgRows));

	rows->direction = direction;
	rows->nscans = nscans;
	rows->scans = palloc0(nscans * sizeof(MsgOneScan));
	return rows;
}

MsgRows *
msg_rows_start(MsgTables *tables, const MsgSource *source,
			   const pg_uuid_t *key, StrategyNumber strategy, Datum bound)
{
	MsgRows    *rows = make_rows(1, ForwardScanDirection);

	start_scan(tables, &rows->scans[0], source, key, strategy, bound);
	advance(rows, &rows->scans[0]);
	return rows;
}

MsgRows *
msg_message_rows_start(MsgTables *tables, const pg_uuid_t *conversation_id,
					   StrategyNumber strategy, int64 version,
					   ScanDirection direction)
{
	MsgRows    *rows;

	if (tables->nmonths < 0)
		open_months(tables);
	rows = make_rows(tables->nmonths, direction);
	for (int i = 0; i < tables->nmonths; i++)
	{
		start_scan(tables, &rows->scans[i], &tables->months[i],
				   conversation_id, strategy, Int64GetDatum(version));
		advance(rows, &rows->scans[i]);
	}
	return rows;
}

/* Does a's row come before b's? */
static bool
comes_first(const MsgRows *rows, const MsgOneScan *a, const MsgOneScan *b)
{
	if (b == NULL)
		return true;
	return ScanDirectionIsForward(rows->direction) ?
		a->version < b->version : a->version > b->version;
}

HeapTuple
msg_rows_next(MsgRows *rows, const MsgSource **source)
{
	MsgOneScan *first = NULL;

	/* Not before now: its row was to stay good until this call. */
	if (rows->current)
		advance(rows, rows->current);

	for (int i = 0; i < rows->nscans; i++)
	{
		MsgOneScan *one = &rows->scans[i];

		if (one->tuple && comes_first(rows, one, first))
			first = one;
	}
	rows->current = first;
	if (first == NULL)
		return NULL;
	if (source)
		*source = first->source;
	return first->tuple;
}

void
msg_rows_end(MsgRows *rows)
{
	for (int i = 0; i < rows->nscans; i++)
		systable_endscan_ordered(rows->scans[i].scan);
	pfree(rows->scans);
	pfree(rows);
}

Datum
msg_row_value(const MsgSource *source, HeapTuple tuple, int column,
			  bool *isnull)
{
	return heap_getattr(tuple, source->column[column],
						RelationGetDescr(source->heap), isnull);
}

pg_uuid_t
msg_row_uuid(const MsgSource *source, HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = msg_row_value(source, tuple, column, &isnull);

	return isnull ? (pg_uuid_t) {{0}} : *DatumGetUUIDP(value);
}

int64
msg_row_number(const MsgSource *source, HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = msg_row_value(source, tuple, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

bool
msg_row_flag(const MsgSource *source, HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = msg_row_value(source, tuple, column, &isnull);

	return !isnull && DatumGetBool(value);
}

TimestampTz
msg_row_time(const MsgSource *source, HeapTuple tuple, int column)
{
	bool		isnull;
	Datum		value = msg_row_value(source, tuple, column, &isnull);

	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
}
