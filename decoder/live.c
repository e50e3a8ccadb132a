/*-------------------------------------------------------------------------
 *
 * live.c
 *	  Rows of our tables as they are now, written as the events that would
 *	  have told of them.
 *
 * Who was away is told of a row that it missed by the same bytes that it would
 * have got from the WAL: the same columns in the same order, the same JSON.  So
 * this is the plugin's own writing, with another source.  What differs: values
 * that are TOASTed are fetched, and the old_record of an UPDATE has the
 * identity columns of the new row, as nobody knows the old one any more.
 *
 * Nothing here touches what the plugin keeps while it decodes.  What is
 * allocated on the way is the caller's to reset.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/rel.h"

#include "compat.h"
#include "decode.h"
#include "live.h"

static DecodeTable *
require_table(Relation relation)
{
	DecodeTable *table = decode_live_relation(relation);

	if (table == NULL)
		ereport(ERROR,
				errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("table \"%s\" is not one of the extension's",
					   RelationGetRelationName(relation)));
	return table;
}

static void
take_apart(DecodeTable *table, Relation relation, HeapTuple tuple)
{
	table->new_row.is_stored = true;
	heap_deform_tuple(tuple, RelationGetDescr(relation),
					  table->new_row.values, table->new_row.nulls);
}

void
decode_live_row(StringInfo out, Relation relation, HeapTuple tuple,
				const event_header *stamp)
{
	DecodeTable *table = require_table(relation);
	DecodeEvent event = {
		.action = stamp->action,
		.table = table,
		.row = &table->new_row,
		.old_row = &table->new_row
	};

	take_apart(table, relation, tuple);
	decode_append_binary(out, stamp, &event);
}

void
decode_live_removal(StringInfo out, Relation relation,
					const event_header *stamp, const char *old_record, int len)
{
	DecodeTable *table = require_table(relation);
	event_header header = *stamp;

	header.magic = EVENT_MAGIC;
	header.table = table->table;
	header.action = EVENT_DELETE;
	header.columns_len = table->columns_len;
	header.record_len = 0;
	header.old_record_len = len;
	header.size = sizeof(header) + header.columns_len + len;

	appendBinaryStringInfoNT(out, (const char *) &header, sizeof(header));
	appendBinaryStringInfoNT(out, table->columns, table->columns_len);
	appendBinaryStringInfoNT(out, old_record, len);
}

void
decode_live_old_record(StringInfo out, Relation relation, HeapTuple tuple)
{
	DecodeTable *table = require_table(relation);
	uint8		flags = 0;

	take_apart(table, relation, tuple);
	decode_append_row(out, table, &table->new_row, true, &flags);
}
