/*-------------------------------------------------------------------------
 *
 * catchup_calls.c
 *	  Calls about positions, and what was missed since.
 *
 * The work is done in src/ (catchup.c, client_positions.c); here payloads are
 * taken apart and replies put together.
 *
 * A client that comes back has its row locked first, and only then is the mark
 * taken: what its earlier session has saved until that moment is in the
 * position, and the mark is not older than it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "broadcasts.h"
#include "catchup.h"
#include "catchup_calls.h"
#include "client_positions.h"
#include "compat.h"
#include "positions.h"

/* Parts of a payload, each at a multiple of 8. */
typedef struct Parts
{
	const char *data;
	uint32		len;
	uint32		at;
} Parts;

pg_noreturn static void
refuse(void)
{
	ereport(ERROR,
			errcode(ERRCODE_PROTOCOL_VIOLATION),
			errmsg("invalid call from a gateway"));
}

static const void *
take(Parts *parts, uint32 len)
{
	const char *part = parts->data + parts->at;

	if (parts->at > parts->len || len > parts->len - parts->at)
		refuse();
	parts->at = TYPEALIGN(8, (uint64) parts->at + len);
	return part;
}

static const event_position *
take_position(Parts *parts, uint32 len)
{
	const event_position *position =
		msg_check_position(take(parts, len), len);

	if (position == NULL)
		refuse();
	return position;
}

static const event_mark *
take_mark(Parts *parts, uint32 len)
{
	const event_mark *mark = take(parts, len);

	if (len < sizeof(event_mark) ||
		msg_check_position(&mark->position,
						   len - offsetof(event_mark, position)) == NULL)
		refuse();
	return mark;
}

static Size
mark_size(const event_mark *mark)
{
	return offsetof(event_mark, position) +
		event_position_size(&mark->position);
}

static void
align(StringInfo reply)
{
	while (reply->len % 8 != 0)
		appendStringInfoChar(reply, '\0');
}

static void
put(StringInfo reply, const void *part, Size len)
{
	appendBinaryStringInfo(reply, part, len);
	align(reply);
}

static void
answer_mark(StringInfo reply)
{
	const event_mark *mark = msg_take_mark();

	put(reply, mark, mark_size(mark));
}

/* What a MsgCatchUp asks for. */
typedef struct Request
{
	MsgCatchUp	head;
	MsgPositionKey key;
	MsgWanted	wanted;
} Request;

static void
read_request(const MsgCall *call, Parts *parts, Request *request)
{
	MsgCatchUp *head = &request->head;
	MsgWanted  *wanted = &request->wanted;

	memset(request, 0, sizeof(*request));
	memcpy(head, take(parts, sizeof(*head)), sizeof(*head));
	memcpy(&request->key.profile_id, call->profile_id, UUID_LEN);
	request->key.client_id = take(parts, head->client_id_len);
	request->key.client_id_len = head->client_id_len;
	request->key.topic = take(parts, head->topic_len);
	request->key.topic_len = head->topic_len;

	wanted->profile_id = request->key.profile_id;
	wanted->tables = head->tables;
	wanted->max_events = MSG_MISSED_EVENTS;
	wanted->max_bytes = MSG_MISSED_BYTES;
	if (head->from_len > 0)
		wanted->from = take_position(parts, head->from_len);
	if (head->until_len > 0)
		wanted->until = take_mark(parts, head->until_len);
	if (head->cursor_len > 0)
	{
		wanted->cursor = take(parts, head->cursor_len);
		wanted->cursor_len = head->cursor_len;
	}
}

static void
reply_caught_up(StringInfo reply, const MsgWanted *wanted,
				const MsgMissed *missed, bool found, int64 session)
{
	MsgCaughtUp head = {
		.found = found,
		.more = missed->more,
		.session = session,
		.until_len = mark_size(wanted->until),
		.from_len = event_position_size(wanted->from),
		.cursor_len = missed->cursor.len,
		.nevents = missed->nevents
	};

	put(reply, &head, sizeof(head));
	put(reply, wanted->until, head.until_len);
	put(reply, wanted->from, head.from_len);
	put(reply, missed->cursor.data, missed->cursor.len);
	put(reply, missed->events.data, missed->events.len);
}

/* Where it had come to, or NULL: then it begins at the mark, which is set. */
static const event_position *
resume(const MsgPositionKey *key, MsgWanted *wanted, int64 *session)
{
	for (;;)
	{
		const event_position *position = msg_resume_position(key, session);

		wanted->until = NULL;
		if (position)
			return position;
		wanted->until = msg_take_mark();
		if (msg_first_position(key, &wanted->until->position, session))
			return NULL;
		CHECK_FOR_INTERRUPTS();
	}
}

static void
answer_catch_up(StringInfo reply, const MsgCall *call, Parts *parts)
{
	Request		request;
	MsgWanted  *wanted = &request.wanted;
	MsgMissed	missed = {.more = false};
	int64		session = 0;
	bool		found = false;

	read_request(call, parts, &request);
	if (request.head.pinned)
		wanted->conversation_id = (pg_uuid_t *) request.head.conversation_id;
	if (request.head.resume)
	{
		if (request.key.client_id_len == 0 ||
			request.key.client_id_len > MSG_CLIENT_ID_MAX)
			refuse();
		wanted->from = resume(&request.key, wanted, &session);
		found = wanted->from != NULL;
	}
	else if (wanted->from == NULL)
		refuse();

	if (wanted->from == NULL)
	{
		wanted->from = &wanted->until->position;
		initStringInfo(&missed.cursor);
		initStringInfo(&missed.events);
	}
	else
	{
		PushActiveSnapshot(GetLatestSnapshot());
		if (wanted->until == NULL)
		{
			wanted->until = msg_take_mark();
			wanted->all_due = msg_mark_is_rough();
		}
		msg_catch_up(wanted, &missed);
		PopActiveSnapshot();
	}
	reply_caught_up(reply, wanted, &missed, found, session);
}

static void
answer_save_positions(const MsgCall *call, Parts *parts)
{
	int			max = call->len / sizeof(MsgSavedPosition) + 1;
	MsgPositionUpdate *updates = palloc0(max * sizeof(MsgPositionUpdate));
	int			n = 0;

	while (parts->at < parts->len)
	{
		const MsgSavedPosition *saved = take(parts, sizeof(*saved));
		MsgPositionUpdate *update = &updates[n++];

		memcpy(&update->key.profile_id, saved->profile_id, UUID_LEN);
		update->session = saved->session;
		update->key.client_id = take(parts, saved->client_id_len);
		update->key.client_id_len = saved->client_id_len;
		update->key.topic = take(parts, saved->topic_len);
		update->key.topic_len = saved->topic_len;
		update->position = take_position(parts, saved->position_len);
	}
	msg_save_positions(updates, n);
}

static void
answer_replay(StringInfo reply, Parts *parts)
{
	const MsgReplay *wanted = take(parts, sizeof(*wanted));
	const char *topic = take(parts, wanted->topic_len);

	msg_replay_broadcasts(reply, topic, wanted->topic_len,
						  msg_time_of_unix(wanted->since * 1000),
						  wanted->limit);
}

bool
msg_is_catchup_call(uint32 kind)
{
	return kind == MSG_CALL_MARK || kind == MSG_CALL_CATCH_UP ||
		kind == MSG_CALL_SAVE_POSITIONS || kind == MSG_CALL_REPLAY;
}

void
msg_answer_catchup(void *arg)
{
	MsgCatchUpCall *work = arg;
	const MsgCall *call = work->call;
	Parts		parts = {.data = work->payload,.len = call->len};

	switch (call->kind)
	{
		case MSG_CALL_MARK:
			answer_mark(work->reply);
			break;
		case MSG_CALL_CATCH_UP:
			answer_catch_up(work->reply, call, &parts);
			break;
		case MSG_CALL_SAVE_POSITIONS:
			answer_save_positions(call, &parts);
			break;
		case MSG_CALL_REPLAY:
			answer_replay(work->reply, &parts);
			break;
	}
}
