/*-------------------------------------------------------------------------
 *
 * token_keys_test.c
 *	  Keys and signatures: every algorithm, every form of a key, and every
 *	  way to have a key taken for what it is not.
 *
 *-------------------------------------------------------------------------
 */
#include "check.h"
#include "token_maker.h"

#define SECRET		"a secret of more than thirty-two bytes"
#define OTHER		"another secret of more than 32 bytes!"

static EVP_PKEY *rsa;
static EVP_PKEY *other_rsa;
static EVP_PKEY *p256;
static EVP_PKEY *p384;
static EVP_PKEY *p521;
static EVP_PKEY *ed25519;

static const maker_key hmac_key = {.secret = SECRET};

/* The examples of RFC 7515, appendix A: real tokens, long expired. */
#define RFC_PAYLOAD	".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0" \
	"dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."

static const struct
{
	const char *name;
	const char *jwk;
	const char *token;
}			rfc_examples[] = {
	{"RFC 7515 A.1, HS256",
		"{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_"
		"T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}",
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" RFC_PAYLOAD
	"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
	{"RFC 7515 A.2, RS256",
		"{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\""
		"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw"
		"-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b3269"
		"0r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS"
		"-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aG"
		"hyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp"
		"oQ\"}",
		"eyJhbGciOiJSUzI1NiJ9" RFC_PAYLOAD
		"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuH"
		"Im4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdi"
		"uB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN"
		"9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2"
	"w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
	{"RFC 7515 A.3, ES256",
		"{\"kty\":\"EC\",\"crv\":\"P-256\","
		"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
		"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
		"eyJhbGciOiJFUzI1NiJ9" RFC_PAYLOAD
		"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQ"
	"xfKTUJqPP3-Kg6NU1Q"},
};

static char *
key_set(const char *keys)
{
	char	   *set;

	if (asprintf(&set, "{\"keys\":[%s]}", keys) < 0)
		abort();
	return set;
}

/* Verdict with a key set of these keys. */
static int
verdict_jwks(const char *keys, const char *token)
{
	char	   *set = key_set(keys);
	token_config config = {.jwks_text = set};
	int			status = verdict(&config, token);

	free(set);
	return status;
}

static int
verdict_secret(const char *secret, const char *token)
{
	token_config config = {.secret = secret};

	return verdict(&config, token);
}

static int
verdict_file(const char *text, const char *token)
{
	token_config config = {.secret_text = text};

	return verdict(&config, token);
}

/* They have no role, which is seen only once the signature is good. */
static void
test_rfc_examples(void)
{
	for (size_t i = 0; i < sizeof(rfc_examples) / sizeof(*rfc_examples); i++)
	{
		char	   *spoiled = strdup(rfc_examples[i].token);

		check_int(verdict_jwks(rfc_examples[i].jwk, rfc_examples[i].token),
				  TOKEN_MISSING_CLAIM, "%s", rfc_examples[i].name);
		spoiled[strlen(spoiled) - 10] ^= 1;
		check_int(verdict_jwks(rfc_examples[i].jwk, spoiled),
				  TOKEN_BAD_SIGNATURE, "%s, spoiled", rfc_examples[i].name);
		free(spoiled);
	}
}

static void
test_hmac(void)
{
	const struct
	{
		const char *header;
		const EVP_MD *digest;
	}			cases[] = {
		{"{\"alg\":\"HS256\",\"typ\":\"JWT\"}", EVP_sha256()},
		{"{\"alg\":\"HS384\"}", EVP_sha384()},
		{"{\"alg\":\"HS512\",\"typ\":\"at+jwt\"}", EVP_sha512()},
	};

	for (int i = 0; i < 3; i++)
	{
		char	   *token = make_token(&hmac_key, cases[i].digest,
									   cases[i].header, GOOD_PAYLOAD);
		char	   *wrong = make_token(&hmac_key, cases[(i + 1) % 3].digest,
									   cases[i].header, GOOD_PAYLOAD);
		char	   *jwk = make_oct_jwk(SECRET, "");

		check_int(verdict_secret(SECRET, token), TOKEN_OK,
				  "%s by secret", cases[i].header);
		check_int(verdict_secret(OTHER, token), TOKEN_BAD_SIGNATURE,
				  "%s by another secret", cases[i].header);
		check_int(verdict_file(SECRET "\n", token), TOKEN_OK,
				  "%s by secret file", cases[i].header);
		check_int(verdict_jwks(jwk, token), TOKEN_OK,
				  "%s by key set", cases[i].header);
		check_int(verdict_secret(SECRET, wrong), TOKEN_BAD_SIGNATURE,
				  "%s with another digest", cases[i].header);
		free(jwk);
		free(wrong);
		free(token);
	}
}

static void
test_public(const char *alg, const EVP_MD *digest, const maker_key *key,
			const char *jwk)
{
	char	   *header = NULL;
	char	   *pem = make_public_pem(key->pkey);
	char	   *certificate = make_certificate(key->pkey, digest);
	char	   *token;

	if (asprintf(&header, "{\"alg\":\"%s\"}", alg) < 0)
		abort();
	token = make_token(key, digest, header, GOOD_PAYLOAD);

	check_int(verdict_file(pem, token), TOKEN_OK, "%s by PEM", alg);
	check_int(verdict_jwks(jwk, token), TOKEN_OK, "%s by key set", alg);
	check_int(verdict_file(certificate, token), TOKEN_OK,
			  "%s by certificate", alg);
	check_int(verdict_secret(SECRET, token), TOKEN_NO_KEY,
			  "%s with an HMAC secret only", alg);

	*strchr(token, '.') = 'x';
	check_int(verdict_file(pem, token), TOKEN_MALFORMED,
			  "%s with two parts", alg);

	free(token);
	free(certificate);
	free(pem);
	free(header);
}

static void
test_public_algorithms(void)
{
	const maker_key rsa_key = {.pkey = rsa};
	const maker_key p256_key = {.pkey = p256,.half_bytes = 32};
	const maker_key p384_key = {.pkey = p384,.half_bytes = 48};
	const maker_key p521_key = {.pkey = p521,.half_bytes = 66};
	const maker_key ed25519_key = {.pkey = ed25519};
	char	   *rsa_jwk = make_rsa_jwk(rsa, ",\"use\":\"sig\"");
	char	   *p256_jwk = make_ec_jwk(p256, "P-256", 32,
									   ",\"key_ops\":[\"verify\"]");
	char	   *p384_jwk = make_ec_jwk(p384, "P-384", 48, "");
	char	   *p521_jwk = make_ec_jwk(p521, "P-521", 66, "");
	char	   *ed25519_jwk = make_ed25519_jwk(ed25519, "");

	test_public("RS256", EVP_sha256(), &rsa_key, rsa_jwk);
	test_public("RS384", EVP_sha384(), &rsa_key, rsa_jwk);
	test_public("RS512", EVP_sha512(), &rsa_key, rsa_jwk);
	test_public("ES256", EVP_sha256(), &p256_key, p256_jwk);
	test_public("ES384", EVP_sha384(), &p384_key, p384_jwk);
	test_public("ES512", EVP_sha512(), &p521_key, p521_jwk);
	test_public("EdDSA", NULL, &ed25519_key, ed25519_jwk);

	free(ed25519_jwk);
	free(p521_jwk);
	free(p384_jwk);
	free(p256_jwk);
	free(rsa_jwk);
}

/* Whoever knows a public key must not be able to sign with it. */
static void
test_confusion(void)
{
	char	   *pem = make_public_pem(rsa);
	char	   *ec_pem = make_public_pem(p256);
	char	   *rsa_jwk = make_rsa_jwk(rsa, ",\"kid\":\"k\"");
	maker_key	pem_key = {.secret = pem};
	maker_key	p384_key = {.pkey = p384,.half_bytes = 48};
	maker_key	rsa_key = {.pkey = rsa};
	token_config both = {.secret = SECRET,.secret_text = pem};
	char	   *token;

	token = make_token(&pem_key, EVP_sha256(), "{\"alg\":\"HS256\"}",
					   GOOD_PAYLOAD);
	check_int(verdict_file(pem, token), TOKEN_NO_KEY,
			  "HS256 with a public key as its secret");
	check_int(verdict(&both, token), TOKEN_BAD_SIGNATURE,
			  "the same where there is a secret, too");
	check_int(verdict_secret(pem, token), -1, "PEM as the secret is refused");
	free(token);

	token = make_token(&pem_key, EVP_sha256(),
					   "{\"alg\":\"HS256\",\"kid\":\"k\"}", GOOD_PAYLOAD);
	check_int(verdict_jwks(rsa_jwk, token), TOKEN_NO_KEY,
			  "HS256 that names an RSA key");
	free(token);

	token = make_token(&rsa_key, EVP_sha256(), "{\"alg\":\"RS256\"}",
					   GOOD_PAYLOAD);
	check_int(verdict_file(ec_pem, token), TOKEN_NO_KEY,
			  "RS256 with an EC key");
	check_int(verdict(&both, token), TOKEN_OK, "RS256 beside a secret");
	free(token);

	token = make_token(&p384_key, EVP_sha256(), "{\"alg\":\"ES256\"}",
					   GOOD_PAYLOAD);
	free(ec_pem);
	ec_pem = make_public_pem(p384);
	check_int(verdict_file(ec_pem, token), TOKEN_NO_KEY,
			  "ES256 with a key on P-384");
	free(token);

	free(rsa_jwk);
	free(ec_pem);
	free(pem);
}

static void
test_refused_algorithms(void)
{
	static const char *const headers[] = {
		"{\"alg\":\"none\"}", "{\"alg\":\"None\"}", "{\"alg\":\"NONE\"}",
		"{\"alg\":\"\"}", "{\"alg\":null}", "{\"alg\":256}", "{}",
		"{\"alg\":\"hs256\"}", "{\"alg\":\"HS256 \"}", "{\"alg\":\"HS1\"}",
		"{\"alg\":\"PS256\"}", "{\"alg\":[\"HS256\"]}",
		"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++)
	{
		char	   *token = make_token(&hmac_key, EVP_sha256(), headers[i],
									   GOOD_PAYLOAD);

		check_int(verdict_secret(SECRET, token), TOKEN_NO_KEY,
				  "header %s", headers[i]);
		*strrchr(token, '.') = '\0';
		strcat(token, ".");
		check_int(verdict_secret(SECRET, token), TOKEN_NO_KEY,
				  "header %s without signature", headers[i]);
		free(token);
	}
}

/* ECDSA has its own pitfalls: r and s of zero, DER, wrong lengths. */
static void
test_ecdsa_signatures(void)
{
	char	   *jwk = make_ec_jwk(p256, "P-256", 32, "");
	char	   *head = make_base64("{\"alg\":\"ES256\"}", 15);
	char	   *body = make_base64(GOOD_PAYLOAD, strlen(GOOD_PAYLOAD));
	static const size_t lengths[] = {0, 1, 32, 63, 64, 65, 70, 128};
	unsigned char zeros[128] = {0};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
	{
		char	   *tail = make_base64(zeros, lengths[i]);
		char	   *token;

		if (asprintf(&token, "%s.%s.%s", head, body, tail) < 0)
			abort();
		check_int(verdict_jwks(jwk, token), TOKEN_BAD_SIGNATURE,
				  "ES256 signature of %zu zeros", lengths[i]);
		free(token);
		free(tail);
	}
	free(body);
	free(head);
	free(jwk);
}

static void
test_key_names(void)
{
	maker_key	rsa_key = {.pkey = rsa};
	char	   *one = make_rsa_jwk(rsa, ",\"kid\":\"one\"");
	char	   *two = make_rsa_jwk(other_rsa, ",\"kid\":\"two\"");
	char	   *named = make_token(&rsa_key, EVP_sha256(),
								   "{\"alg\":\"RS256\",\"kid\":\"one\"}",
								   GOOD_PAYLOAD);
	char	   *misnamed = make_token(&rsa_key, EVP_sha256(),
									  "{\"alg\":\"RS256\",\"kid\":\"two\"}",
									  GOOD_PAYLOAD);
	char	   *unnamed = make_token(&rsa_key, EVP_sha256(),
									 "{\"alg\":\"RS256\"}", GOOD_PAYLOAD);
	char	   *hmac = make_token(&hmac_key, EVP_sha256(),
								  "{\"alg\":\"HS256\",\"kid\":\"legacy\"}",
								  GOOD_PAYLOAD);
	char	   *both;
	token_config config = {.secret = SECRET};

	if (asprintf(&both, "%s,%s", one, two) < 0)
		abort();

	check_int(verdict_jwks(both, named), TOKEN_OK, "key by its name");
	check_int(verdict_jwks(both, misnamed), TOKEN_BAD_SIGNATURE,
			  "another key's name");
	check_int(verdict_jwks(two, named), TOKEN_NO_KEY, "unknown name");
	check_int(verdict_jwks(one, unnamed), TOKEN_OK,
			  "no name, and one key that fits");
	check_int(verdict_jwks(both, unnamed), TOKEN_NO_KEY,
			  "no name, and two keys that fit");

	config.jwks_text = key_set(both);
	check_int(verdict(&config, hmac), TOKEN_OK,
			  "a secret has no name and fits any");
	check_int(verdict(&config, named), TOKEN_OK, "key set beside a secret");
	free((char *) config.jwks_text);

	free(both);
	free(hmac);
	free(unnamed);
	free(misnamed);
	free(named);
	free(two);
	free(one);
}

/* Keys that are not for us are passed over. */
static void
test_passed_over(void)
{
	maker_key	rsa_key = {.pkey = rsa};
	char	   *token = make_token(&rsa_key, EVP_sha256(),
								   "{\"alg\":\"RS256\"}", GOOD_PAYLOAD);
	char	   *good = make_rsa_jwk(rsa, ",\"alg\":\"RS256\"");
	char	   *set;
	static const char *const more[] = {
		",\"use\":\"enc\"", ",\"alg\":\"RSA-OAEP\"", ",\"alg\":\"RS512\"",
		",\"alg\":7", ",\"key_ops\":[\"encrypt\"]", ",\"key_ops\":\"x\"",
	};
	static const char *const strange[] = {
		"7", "null", "\"key\"", "[]", "{}", "{\"kty\":\"XYZ\"}",
		"{\"kty\":7}", "{\"kty\":\"EC\",\"crv\":\"secp256k1\"}",
		"{\"kty\":\"EC\"}", "{\"kty\":\"OKP\",\"crv\":\"X25519\"}",
	};

	for (size_t i = 0; i < sizeof(more) / sizeof(*more); i++)
	{
		char	   *jwk = make_rsa_jwk(rsa, more[i]);

		check_int(verdict_jwks(jwk, token), TOKEN_NO_KEY,
				  "RS256 with a key of %s", more[i] + 1);
		free(jwk);
	}

	for (size_t i = 0; i < sizeof(strange) / sizeof(*strange); i++)
	{
		if (asprintf(&set, "%s,%s", strange[i], good) < 0)
			abort();
		check_int(verdict_jwks(set, token), TOKEN_OK,
				  "a good key after %s", strange[i]);
		free(set);
	}

	check_int(verdict_jwks("", token), TOKEN_NO_KEY, "empty key set");
	free(good);
	free(token);
}

/* A configuration is refused, and the message shows nothing of a key. */
static void
test_refused(const token_config *config, const char *wanted)
{
	char		error[256] = "";
	token_keys *keys = token_keys_new(config, error, sizeof(error));

	check(keys == NULL, "refused: %s", wanted);
	check_str(error, wanted, "and says why");
	token_keys_free(keys);
}

static void
test_refused_configurations(void)
{
	EVP_PKEY   *weak = EVP_RSA_gen(1024);
	EVP_PKEY   *strange = EVP_EC_gen("secp256k1");
	char	   *private_pem = make_private_pem(rsa);
	char	   *weak_pem = make_public_pem(weak);
	char	   *strange_pem = make_public_pem(strange);

	test_refused(&(token_config) {.secret = "short"},
				 "an HMAC secret has fewer than 32 bytes");
	test_refused(&(token_config) {.secret_text = "short\n"},
				 "an HMAC secret has fewer than 32 bytes");
	test_refused(&(token_config) {.secret = SECRET,.secret_text = OTHER},
				 "both the secret and the secret file hold an HMAC secret");
	test_refused(&(token_config) {.secret_text = private_pem},
				 "the secret file holds neither a public key nor a certificate (PEM)");
	test_refused(&(token_config) {.secret_text = "-----BEGIN PUBLIC KEY-----\n"},
				 "the secret file holds neither a public key nor a certificate (PEM)");
	test_refused(&(token_config) {.secret_text = weak_pem},
				 "an RSA key has fewer than 2048 bits");
	test_refused(&(token_config) {.secret_text = strange_pem},
				 "an EC key is on a curve that no algorithm uses");
	for (const char *const *set = (const char *const[])
		 {"x", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}", NULL};
		 *set != NULL; set++)
		test_refused(&(token_config) {.jwks_text = *set},
					 "the key set is not a JSON object with \"keys\"");
	for (const char *const *key = (const char *const[])
		 {"", ",\"n\":\"AQAB\"", ",\"n\":\"A=\",\"e\":\"AQAB\"", ",\"n\":1,\"e\":2", NULL};
		 *key != NULL; key++)
	{
		char		set[100];

		snprintf(set, sizeof(set), "{\"keys\":[{\"kty\":\"RSA\"%s}]}", *key);
		test_refused(&(token_config) {.jwks_text = set},
					 "a key of type RSA in the key set is not valid");
	}
	test_refused(&(token_config) {.jwks_text = "{\"keys\":[{\"kty\":\"RSA\","
				 "\"n\":\"\",\"e\":\"\"}]}"},
				 "an RSA key has fewer than 2048 bits");
	test_refused(&(token_config) {.jwks_text = "{\"keys\":[{\"kty\":\"EC\","
				 "\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}"},
				 "a key of type EC in the key set is not valid");
	test_refused(&(token_config) {.jwks_text = "{\"keys\":[{\"kty\":\"EC\","
				 "\"crv\":\"P-256\","
				 "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\","
				 "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}"},
				 "a key of type EC in the key set is not valid");
	test_refused(&(token_config) {.jwks_text = "{\"keys\":[{\"kty\":\"OKP\","
				 "\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}"},
				 "a key of type OKP in the key set is not valid");
	test_refused(&(token_config) {.jwks_text =
				 "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}"},
				 "an HMAC secret has fewer than 32 bytes");
	test_refused(&(token_config) {.jwks_text = "{\"keys\":[{\"kty\":\"oct\"}]}"},
				 "a key of type oct in the key set is not valid");

	free(strange_pem);
	free(weak_pem);
	free(private_pem);
	EVP_PKEY_free(strange);
	EVP_PKEY_free(weak);
}

static void
test_no_keys(void)
{
	char	   *token = make_token(&hmac_key, EVP_sha256(),
								   "{\"alg\":\"HS256\"}", GOOD_PAYLOAD);

	check_int(verdict(&(token_config) {0}, token), TOKEN_NO_KEY,
			  "nothing configured");
	check_int(verdict(&(token_config) {.secret = "",.secret_text = "",
					  .jwks_text = ""}, token), TOKEN_NO_KEY,
			  "empty texts are nothing");
	token_keys_free(NULL);
	free(token);
}

int
main(void)
{
	rsa = EVP_RSA_gen(2048);
	other_rsa = EVP_RSA_gen(2048);
	p256 = EVP_EC_gen("P-256");
	p384 = EVP_EC_gen("P-384");
	p521 = EVP_EC_gen("P-521");
	ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	test_rfc_examples();
	test_hmac();
	test_public_algorithms();
	test_confusion();
	test_refused_algorithms();
	test_ecdsa_signatures();
	test_key_names();
	test_passed_over();
	test_refused_configurations();
	test_no_keys();

	EVP_PKEY_free(ed25519);
	EVP_PKEY_free(p521);
	EVP_PKEY_free(p384);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(other_rsa);
	EVP_PKEY_free(rsa);
	return check_done();
}
