/*-------------------------------------------------------------------------
 *
 * admission_test.c
 *	  Who may open a WebSocket, and what the others are told.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>

#include "admission.h"
#include "check.h"
#include "token_maker.h"

#define SECRET	"a secret of more than thirty-two bytes"
#define OTHER	"another secret of more than thirty-two bytes"
#define HEADER	"{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define PATH	"/realtime/v1/websocket"

static admission_rules rules;
static admission result;
static server_refusal refusal;

static char *
sign(const char *secret, const char *payload)
{
	maker_key	key = {.secret = secret};

	return make_token_bytes(&key, EVP_sha256(), HEADER, payload,
							strlen(payload));
}

/* Check a request with this target and these further headers. */
static bool
admit(const char *target, const char *headers, bool websocket)
{
	http_request request;
	char	   *head;
	bool		admitted;

	if (asprintf(&head, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n",
				 target, headers) < 0 ||
		http_parse(head, strlen(head), &request) != 0)
		abort();
	refusal = (server_refusal) {0};
	admitted = admission_check(&rules, &request, websocket, NOW, &result,
							   &refusal);
	free(head);
	return admitted;
}

/* The same for a target in which %s stands for a token. */
static bool
admit_token(const char *format, const char *headers, const char *token)
{
	char		target[4096];
	char		lines[4096];

	snprintf(target, sizeof(target), format, token);
	snprintf(lines, sizeof(lines), headers, token);
	return admit(target, lines, true);
}

static void
refuse(const char *name, bool admitted, int status, const char *error)
{
	check(!admitted && refusal.status == status &&
		  strcmp(refusal.error, error) == 0,
		  "%s: %d, %s", name, status, error);
}

static void
test_request(const char *token)
{
	static const char *const origins[] = {"https://example.org", "http://a:3000"};

	refuse("another path", admit("/", "", true), 404, "not found");
	refuse("a longer path", admit(PATH "/x", "", true), 404, "not found");
	refuse("a plain request", admit(PATH, "", false),
		   426, "this is a WebSocket endpoint");
	check(admit_token("/socket/websocket?apikey=%s", "", token) &&
		  admit_token("/websocket?apikey=%s", "", token), "any prefix");

	check(admit_token(PATH "?apikey=%s&vsn=2.0.0", "", token) &&
		  result.vsn == 2, "version 2");
	check(admit_token(PATH "?vsn=1.0.0&apikey=%s", "", token) &&
		  result.vsn == 1, "version 1");
	check(admit_token(PATH "?log_level=info&apikey=%s", "", token) &&
		  result.vsn == 1, "no version is version 1");
	refuse("version 3", admit_token(PATH "?vsn=3.0.0&apikey=%s", "", token),
		   403, "vsn is not supported");

	check(admit_token(PATH "?apikey=%s", "Origin: null\r\n", token),
		  "any origin, if so set");
	rules.origins = origins;
	rules.norigins = 2;
	check(admit_token(PATH "?apikey=%s", "Origin: HTTPS://Example.org\r\n",
					  token), "an origin of the list");
	check(admit_token(PATH "?apikey=%s", "", token), "no origin at all");
	refuse("another origin",
		   admit_token(PATH "?apikey=%s", "Origin: https://example.org.evil\r\n",
					   token), 403, "origin is not allowed");
	rules.norigins = 0;
	refuse("an empty list",
		   admit_token(PATH "?apikey=%s", "Origin: https://example.org\r\n",
					   token), 403, "origin is not allowed");
}

static void
test_token(const char *good)
{
	char	   *expired = sign(SECRET, "{\"role\":\"anon\",\"exp\":1600000000}");
	char	   *roleless = sign(SECRET, "{\"exp\":1800000000}");
	char	   *forged = sign(OTHER, GOOD_PAYLOAD);
	char	   *early = sign(SECRET, "{\"role\":\"anon\",\"exp\":1800000000,"
							 "\"nbf\":1750000000}");
	char		spread[4096];
	char		huge[TOKEN_MAX_BYTES + 100];

	refuse("no key", admit(PATH "?vsn=2.0.0", "", true),
		   401, "API key is missing");
	refuse("an empty key", admit(PATH "?apikey=", "", true),
		   401, "API key is missing");
	refuse("garbage", admit(PATH "?apikey=garbage", "", true),
		   401, "The token provided is not a valid JWT");
	refuse("an expired token", admit_token(PATH "?apikey=%s", "", expired),
		   401, "Token has expired");
	refuse("a token without a role",
		   admit_token(PATH "?apikey=%s", "", roleless),
		   401, "Fields `role` and `exp` are required in JWT");
	refuse("a forged token", admit_token(PATH "?apikey=%s", "", forged),
		   401, "Failed to validate JWT signature");
	refuse("a token of the future", admit_token(PATH "?apikey=%s", "", early),
		   401, token_status_text(TOKEN_NOT_YET_VALID));

	check(admit_token(PATH "?apikey=%s", "", good) &&
		  result.claims.has_profile && strcmp(result.token, good) == 0,
		  "a good token");
	check(admit_token(PATH "?apikey=garbage", "X-Api-Key: %s\r\n", good),
		  "a header beats the query");
	check(!admit_token(PATH "?apikey=%s", "X-Api-Key: garbage\r\n", good),
		  "... also with a worse key");
	check(admit_token(PATH, "Authorization: bearer %s\r\n", good),
		  "a bearer token");
	snprintf(spread, sizeof(spread), "%%0A+%s+%%20", good);
	check(admit_token(PATH "?apikey=%s", "", spread) &&
		  strcmp(result.token, good) == 0, "white space does not matter");

	memset(huge, 'a', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	memcpy(huge, PATH "?apikey=", strlen(PATH "?apikey="));
	refuse("a huge token", admit(huge, "", true), 401, "API key is missing");

	free(expired);
	free(roleless);
	free(forged);
	free(early);
}

int
main(void)
{
	static const char *const any[] = {"*"};
	token_config config = {.secret = SECRET};
	token_config nothing = {0};
	char		error[256];
	token_keys *keys = token_keys_new(&config, error, sizeof(error));
	token_keys *none = token_keys_new(&nothing, error, sizeof(error));
	char	   *good = sign(SECRET, GOOD_PAYLOAD);

	rules = (admission_rules) {keys, any, 1};
	test_request(good);
	rules = (admission_rules) {keys, any, 1};
	test_token(good);
	rules.keys = none;
	refuse("no key to verify with", admit_token(PATH "?apikey=%s", "", good),
		   401, "Failed to generate JWT signer, "
		   "check your JWT secret or JWKS configuration");

	free(good);
	token_keys_free(keys);
	token_keys_free(none);
	return check_done();
}
