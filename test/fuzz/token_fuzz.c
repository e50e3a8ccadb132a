/*-------------------------------------------------------------------------
 *
 * token_fuzz.c
 *	  Tokens and keys out of arbitrary bytes.
 *
 * The first byte says what the rest is: a whole token, a payload (which is
 * then signed, so that the claims are reached), a header (likewise), a key
 * set, or the content of a secret file.
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <stdint.h>

#include "token_maker.h"

#define SECRET	"a secret of more than thirty-two bytes"
#define HEADER	"{\"alg\":\"HS256\"}"

static const maker_key key = {.secret = SECRET};

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool condition)
{
	if (!condition)
		abort();
}

static void
verify(const char *token, size_t len)
{
	static token_keys *keys = NULL;
	token_config config = {.secret = SECRET,.audience = "a",.issuer = "i"};
	char		error[256];
	token_claims claims;
	token_status status;
	char	   *json;

	if (keys == NULL)
		keys = token_keys_new(&config, error, sizeof(error));

	status = token_verify(keys, token, len, NOW, &claims, &json);
	expect(strlen(token_status_text(status)) > 0);
	expect((status == TOKEN_OK) == (json != NULL));
	expect(strlen(claims.role) < sizeof(claims.role));
	expect(claims.exp >= 0);
	if (status == TOKEN_OK)
	{
		token_claims again;

		expect(claims.role[0] != '\0' && claims.exp > NOW - TOKEN_LEEWAY);
		expect(token_parse_claims(json, strlen(json), &again));
		expect(memcmp(&claims, &again, sizeof(claims)) == 0);
	}
	free(json);
}

static void
verify_signed(const char *header, const void *payload, size_t len)
{
	char	   *token = make_token_bytes(&key, EVP_sha256(), header, payload,
										 len);

	verify(token, strlen(token));
	free(token);
}

static void
configure(const token_config *config)
{
	char		error[256] = "";
	token_keys *keys = token_keys_new(config, error, sizeof(error));

	expect((keys == NULL) == (error[0] != '\0'));
	token_keys_free(keys);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *text;

	if (size == 0)
		return 0;

	text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';

	switch (data[0])
	{
		case 't':
			verify((const char *) data + 1, size - 1);
			break;
		case 'p':
			verify_signed(HEADER, data + 1, size - 1);
			break;
		case 'h':
			verify_signed(text, "{}", 2);
			break;
		case 'k':
			configure(&(token_config) {.jwks_text = text});
			break;
		case 's':
			configure(&(token_config) {.secret_text = text});
			break;
	}
	free(text);
	return 0;
}
