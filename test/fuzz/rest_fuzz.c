/*-------------------------------------------------------------------------
 *
 * rest_fuzz.c
 *	  Requests out of arbitrary bytes, from somebody whose token is good, and
 *	  what becomes of their bodies.
 *
 * The input begins with the request line.  A token and a topic that a channel
 * listens to are put in where the bytes 1 and 2 stand; everything behind the
 * empty line is the body.
 *
 *-------------------------------------------------------------------------
 */
#include <jansson.h>

#include "hub_world.h"

#include "rest.h"

#define TOPIC	"room:00000000-0000-0000-0000-000000000001"

static char *token;
static int	answers;
static rest_exchange *called;	/* by whom */

static void
must(bool condition)
{
	if (!condition)
		abort();
}

/* Every answer has a head that ends, and nothing of the client's in it. */
static void
take_response(void *socket, const http_response *response)
{
	char		head[HTTP_MAX_RESPONSE_HEAD];
	size_t		len = http_response_head(head, sizeof(head), response,
											true);

	(void) socket;
	answers++;
	must(len > 0);
	must(memmem(head, len, "\r\n\r\n", 4) == head + len - 4);
	must(memchr(head, 3, len) == NULL);
}

static bool
take_call(rest_exchange *x, const rest_call *call)
{
	json_t	   *args = json_loads(call->args, 0, NULL);
	json_t	   *body = json_loadb(call->body, call->body != NULL ?
								  call->body_len : 0, 0, NULL);

	must(json_is_object(args) && strlen(call->function) > 0);
	must(call->body == NULL || json_is_object(body));
	json_decref(args);
	json_decref(body);
	called = x;
	return true;
}

static void
forget_call(rest_exchange *x)
{
	must(called == x);
	called = NULL;
}

/* One of the ways in which a call ends. */
static void
finish_call(unsigned way)
{
	static const char *const codes[] = {"PT429", "42501", "XX000", "PGRST202"};
	rest_result result = {
		.outcome = way % 4,.json = "[{\"id\":1}]",.json_len = 10,
		.is_set = true,.rows = way / 4 % 3,.version = way % 5,
		.code = codes[way / 4 % 4],.message = "text \"quoted\" \xc3\xbc",
		.details = way & 16 ? "Retry after 7 seconds." : NULL
	};
	rest_exchange *x = called;

	called = NULL;
	rest_called(x, &result);
}

static void
posted(void *arg, void *post_arg, hub_post_result result)
{
	(void) arg;
	rest_posted(post_arg, result);
}

/* To be freed. */
static char *
fill_in(const uint8_t *data, size_t size, size_t *len)
{
	char	   *text = malloc(size * (strlen(token) + 1) + 1);
	char	   *p = text;

	for (size_t i = 0; i < size && i < 4096; i++)
	{
		if (data[i] > 2 || data[i] == 0)
			*p++ = (char) data[i];
		else
			p = stpcpy(p, data[i] == 1 ? token : TOPIC);
	}
	*len = (size_t) (p - text);
	return text;
}

static void
serve(world *w, const rest *http, char *text, size_t len)
{
	size_t		head = http_head_size(text, len, 0);
	size_t		size;
	http_request request;
	http_response response;
	rest_exchange *x;

	if (head == 0 || head > HTTP_MAX_HEAD ||
		http_parse(text, head, &request) != 0 ||
		http_body_size(&request, &size) != 0)
		return;
	size = len - head;
	x = rest_begin(http, NULL, &request, size, w->now, &response);
	if (x == NULL)
	{
		if (response.status != 0)
			take_response(NULL, &response);
		return;
	}
	must(size <= 16 * 1024);
	rest_body(x, text + head, size, w->now);
	if (called != NULL && len % 8 != 0)
		finish_call((unsigned) len);
	if (answers == 0)
		rest_expired(x);
	must(answers == 1);
	rest_free(x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *origins[] = {"https://a"};
	world	   *w = world_new_with(posted);
	admission_rules rules = {w->keys, origins, 1};
	rest		http = {
		w->h, &rules, 1024, take_response, take_call, forget_call
	};
	hub_conn   *c = world_open(w, 2, 1);
	char	   *text;
	size_t		len;

	if (token == NULL)
		token = token_for("authenticated", 1, NOW + 3600);
	world_send(w, c, "[\"1\",\"1\",\"realtime:" TOPIC "\",\"phx_join\",{}]");
	world_answer(w, (const int[]) {1}, 1);
	world_skip(w, c);
	answers = 0;
	called = NULL;
	text = fill_in(data, size, &len);
	serve(w, &http, text, len);
	world_pump(w);

	/* Text frames are JSON, whatever was said. */
	while (world_read(w, c) != NULL)
	{
		json_t	   *sent = w->frame_is_binary ? json_null() :
			json_loadb(w->frame, w->frame_len, 0, NULL);

		must(sent != NULL);
		json_decref(sent);
	}
	free(text);
	world_free(w);
	return 0;
}
