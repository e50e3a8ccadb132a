/*-------------------------------------------------------------------------
 *
 * rows.c
 *	  A change -> one event, binary or text.
 *
 * Rows are written straight into the buffer that the server sends; there is
 * no tree and no copy in between.  The binary header, which tells the lengths
 * of what follows it, is filled in last.
 *
 * A row is left incomplete in two cases, and says so.  An UPDATE does not log
 * TOASTed values that it left alone: their keys are missing, since null would
 * be wrong and the table may hold another value by now.  (A row that is read
 * from the table, live.c, is whole.)  And a row whose JSON passes the size
 * limit is written again with its short values only; what is allocated for it
 * stays within the limit, however long the values are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "replication/output_plugin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "decode.h"
#include "revocations.h"

/* Longest JSON of a value that stays in a row which is too large. */
#define MAX_SHORT_VALUE		64

/* Not logged, because an UPDATE did not change it? */
static inline bool
is_absent(const DecodeRow *row, const DecodeColumn *column)
{
	return column->type.typlen == -1 && !row->is_stored &&
		!row->nulls[column->index] &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(row->values[column->index]));
}

/*
 * Append ,"key":value; false when the value's text passes the limit.
 */
static inline bool
append_pair(StringInfo out, DecodeColumn *column, const DecodeRow *row,
			int limit)
{
	int			i = column->index;

	reserve(out, column->key_len + 4);
	put(out, column->key, column->key_len);
	if (!row->nulls[i])
		return decode_append_value(out, &column->type, row->values[i], limit);
	put(out, "null", 4);
	return out->len <= limit;
}

/*
 * Append a row as an object.  Returns false, with a part of it written, when
 * it does not fit; short_only makes it fit.
 */
static bool
append_object(StringInfo out, const DecodeTable *table, const DecodeRow *row,
			  bool identity_only, bool short_only, uint8 *flags)
{
	int			start = out->len;
	int			limit = start + EVENT_MAX_TEXT - 1;

	for (int i = 0; row != NULL && i < table->ncolumns; i++)
	{
		DecodeColumn *column = &table->column[i];
		int			end = out->len;

		if (identity_only && !column->identity)
			continue;
		if (is_absent(row, column))
		{
			*flags |= EVENT_PARTIAL;
			continue;
		}

		if (short_only)
			limit = end + column->key_len + MAX_SHORT_VALUE;
		if (append_pair(out, column, row, limit))
			continue;
		if (!short_only)
			return false;
		out->len = end;
	}

	/* The first key's comma becomes the opening brace. */
	reserve(out, 2);
	if (out->len == start)
		out->len++;
	out->data[start] = '{';
	put_char(out, '}');
	return true;
}

void
decode_append_row(StringInfo out, const DecodeTable *table,
				  const DecodeRow *row, bool identity_only, uint8 *flags)
{
	int			start = out->len;

	if (append_object(out, table, row, identity_only, false, flags))
		return;
	out->len = start;
	*flags |= EVENT_TOO_LARGE;
	append_object(out, table, row, identity_only, true, flags);
}

/* Event has an old_record? */
static bool
has_old(const DecodeEvent *event)
{
	return event->action == EVENT_UPDATE || event->action == EVENT_DELETE;
}

static void
copy_uuid(uint8 *to, const DecodeRow *row, int index)
{
	if (index >= 0 && !row->nulls[index])
		memcpy(to, DatumGetUUIDP(row->values[index])->data, UUID_LEN);
}

static int64
get_number(const DecodeRow *row, int index)
{
	return index >= 0 && !row->nulls[index] ?
		DatumGetInt64(row->values[index]) : 0;
}

/* Has the message lost its content, or is it gone? */
static bool
is_tombstone(const DecodeEvent *event)
{
	int			deleted = event->table->deleted;

	return event->table->table == EVENT_MESSAGES &&
		(event->row == NULL ||
		 (deleted >= 0 && !event->row->nulls[deleted] &&
		  DatumGetBool(event->row->values[deleted])));
}

/* What the row tells to the header: of the new row, else of the old. */
static void
fill_ids(event_header *header, const DecodeEvent *event)
{
	const DecodeTable *table = event->table;
	const DecodeRow *row = event->row ? event->row : event->old_row;

	if (row == NULL)
		return;
	if (is_tombstone(event))
		header->flags |= EVENT_TOMBSTONE;
	header->seq = get_number(row, table->seq);
	if (table->revoked >= 0 && !row->nulls[table->revoked])
		header->seq = msg_revocation_seconds(DatumGetTimestampTz(row->values[table->revoked]));
	header->version = get_number(row, table->version);
	copy_uuid(header->conversation_id, row, table->conversation);
	copy_uuid(header->profile_id, row, table->profile);
}

/*
 * See event.h; the buffer may stand at any alignment.  The stamp tells of what
 * transaction the event is.
 */
void
decode_append_binary(StringInfo out, const event_header *stamp,
					 const DecodeEvent *event)
{
	const DecodeTable *table = event->table;
	event_header header = *stamp;
	int			start = out->len;

	header.magic = EVENT_MAGIC;
	header.table = table ? table->table : 0;
	header.action = event->action;
	enlargeStringInfo(out, sizeof(header));
	out->len += sizeof(header);

	if (event->row || has_old(event))
	{
		fill_ids(&header, event);
		appendBinaryStringInfoNT(out, table->columns, table->columns_len);
		header.columns_len = table->columns_len;
	}
	if (event->row)
	{
		int			text = out->len;

		decode_append_row(out, table, event->row, false, &header.flags);
		header.record_len = out->len - text;
	}
	if (has_old(event))
	{
		int			text = out->len;

		decode_append_row(out, table, event->old_row, true, &header.flags);
		header.old_record_len = out->len - text;
	}

	header.size = out->len - start;
	memcpy(out->data + start, &header, sizeof(header));
}

static event_header
stamp_of(const DecodeState *state, const ReorderBufferTXN *txn)
{
	return (event_header)
	{
		.xid = txn->xid,
		.commit_lsn = txn->end_lsn,
		.ordinal = state->ordinal,
		.commit_time = decode_unix_time(txn->xact_time.commit_time)
	};
}

static const char *
action_name(event_action action)
{
	switch (action)
	{
		case EVENT_INSERT:
			return "INSERT";
		case EVENT_UPDATE:
			return "UPDATE";
		case EVENT_DELETE:
			return "DELETE";
		case EVENT_TRUNCATE:
			return "TRUNCATE";
		case EVENT_COMMIT:
			break;
	}
	elog(ERROR, "unexpected action %d", (int) action);
}

static void
append_text(StringInfo out, const DecodeState *state,
			const ReorderBufferTXN *txn, const DecodeEvent *event)
{
	static const int utc = 0;
	char		time[MAXDATELEN + 1];
	uint8		flags = 0;

	JsonEncodeDateTime(time, TimestampTzGetDatum(txn->xact_time.commit_time),
					   TIMESTAMPTZOID, &utc);
	appendStringInfo(out,
					 "{%s,\"type\":\"%s\",\"commit_lsn\":\"%X/%X\","
					 "\"xid\":%u,\"commit_timestamp\":\"%s\","
					 "\"ordinal\":%u",
					 event->table->label, action_name(event->action),
					 LSN_FORMAT_ARGS(txn->end_lsn), txn->xid, time,
					 state->ordinal);
	if (state->columns && event->action != EVENT_TRUNCATE)
		appendStringInfo(out, ",\"columns\":%s", event->table->columns);
	if (event->row)
	{
		appendStringInfoString(out, ",\"record\":");
		decode_append_row(out, event->table, event->row, false, &flags);
	}
	if (has_old(event))
	{
		appendStringInfoString(out, ",\"old_record\":");
		decode_append_row(out, event->table, event->old_row, true, &flags);
	}
	if (flags & EVENT_PARTIAL)
		appendStringInfoString(out, ",\"partial\":true");
	if (flags & EVENT_TOO_LARGE)
		appendStringInfoString(out, ",\"too_large\":true");
	appendStringInfoChar(out, '}');
}

/* Write one event.  All that it allocates is gone afterwards. */
void
decode_write(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			 const DecodeEvent *event)
{
	DecodeState *state = ctx->output_plugin_private;
	MemoryContext caller = MemoryContextSwitchTo(state->event_context);
	event_header stamp = stamp_of(state, txn);

	OutputPluginPrepareWrite(ctx, true);
	if (state->binary)
		decode_append_binary(ctx->out, &stamp, event);
	else
		append_text(ctx->out, state, txn, event);
	OutputPluginWrite(ctx, true);

	state->ordinal++;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->event_context);
}
