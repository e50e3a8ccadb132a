/*-------------------------------------------------------------------------
 *
 * http_fuzz.c
 *	  Requests out of arbitrary bytes, and who may open a WebSocket by them.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"

#define NOW		INT64_C(1700000000)

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool condition)
{
	if (!condition)
		abort();
}

static void
expect_response(const http_response *response)
{
	char		head[HTTP_MAX_RESPONSE_HEAD];
	size_t		len = http_response_head(head, sizeof(head), response,
											true);

	expect(len > 0 && len < sizeof(head));
	expect(memmem(head, len, "\r\n\r\n", 4) == head + len - 4);
}

static void
admit(const http_request *request, http_upgrade upgrade)
{
	static const char *const origins[] = {"https://example.org"};
	static admission result;
	token_config config = {.secret = "a secret of more than thirty-two bytes"};
	char		error[256];
	admission_rules rules = {
		.keys = token_keys_new(&config, error, sizeof(error)),
		.origins = origins,.norigins = 1
	};
	server_refusal refusal = {0};
	char		body[256];
	http_response response;

	if (!admission_check(&rules, request, upgrade == HTTP_UPGRADE_WEBSOCKET,
						 NOW, &result, &refusal))
	{
		http_set_error(&response, refusal.status, refusal.error, body,
					   sizeof(body));
		expect_response(&response);
	}
	token_keys_free((token_keys *) rules.keys);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t		head_size = http_head_size((const char *) data, size, 0);
	http_request request;
	char	   *head;
	char		value[32];
	int			status;

	/* Searching on after a first part must find the same. */
	expect(size < 10 ||
		   http_head_size((const char *) data, size, 0) ==
		   http_head_size((const char *) data, size,
						  head_size > 10 ? head_size - 1 : 0));
	if (head_size == 0 || head_size > HTTP_MAX_HEAD)
		return 0;

	head = malloc(head_size);
	memcpy(head, data, head_size);
	status = http_parse(head, head_size, &request);
	if (status == 0)
	{
		expect(request.path[0] == '/' && request.method[0] != '\0');
		expect(request.nheaders <= HTTP_MAX_HEADERS);
		if (http_query_value(&request, "a", value, sizeof(value)))
			expect(strlen(value) < sizeof(value));
		admit(&request, http_wants_upgrade(&request));
	}
	else
		expect(status == 400 || status == 431 || status == 505);
	free(head);
	return 0;
}
