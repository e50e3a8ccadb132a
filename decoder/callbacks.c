/*-------------------------------------------------------------------------
 *
 * callbacks.c
 *	  The output plugin "openhr_msg": what the server calls.
 *
 * The plugin tells of every row of our tables that a transaction changed,
 * one message a row, in the order of the changes, and the transactions in the
 * order of their commits.  Messages of a partition are told under the name of
 * the partitioned table.  Everything else in the database is passed over for
 * the price of one hash probe, and a transaction that touched none of our
 * tables leaves no trace in the output.
 *
 * Two options of the slot's reader:
 *
 *	 format	 'text' (one JSON object a row, for people, scripts and
 *			 pg_recvlogical) or 'binary' (see event.h, for our streamer)
 *	 columns 'on' puts names and types of the columns into the text form, too
 *
 * Neither streaming of transactions in progress nor two-phase decoding is
 * offered: nobody may be told of a message that could still be rolled back.
 *
 * Of broadcasts only the INSERT is told: the rows are kept for a while and
 * then removed, which concerns nobody.  Nor does it when a revocation of
 * tokens is removed, which is no part of their life.
 *
 * Three things cannot be told as one would like:
 *
 * - A row that moves to another partition is a DELETE and an INSERT in the
 *	 WAL, and arrives so.  Messages never move by themselves, since the
 *	 partition key is the id.  Maintenance that moves rows stays silent under
 *	 the origin that is never replicated (partitions.c does so).
 * - TRUNCATE of a single partition is not told, as little as dropping it: to
 *	 a reader that does not know the partitions it would look as if all was
 *	 gone.
 * - A DELETE from a table without replica identity has no ids.
 *
 * An UPDATE that carries a row into another conversation (only a superuser
 * can do that) is told as a DELETE there and an INSERT here, because readers
 * are chosen by the conversation: those of the old one must see it leave.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "compat.h"
#include "decode.h"

/* Silent changes after which the reader hears that we are alive. */
#define KEEPALIVE_CHANGES	100

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

static void decode_startup(LogicalDecodingContext *ctx,
						   OutputPluginOptions *opt, bool is_init);
static bool decode_filter_by_origin(LogicalDecodingContext *ctx,
									RepOriginId origin);
static void decode_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
static void decode_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						  Relation relation, ReorderBufferChange *change);
static void decode_truncate(LogicalDecodingContext *ctx,
							ReorderBufferTXN *txn, int nrelations,
							Relation relations[], ReorderBufferChange *change);
static void decode_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						  XLogRecPtr commit_lsn);

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = decode_startup;
	cb->filter_by_origin_cb = decode_filter_by_origin;
	cb->begin_cb = decode_begin;
	cb->change_cb = decode_change;
	cb->truncate_cb = decode_truncate;
	cb->commit_cb = decode_commit;
}

static bool
decode_filter_by_origin(LogicalDecodingContext *ctx, RepOriginId origin)
{
	return origin == DoNotReplicateId;
}

/* "text" or "binary". */
static bool
is_binary(DefElem *option)
{
	const char *value = option->arg ? strVal(option->arg) : "";

	if (strcmp(value, "binary") == 0)
		return true;
	if (strcmp(value, "text") == 0)
		return false;
	ereport(ERROR,
			errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("invalid value for option \"%s\": \"%s\"",
				   option->defname, value),
			errhint("Valid values are \"text\" and \"binary\"."));
}

/* A boolean; the option alone means true, as it does elsewhere. */
static bool
is_on(DefElem *option)
{
	bool		result;

	if (option->arg == NULL)
		return true;
	if (!parse_bool(strVal(option->arg), &result))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for option \"%s\": \"%s\"",
					   option->defname, strVal(option->arg)),
				errhint("Valid values are \"on\" and \"off\"."));
	return result;
}

static void
read_options(DecodeState *state, List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, "format") == 0)
			state->binary = is_binary(option);
		else if (strcmp(option->defname, "columns") == 0)
			state->columns = is_on(option);
		else
			ereport(ERROR,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unrecognized option \"%s\" of output plugin \"%s\"",
						   option->defname, "openhr_msg"),
					errhint("Valid options are \"format\" and \"columns\"."));
	}
}

/* A slot is created (is_init) without options, and decodes no row yet. */
static void
decode_startup(LogicalDecodingContext *ctx, OutputPluginOptions *opt,
			   bool is_init)
{
	DecodeState *state = MemoryContextAllocZero(ctx->context,
												sizeof(DecodeState));

	read_options(state, ctx->output_plugin_options);
	state->event_context = AllocSetContextCreate(ctx->context,
												 "openhr_msg event",
												 ALLOCSET_DEFAULT_SIZES);
	decode_relations_init(ctx->context);

	ctx->output_plugin_private = state;
	opt->output_type = state->binary ?
		OUTPUT_PLUGIN_BINARY_OUTPUT : OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
	opt->receive_rewrites = false;
}

static void
decode_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	DecodeState *state = ctx->output_plugin_private;

	state->ordinal = 0;
	decode_relations_prune();
}

static void
decode_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			  XLogRecPtr commit_lsn)
{
	DecodeState *state = ctx->output_plugin_private;
	DecodeEvent event = {.action = EVENT_COMMIT};

	OutputPluginUpdateProgress(ctx, state->ordinal == 0);
	if (state->binary && state->ordinal > 0)
		decode_write(ctx, txn, &event);
}

static bool
differs(const DecodeTable *table, int index)
{
	return index >= 0 &&
		!table->old_row.nulls[index] && !table->new_row.nulls[index] &&
		memcmp(DatumGetUUIDP(table->old_row.values[index])->data,
			   DatumGetUUIDP(table->new_row.values[index])->data,
			   UUID_LEN) != 0;
}

/* Does the UPDATE take the row away from those who could see it? */
static bool
changes_hands(const DecodeTable *table)
{
	return differs(table, table->conversation) ||
		(table->table == EVENT_PARTICIPANTS && differs(table, table->profile));
}

/*
 * The server logs the old identity (old is not NULL) only when the UPDATE
 * changed it, else it is that of the new row.
 */
static void
write_update(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			 const DecodeTable *table, const DecodeRow *old)
{
	const DecodeRow *new = &table->new_row;

	if (old && changes_hands(table))
	{
		DecodeEvent leave = {EVENT_DELETE, table, NULL, old};
		DecodeEvent enter = {EVENT_INSERT, table, new, NULL};

		decode_write(ctx, txn, &leave);
		decode_write(ctx, txn, &enter);
	}
	else
	{
		DecodeEvent update = {EVENT_UPDATE, table, new, old ? old : new};

		decode_write(ctx, txn, &update);
	}
}

/*
 * An UPDATE logs no TOASTed value that it left alone.  What the old row
 * brought along (replica identity FULL) fills the gap.
 */
static void
fill_from_old(DecodeTable *table, TupleDesc desc)
{
	DecodeRow  *new_row = &table->new_row;
	DecodeRow  *old_row = &table->old_row;

	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attlen == -1 && !new_row->nulls[i] &&
			VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(new_row->values[i])) &&
			!old_row->nulls[i])
			new_row->values[i] = old_row->values[i];
	}
}

/* Take the tuples of a change apart and write what it means. */
static void
write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			 DecodeTable *table, TupleDesc desc, ReorderBufferChange *change)
{
	HeapTuple	new_tuple = change_tuple(change->data.tp.newtuple);
	HeapTuple	old_tuple = change_tuple(change->data.tp.oldtuple);
	const DecodeRow *old = old_tuple ? &table->old_row : NULL;
	DecodeEvent insert = {EVENT_INSERT, table, &table->new_row, NULL};
	DecodeEvent delete = {EVENT_DELETE, table, NULL, old};

	if (new_tuple == NULL && change->action != REORDER_BUFFER_CHANGE_DELETE)
		return;					/* nothing was logged */

	if (new_tuple)
		heap_deform_tuple(new_tuple, desc, table->new_row.values,
						  table->new_row.nulls);
	if (old_tuple)
		heap_deform_tuple(old_tuple, desc, table->old_row.values,
						  table->old_row.nulls);
	if (new_tuple && old_tuple)
		fill_from_old(table, desc);

	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			decode_write(ctx, txn, &insert);
			break;
		case REORDER_BUFFER_CHANGE_UPDATE:
			write_update(ctx, txn, table, old);
			break;
		case REORDER_BUFFER_CHANGE_DELETE:
			decode_write(ctx, txn, &delete);
			break;
		default:
			elog(ERROR, "unexpected change %d", (int) change->action);
	}
}

static bool
is_told(const DecodeTable *table, ReorderBufferChangeType action)
{
	switch (table->table)
	{
		case EVENT_BROADCASTS:
			return action == REORDER_BUFFER_CHANGE_INSERT;
		case EVENT_REVOCATIONS:
			return action != REORDER_BUFFER_CHANGE_DELETE;
		default:
			return true;
	}
}

static void
decode_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			  Relation relation, ReorderBufferChange *change)
{
	DecodeState *state = ctx->output_plugin_private;
	DecodeTable *table = decode_relation(relation);

	if (table && is_told(table, change->action))
		write_change(ctx, txn, table, RelationGetDescr(relation), change);
	else if (++state->silent % KEEPALIVE_CHANGES == 0)
		decoding_keepalive(ctx);
}

/* A partitioned table comes together with its partitions: told once. */
static void
decode_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				int nrelations, Relation relations[],
				ReorderBufferChange *change)
{
	for (int i = 0; i < nrelations; i++)
	{
		DecodeEvent event = {.action = EVENT_TRUNCATE};

		event.table = decode_relation(relations[i]);
		if (event.table && event.table->table < EVENT_TABLES &&
			event.table->root == RelationGetRelid(relations[i]))
			decode_write(ctx, txn, &event);
	}
}
