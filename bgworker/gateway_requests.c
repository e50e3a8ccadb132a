/*-------------------------------------------------------------------------
 *
 * gateway_requests.c
 *	  HTTP requests that call SQL functions.
 *
 * A request is open from when it is put into the line for the executors until
 * its exchange is answered or gone.  Its ticket is its place in a table and a
 * number that tells it from those that had the place before, so an answer that
 * comes too late finds nobody.
 *
 * Durability
 * ----------
 * When others wait, an executor does not wait for the disk after each commit:
 * it answers at once and says up to where the WAL must be flushed.  Here the
 * answer is held until that is so, whoever flushed it: the streamer, which
 * reads flushed WAL only, other sessions, or the executor itself as soon as it
 * has nothing else to do, which then sets our latch.  So what a client is told
 * was done has been durable before, as with a commit that waits.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which they must not see. */
#include "gateway_requests.h"

#include "postgres.h"

#include "access/xlog.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "gateway_calls.h"

/* In milliseconds, when nobody tells that the WAL was flushed. */
#define HOLD_RECHECK	10

typedef struct Request
{
	dlist_node	node;			/* in spare, open or held */
	uint32		number;			/* of those that had this place */
	rest_exchange *exchange;	/* NULL: the place is free */
	void	   *result;			/* held: what the executor said */
	size_t		len;
	XLogRecPtr	lsn;			/* .. when it counts */
} Request;

static Request *table;
static dlist_head spare;
static dlist_head opened;
static dlist_head held;

static void finish(Request *r, const rest_result *result);

void
msg_requests_init(void)
{
	table = MemoryContextAllocZero(TopMemoryContext,
								   MSG_REQUESTS_OPEN * sizeof(Request));
	dlist_init(&spare);
	dlist_init(&opened);
	dlist_init(&held);
	for (int i = 0; i < MSG_REQUESTS_OPEN; i++)
		dlist_push_tail(&spare, &table[i].node);
}

static uint64
ticket_of(const Request *r)
{
	return (uint64) r->number << 32 | (uint64) (r - table);
}

/* NULL: it is gone. */
static Request *
find(uint64 ticket)
{
	uint32		place = (uint32) ticket;
	Request    *r;

	if (place >= MSG_REQUESTS_OPEN)
		return NULL;
	r = &table[place];
	return r->exchange != NULL && r->number == (uint32) (ticket >> 32) ?
		r : NULL;
}

static char *
add_text(char *p, const char *text, size_t len)
{
	if (len > 0)
		memcpy(p, text, len);
	p[len] = '\0';
	return p + len + 1;
}

/* A letter for the executor; NULL: no memory, or it is too large. */
static MsgCall *
write_letter(const rest_call *call, size_t *len)
{
	MsgRequest	request = {
		.claims = *call->claims,
		.reads = call->reads,
		.claims_len = strlen(call->claims_json),
		.function_len = strlen(call->function),
		.args_len = strlen(call->args),
		.body_len = call->body_len
	};
	MsgCall    *letter;
	char	   *p;

	*len = sizeof(request) + request.claims_len + request.function_len +
		request.args_len + request.body_len + 4;
	if (*len > MSG_CALL_PAYLOAD)
		return NULL;
	letter = malloc(sizeof(MsgCall) + *len);
	if (letter == NULL)
		return NULL;
	p = (char *) (letter + 1);
	memcpy(p, &request, sizeof(request));
	p = add_text(p + sizeof(request), call->claims_json, request.claims_len);
	p = add_text(p, call->function, request.function_len);
	p = add_text(p, call->args, request.args_len);
	add_text(p, call->body, request.body_len);
	return letter;
}

/*
 * Whose share of the line a call takes: all who have no profile share one, but
 * for services, which may take as much as they like.
 */
static const uint8 *
payer(const token_claims *claims)
{
	static const uint8 nobody[UUID_LEN] = {0};

	if (claims->has_profile)
		return claims->profile_id;
	return strcmp(claims->role, "service_role") == 0 ? NULL : nobody;
}

bool
msg_requests_call(rest_exchange *x, const rest_call *call)
{
	size_t		len;
	MsgCall    *letter;
	Request    *r;

	if (dlist_is_empty(&spare))
		return false;
	letter = write_letter(call, &len);
	if (letter == NULL)
		return false;
	r = dlist_head_element(Request, node, &spare);
	r->number++;
	if (!msg_calls_request(ticket_of(r), payer(call->claims), letter, len))
	{
		free(letter);
		return false;
	}
	dlist_delete(&r->node);
	dlist_push_tail(&opened, &r->node);
	r->exchange = x;
	return true;
}

static void
close_request(Request *r)
{
	dlist_delete(&r->node);
	dlist_push_tail(&spare, &r->node);
	free(r->result);
	r->result = NULL;
	r->exchange = NULL;
}

void
msg_requests_forget(rest_exchange *x)
{
	for (int i = 0; i < MSG_REQUESTS_OPEN; i++)
		if (table[i].exchange == x)
		{
			if (table[i].result == NULL)
				msg_calls_cancel(ticket_of(&table[i]));
			close_request(&table[i]);
			return;
		}
}

/* The place is free again before the answer may lead to the next request. */
static void
finish(Request *r, const rest_result *result)
{
	rest_exchange *x = r->exchange;

	r->exchange = NULL;
	HOLD_INTERRUPTS();
	rest_called(x, result);
	RESUME_INTERRUPTS();
	close_request(r);
}

/* A text of an answer; NULL: there is none. */
static const char *
next_text(const char **p, uint32 len)
{
	const char *text = *p;

	if (len == MSG_NO_TEXT)
		return NULL;
	*p += len + 1;
	return text;
}

static void
tell(Request *r, const void *payload)
{
	const MsgRequestResult *answer = payload;
	const char *p = (const char *) (answer + 1);
	rest_result result = {
		.outcome = answer->cancelled ? REST_NOT_TRIED :
		answer->code[0] != '\0' ? REST_REFUSED : REST_DONE,
		.is_set = answer->is_set,
		.rows = answer->rows,
		.version = answer->version,
		.code = answer->code
	};

	if (result.outcome == REST_REFUSED)
	{
		result.message = next_text(&p, answer->message_len);
		result.details = next_text(&p, answer->details_len);
		result.hint = next_text(&p, answer->hint_len);
	}
	else if (!answer->is_void)
	{
		result.json = p;
		result.json_len = answer->json_len;
	}
	finish(r, &result);
}

/* Keep an answer until it counts; false: no memory. */
static bool
hold(Request *r, const void *payload, size_t len)
{
	r->result = malloc(len);
	if (r->result == NULL)
		return false;
	memcpy(r->result, payload, len);
	r->len = len;
	r->lsn = ((const MsgRequestResult *) payload)->lsn;
	dlist_delete(&r->node);
	dlist_push_tail(&held, &r->node);
	return true;
}

void
msg_requests_answered(uint64_t ticket, bool success, const void *payload,
					  size_t len)
{
	static const rest_result unknown = {.outcome = REST_UNKNOWN};
	static const rest_result not_tried = {.outcome = REST_NOT_TRIED};
	Request    *r = find(ticket);
	MsgRequestResult answer;

	if (r == NULL)
		return;
	if (!success)
	{
		finish(r, payload == NULL ? &unknown : &not_tried);
		return;
	}
	memcpy(&answer, payload, sizeof(answer));
	if (answer.lsn == 0 || answer.lsn <= GetFlushRecPtr(NULL))
		tell(r, payload);
	else if (!hold(r, payload, len))
		finish(r, &unknown);
}

void
msg_requests_release(void)
{
	XLogRecPtr	flushed;
	dlist_mutable_iter iter;

	if (dlist_is_empty(&held))
		return;
	flushed = GetFlushRecPtr(NULL);
	dlist_foreach_modify(iter, &held)
	{
		Request    *r = dlist_container(Request, node, iter.cur);

		if (r->lsn <= flushed)
			tell(r, r->result);
	}
}

long
msg_requests_timeout(void)
{
	return dlist_is_empty(&held) ? -1 : HOLD_RECHECK;
}
