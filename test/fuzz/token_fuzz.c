/*-------------------------------------------------------------------------
 *
 * token_fuzz.c
 *	  Tokens and keys out of arbitrary bytes.
 *
 * The first byte says what the rest is: a whole token, a payload (which is
 * then signed, so that the claims are reached), a header (likewise), a payload
 * that is signed by one of the algorithms with two keys, whose token is then
 * spoilt somewhere, a key set, or the content of a secret file.
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

/* The algorithms with two keys, and what signs and verifies by them. */
static struct
{
	const char *header;
	const EVP_MD *(*digest) (void);
	maker_key	key;
	token_keys *keys;
}			algorithms[] = {
	{"{\"alg\":\"RS256\"}", EVP_sha256},
	{"{\"alg\":\"RS384\"}", EVP_sha384},
	{"{\"alg\":\"RS512\"}", EVP_sha512},
	{"{\"alg\":\"ES256\"}", EVP_sha256},
	{"{\"alg\":\"ES384\"}", EVP_sha384},
	{"{\"alg\":\"ES512\"}", EVP_sha512},
	{"{\"alg\":\"EdDSA\"}", NULL}
};

#define N_ALGORITHMS	(sizeof(algorithms) / sizeof(algorithms[0]))

static void
set_algorithm(int i, EVP_PKEY *pkey, int half_bytes, const char *jwk)
{
	token_config config = {0};
	char		error[256];
	char	   *set;

	if (asprintf(&set, "{\"keys\":[%s]}", jwk) < 0)
		abort();
	config.jwks_text = set;
	algorithms[i].key = (maker_key) {.pkey = pkey,.half_bytes = half_bytes};
	algorithms[i].keys = token_keys_new(&config, error, sizeof(error));
	expect(algorithms[i].keys != NULL);
	free(set);
}

static void
set_algorithms(void)
{
	static const char *const curves[] = {"P-256", "P-384", "P-521"};
	static const int bytes[] = {32, 48, 66};
	EVP_PKEY   *rsa = EVP_RSA_gen(2048);
	EVP_PKEY   *edwards = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	char	   *jwk = make_rsa_jwk(rsa, "");

	for (int i = 0; i < 3; i++)
		set_algorithm(i, rsa, 0, jwk);
	free(jwk);
	for (int i = 0; i < 3; i++)
	{
		EVP_PKEY   *ec = EVP_EC_gen(curves[i]);

		jwk = make_ec_jwk(ec, curves[i], bytes[i], "");
		set_algorithm(3 + i, ec, bytes[i], jwk);
		free(jwk);
	}
	jwk = make_ed25519_jwk(edwards, "");
	set_algorithm(6, edwards, 0, jwk);
	free(jwk);
}

/* An algorithm, a place in the token, what is put there, and a payload. */
static void
verify_spoilt(const uint8_t *data, size_t size)
{
	token_claims claims;
	token_status status;
	char	   *token;
	size_t		len;
	size_t		i;

	if (size < 3)
		return;
	if (algorithms[0].keys == NULL)
		set_algorithms();
	i = data[0] % N_ALGORITHMS;
	token = make_token_bytes(&algorithms[i].key, algorithms[i].digest != NULL ?
							 algorithms[i].digest() : NULL,
							 algorithms[i].header, data + 3, size - 3);
	len = strlen(token);
	if (data[2] != 0)
		token[len - 1 - data[1] % len] = (char) data[2];
	status = token_verify(algorithms[i].keys, token, len, NOW, &claims, NULL);
	expect(strlen(token_status_text(status)) > 0);
	expect(status != TOKEN_BAD_SIGNATURE || data[2] != 0);
	free(token);
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
		case 'a':
			verify_spoilt(data + 1, size - 1);
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
