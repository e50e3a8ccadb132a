/*-------------------------------------------------------------------------
 *
 * departures.c
 *	  Who has left which conversation.
 *
 * A removal deletes the participant's row, and who is away would never learn of
 * it from the tables.  So each leaves a row in openhr_msg.departures, with the
 * old record as the output plugin tells it, which is what the others, and the
 * one who left, are told when they come back (catchup.c).
 *
 * Written once a statement, so that a deleted profile or conversation costs one
 * INSERT for all who leave with it.  A conversation that is deleted is gone
 * already when its participants follow: that is how one tells.
 *
 * Executors remove the rows some time after the last position that could need
 * them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "compat.h"
#include "live.h"
#include "spi_plans.h"

#define BATCH	1000

typedef struct Removed
{
	int			n;
	int			conversation;	/* columns */
	int			profile;
	Datum		conversation_ids[BATCH];
	Datum		profile_ids[BATCH];
	Datum		old_records[BATCH];
} Removed;

static void
take_row(Removed *removed, Relation relation, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(relation);
	StringInfoData record;
	int			n = removed->n++;
	bool		isnull;

	initStringInfo(&record);
	decode_live_old_record(&record, relation, tuple);
	removed->old_records[n] =
		PointerGetDatum(cstring_to_text_with_len(record.data, record.len));
	removed->conversation_ids[n] = SPI_getbinval(tuple, desc,
												 removed->conversation,
												 &isnull);
	removed->profile_ids[n] = SPI_getbinval(tuple, desc, removed->profile,
											&isnull);
}

static Datum
make_array(Datum *values, int n, Oid type)
{
	return PointerGetDatum(type == UUIDOID ?
						   construct_array(values, n, UUIDOID, UUID_LEN, false,
										   TYPALIGN_CHAR) :
						   construct_array(values, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

static void
write_rows(Removed *removed)
{
	static MsgPlan plan = MSG_PLAN(
		"INSERT INTO openhr_msg.departures"
		" (conversation_id, profile_id, was_deleted, old_record)"
		" SELECT r.conversation_id, r.profile_id, NOT EXISTS (SELECT"
		" FROM conversations c WHERE c.id = r.conversation_id),"
		" r.old_record::json"
		" FROM unnest($1, $2, $3)"
		" AS r(conversation_id, profile_id, old_record)",
		UUIDARRAYOID, UUIDARRAYOID, TEXTARRAYOID);
	Datum		values[] = {
		make_array(removed->conversation_ids, removed->n, UUIDOID),
		make_array(removed->profile_ids, removed->n, UUIDOID),
		make_array(removed->old_records, removed->n, TEXTOID)
	};

	if (removed->n > 0)
		msg_plan_write(&plan, values, NULL);
	removed->n = 0;
}

static void
read_rows(Relation relation, Tuplestorestate *rows)
{
	TupleDesc	desc = RelationGetDescr(relation);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc,
													&TTSOpsMinimalTuple);
	Removed    *removed = palloc(sizeof(Removed));

	removed->n = 0;
	removed->conversation = SPI_fnumber(desc, "conversation_id");
	removed->profile = SPI_fnumber(desc, "profile_id");
	tuplestore_select_read_pointer(rows, 0);
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		take_row(removed, relation, ExecCopySlotHeapTuple(slot));
		if (removed->n == BATCH)
			write_rows(removed);
		CHECK_FOR_INTERRUPTS();
	}
	write_rows(removed);
	ExecDropSingleTupleTableSlot(slot);
}

PG_FUNCTION_INFO_V1(msg_participants_removed);

Datum
msg_participants_removed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_oldtable == NULL)
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function can only be called as a trigger with a transition table"));

	SPI_connect();
	read_rows(trigger->tg_relation, trigger->tg_oldtable);
	SPI_finish();
	return PointerGetDatum(NULL);
}
