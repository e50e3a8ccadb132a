/*-------------------------------------------------------------------------
 *
 * token_test.c
 *	  Tokens: their form, their claims, and what a stranger may send.
 *
 *-------------------------------------------------------------------------
 */
#include "check.h"
#include "token_maker.h"

#define SECRET	"a secret of more than thirty-two bytes"
#define HEADER	"{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define SUB		"6f1b3c1e-8a55-4d0e-9c3a-0123456789ab"

static const maker_key key = {.secret = SECRET};
static token_keys *keys;

static token_status
verify(const char *token, size_t len, token_claims *claims)
{
	return token_verify(keys, token, len, NOW, claims, NULL);
}

/* Verdict on a well signed token with these claims. */
static token_status
verify_payload(const char *payload, token_claims *claims)
{
	char	   *token = make_token(&key, EVP_sha256(), HEADER, payload);
	token_status status = verify(token, strlen(token), claims);

	free(token);
	return status;
}

static void
test_good_token(void)
{
	static const uint8_t profile[] = {
		0x6f, 0x1b, 0x3c, 0x1e, 0x8a, 0x55, 0x4d, 0x0e,
		0x9c, 0x3a, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab
	};
	const char *payload = "{\"role\":\"authenticated\",\"exp\":1700000600,"
		"\"iat\":1699999999,\"sub\":\"" SUB "\",\"x\":[1.50,\"\\u00e9\"]}";
	char	   *token = make_token(&key, EVP_sha256(), HEADER, payload);
	char	   *other;
	char	   *forged;
	token_claims claims;
	char	   *json;

	check_int(token_verify(keys, token, strlen(token), NOW, &claims, &json),
			  TOKEN_OK, "good token");
	check(claims.has_profile, "profile is there");
	check(memcmp(claims.profile_id, profile, sizeof(profile)) == 0,
		  "profile is the subject");
	check_str(claims.role, "authenticated", "role");
	check_int(claims.exp, 1700000600, "exp");
	check_int(claims.iat, 1699999999, "iat");
	check_str(json, payload, "claims as they were signed");
	free(json);

	/* The same claims under the signature of others. */
	*strrchr(token, '.') = '\0';
	other = make_token(&key, EVP_sha256(), HEADER, GOOD_PAYLOAD);
	if (asprintf(&forged, "%s%s", token, strrchr(other, '.')) < 0)
		abort();
	check_int(token_verify(keys, forged, strlen(forged), NOW, &claims, &json),
			  TOKEN_BAD_SIGNATURE, "claims under another signature");
	check(json == NULL, "no claims then");
	check(!claims.has_profile && claims.role[0] == '\0' && claims.exp == 0,
		  "nothing of them");
	free(forged);
	free(other);
	free(token);
}

#define ROLE	"\"role\":\"r\""
#define EXP		"\"exp\":1700000600"

static void
test_claims(void)
{
	static const struct
	{
		const char *payload;
		token_status status;
	}			cases[] = {
		{"{}", TOKEN_MISSING_CLAIM},
		{"{" ROLE "}", TOKEN_MISSING_CLAIM},
		{"{" EXP "}", TOKEN_MISSING_CLAIM},
		{"{" ROLE "," EXP "}", TOKEN_OK},
		{"{\"role\":\"\"," EXP "}", TOKEN_MISSING_CLAIM},
		{"{\"role\":null," EXP "}", TOKEN_MISSING_CLAIM},
		{"{\"role\":[\"r\"]," EXP "}", TOKEN_MISSING_CLAIM},
		{"{\"role\":\"123456789012345678901234567890123456789012345678901234567"
		"890123\"," EXP "}", TOKEN_OK},
		{"{\"role\":\"123456789012345678901234567890123456789012345678901234567"
		"8901234\"," EXP "}", TOKEN_MISSING_CLAIM},

		/* Expiry, with 30 seconds of leeway. */
		{"{" ROLE ",\"exp\":1699999971}", TOKEN_OK},
		{"{" ROLE ",\"exp\":1699999970}", TOKEN_EXPIRED},
		{"{" ROLE ",\"exp\":0}", TOKEN_EXPIRED},
		{"{" ROLE ",\"exp\":-1}", TOKEN_EXPIRED},
		{"{" ROLE ",\"exp\":-9223372036854775808}", TOKEN_EXPIRED},
		{"{" ROLE ",\"exp\":9223372036854775807}", TOKEN_OK},
		{"{" ROLE ",\"exp\":9223372036854775808}", TOKEN_MALFORMED},
		{"{" ROLE ",\"exp\":1700000600.5}", TOKEN_OK},
		{"{" ROLE ",\"exp\":1.7000006e9}", TOKEN_OK},
		{"{" ROLE ",\"exp\":1e300}", TOKEN_OK},
		{"{" ROLE ",\"exp\":-1e300}", TOKEN_EXPIRED},
		{"{" ROLE ",\"exp\":1e400}", TOKEN_MALFORMED},
		{"{" ROLE ",\"exp\":NaN}", TOKEN_MALFORMED},
		{"{" ROLE ",\"exp\":\"1700000600\"}", TOKEN_MISSING_CLAIM},
		{"{" ROLE ",\"exp\":null}", TOKEN_MISSING_CLAIM},
		{"{" ROLE ",\"exp\":true}", TOKEN_MISSING_CLAIM},

		{"{" ROLE "," EXP ",\"nbf\":1700000030}", TOKEN_OK},
		{"{" ROLE "," EXP ",\"nbf\":1700000031}", TOKEN_NOT_YET_VALID},
		{"{" ROLE "," EXP ",\"nbf\":1e300}", TOKEN_NOT_YET_VALID},
		{"{" ROLE "," EXP ",\"nbf\":-5}", TOKEN_OK},
		{"{" ROLE "," EXP ",\"nbf\":\"0\"}", TOKEN_MALFORMED},
		{"{" ROLE "," EXP ",\"nbf\":null}", TOKEN_MALFORMED},
		{"{" ROLE "," EXP ",\"iat\":\"yesterday\"}", TOKEN_OK},

		/* Not JSON, or not an object, or not just one. */
		{"", TOKEN_MALFORMED},
		{"7", TOKEN_MALFORMED},
		{"null", TOKEN_MALFORMED},
		{"[{" ROLE "," EXP "}]", TOKEN_MALFORMED},
		{"\"text\"", TOKEN_MALFORMED},
		{"{" ROLE "," EXP "} x", TOKEN_MALFORMED},
		{"{" ROLE "," EXP "}{}", TOKEN_MALFORMED},
		{"{" ROLE "," EXP "", TOKEN_MALFORMED},
		{"{" ROLE "," EXP ",}", TOKEN_MALFORMED},
		{"{" ROLE "," EXP "," ROLE "}", TOKEN_MALFORMED},
		{"{" ROLE "," EXP "," EXP "}", TOKEN_MALFORMED},
		{"{" ROLE "," EXP ",\"x\":{\"a\":1,\"a\":2}}", TOKEN_MALFORMED},
		{"{\"role\":\"r\\u0000x\"," EXP "}", TOKEN_MALFORMED},
		{"{\"role\":\"\\ud800\"," EXP "}", TOKEN_MALFORMED},
		{"{\"role\":\"\xff\"," EXP "}", TOKEN_MALFORMED},
		{"{\"role\":\"\xc0\xaf\"," EXP "}", TOKEN_MALFORMED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
	{
		token_claims claims;

		check_int(verify_payload(cases[i].payload, &claims), cases[i].status,
				  "claims %s", cases[i].payload);
	}
}

static void
test_expiry_is_told(void)
{
	token_claims claims;

	verify_payload("{" ROLE ",\"exp\":1600000000}", &claims);
	check_int(claims.exp, 1600000000, "exp of an expired token");
	verify_payload("{" ROLE ",\"exp\":-9223372036854775808}", &claims);
	check_int(claims.exp, 0, "exp before 1970 is 1970");
	verify_payload("{" ROLE ",\"exp\":1e300}", &claims);
	check_int(claims.exp, INT64_C(1) << 53, "exp has an upper bound");
}

static void
test_subjects(void)
{
	static const struct
	{
		const char *sub;
		bool		is_profile;
	}			cases[] = {
		{"\"" SUB "\"", true},
		{"\"6F1B3C1E-8A55-4D0E-9C3A-0123456789AB\"", true},
		{"\"00000000-0000-0000-0000-000000000000\"", true},
		{"\"\"", false},
		{"null", false},
		{"7", false},
		{"[\"" SUB "\"]", false},
		{"\"auth0|5f7c8ec7c33c6c004bbafe82\"", false},
		{"\"6f1b3c1e8a554d0e9c3a0123456789ab\"", false},
		{"\"{" SUB "}\"", false},
		{"\"" SUB " \"", false},
		{"\"6f1b3c1e-8a55-4d0e-9c3a-0123456789ag\"", false},
		{"\"6f1b3c1e-8a55-4d0e-9c3a0-123456789ab\"", false},
		{"\"6f1b3c1e-8a55-4d0e-9c3a-01234567 9ab\"", false},
		{"\"6f1b3c1e-8a55-4d0e-9c3a-0123456-89ab\"", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
	{
		token_claims claims;
		char		payload[200];

		snprintf(payload, sizeof(payload), "{" ROLE "," EXP ",\"sub\":%s}",
				 cases[i].sub);
		check(verify_payload(payload, &claims) == TOKEN_OK &&
			  claims.has_profile == cases[i].is_profile,
			  "subject %s", cases[i].sub);
	}
}

static void
test_audience_and_issuer(void)
{
	token_config config = {.secret = SECRET,.audience = "chat",
		.issuer = "https://id.example.com"
	};
	static const struct
	{
		const char *more;
		token_status status;
	}			cases[] = {
		{"", TOKEN_BAD_AUDIENCE},
		{",\"aud\":\"chat\"", TOKEN_BAD_ISSUER},
		{",\"aud\":\"chat\",\"iss\":\"https://id.example.com\"", TOKEN_OK},
		{",\"aud\":\"chat\",\"iss\":\"https://id.example.com/\"",
		TOKEN_BAD_ISSUER},
		{",\"aud\":\"chat\",\"iss\":[\"https://id.example.com\"]",
		TOKEN_BAD_ISSUER},
		{",\"aud\":[\"x\",\"chat\"],\"iss\":\"https://id.example.com\"",
		TOKEN_OK},
		{",\"aud\":[7,null,[\"chat\"]],\"iss\":\"https://id.example.com\"",
		TOKEN_BAD_AUDIENCE},
		{",\"aud\":[],\"iss\":\"https://id.example.com\"", TOKEN_BAD_AUDIENCE},
		{",\"aud\":\"chat2\",\"iss\":\"https://id.example.com\"",
		TOKEN_BAD_AUDIENCE},
		{",\"aud\":{\"chat\":1},\"iss\":\"https://id.example.com\"",
		TOKEN_BAD_AUDIENCE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
	{
		char		payload[200];
		char	   *token;

		snprintf(payload, sizeof(payload), "{" ROLE "," EXP "%s}",
				 cases[i].more);
		token = make_token(&key, EVP_sha256(), HEADER, payload);
		check_int(verdict(&config, token), cases[i].status,
				  "required audience and issuer, claims%s", cases[i].more);
		free(token);
	}
}

static void
test_malformed(void)
{
	static const char *const cases[] = {
		"", ".", "..", "...", "....", "a.b", "a.b.c", "abc", "e30.e30",
		"e30.e30.e30.e30", ".e30.", "e30..", "..e30", "e30.e30.=",
		"e30=.e30.AAAA", "e3+.e30.AAAA", "e3/.e30.AAAA", "e30.e30.AAAA\"",
		"\xc3\xa9.e30.AAAA", "%", "%2", "%zz.e30.AAAA", "%00", "e30.%00.AAAA",
		"e30.e30.AAAA%", "sb_publishable_123", "null", "Bearer e30.e30.AAAA",
		"{\"alg\":\"HS256\"}.{}.x",
	};
	token_claims claims;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		check_int(verify(cases[i], strlen(cases[i]), &claims),
				  TOKEN_MALFORMED, "token \"%s\"", cases[i]);

	check_int(verify("e30.\0e30.AAAA", 13, &claims), TOKEN_MALFORMED,
			  "token with a NUL");
	check_int(verify("e30.e30.A", 9, &claims), TOKEN_NO_KEY,
			  "empty objects");
}

/* Clients put tokens into URLs, and people paste them. */
static void
test_cleaning(void)
{
	char	   *token = make_token(&key, EVP_sha256(), HEADER, GOOD_PAYLOAD);
	size_t		len = strlen(token);
	char	   *dressed = malloc(3 * len + 20);
	char	   *p = dressed;
	token_claims claims;

	sprintf(dressed, " \t\r\n%.20s\n %s\n\f\v", token, token + 20);
	check_int(verify(dressed, strlen(dressed), &claims), TOKEN_OK,
			  "white space is dropped");
	sprintf(dressed, "%%20%s%%0a", token);
	check_int(verify(dressed, strlen(dressed), &claims), TOKEN_OK,
			  "white space in percent form, too");

	for (size_t i = 0; i < len; i++)
		p += sprintf(p, i % 2 ? "%%%02x" : "%%%02X", (unsigned char) token[i]);
	check_int(verify(dressed, strlen(dressed), &claims), TOKEN_OK,
			  "percent form is decoded");
	sprintf(dressed, "%%25%02x%s", (unsigned char) token[0], token + 1);
	check_int(verify(dressed, strlen(dressed), &claims), TOKEN_MALFORMED,
			  "but once only");

	check_int(verify(token, len - 1, &claims), TOKEN_BAD_SIGNATURE,
			  "a length shorter than the text is obeyed");
	free(dressed);
	free(token);
}

/* A token whose payload is "{ROLE,EXP,"x":" and "}" around this. */
static token_status
verify_big(const char *open, const char *close, size_t times)
{
	static const char prefix[] = "{" ROLE "," EXP ",\"x\":";
	char	   *payload = malloc(sizeof(prefix) + 2 + 10 * times);
	char	   *p = stpcpy(payload, prefix);
	token_claims claims;
	token_status status;

	for (size_t i = 0; i < times; i++)
		p = stpcpy(p, open);
	p = stpcpy(p, "0");
	for (size_t i = 0; i < times; i++)
		p = stpcpy(p, close);
	stpcpy(p, "}");
	status = verify_payload(payload, &claims);
	free(payload);
	return status;
}

static void
test_big(void)
{
	char	   *token;
	char	   *padded = malloc(TOKEN_MAX_BYTES + 2);
	token_claims claims;

	check_int(verify_big("[", "]", 500), TOKEN_OK, "500 lists in one another");
	check_int(verify_big("[", "]", 2900), TOKEN_MALFORMED, "2900 of them");
	check_int(verify_big("{\"a\":", "}", 900), TOKEN_OK, "900 objects");
	check_int(verify_big("[", "", 5000), TOKEN_MALFORMED, "5000 open brackets");
	check_int(verify_big("1", "2", 2000), TOKEN_MALFORMED, "a huge number");
	check_int(verify_big(" ", " ", 2900), TOKEN_OK, "lots of white space");
	check_int(verify_big(" ", " ", 5000), TOKEN_MALFORMED, "too large a token");

	token = make_token(&key, EVP_sha256(), HEADER, GOOD_PAYLOAD);
	memset(padded, '\n', TOKEN_MAX_BYTES + 2);
	memcpy(padded, token, strlen(token));
	check_int(verify(padded, TOKEN_MAX_BYTES, &claims), TOKEN_OK,
			  "largest token");
	check_int(verify(padded, TOKEN_MAX_BYTES + 1, &claims), TOKEN_MALFORMED,
			  "one byte more");
	free(padded);
	free(token);
}

/* Bytes after a NUL were signed, too, and nobody would see them. */
static void
test_embedded_nul(void)
{
	static const struct
	{
		const char *bytes;
		size_t		len;
	}			payloads[] = {
#define BYTES(text) {text, sizeof(text) - 1}
		BYTES("{" ROLE "," EXP "}\0{\"role\":\"other\"}"),
		BYTES("{" ROLE "," EXP "}\0"),
		BYTES("{" ROLE "," EXP "\0}"),
		BYTES("{\0" ROLE "," EXP "}"),
		BYTES("{\"role\":\"r\0x\"," EXP "}"),
	};

	for (size_t i = 0; i < sizeof(payloads) / sizeof(*payloads); i++)
	{
		char	   *token = make_token_bytes(&key, EVP_sha256(), HEADER,
											 payloads[i].bytes,
											 payloads[i].len);
		token_claims claims;

		check_int(verify(token, strlen(token), &claims), TOKEN_MALFORMED,
				  "NUL in payload %zu", i);
		free(token);
	}
}

static void
test_headers(void)
{
	static const char *const malformed[] = {
		"", "7", "[]", "x", "{\"alg\":\"HS256\",\"alg\":\"none\"}",
		"{\"alg\":\"HS256\"", "{\"alg\":\"HS256\"}}",
	};
	static const char *const good[] = {
		"{\"alg\":\"HS256\"}", " { \"alg\" : \"HS256\" } ",
		"{\"alg\":\"HS256\",\"kid\":7}", "{\"alg\":\"HS256\",\"typ\":\"jwt\"}",
		"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"},"
		"\"jku\":\"https://example.com/\"}",
	};
	token_claims claims;
	char	   *token;

	for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++)
	{
		token = make_token(&key, EVP_sha256(), malformed[i], GOOD_PAYLOAD);
		check_int(verify(token, strlen(token), &claims), TOKEN_MALFORMED,
				  "malformed header %s", malformed[i]);
		free(token);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
	{
		token = make_token(&key, EVP_sha256(), good[i], GOOD_PAYLOAD);
		check_int(verify(token, strlen(token), &claims), TOKEN_OK,
				  "good header %s", good[i]);
		free(token);
	}
}

/* Claims that somebody else has verified. */
static void
test_parse_claims(void)
{
	static const char full[] =
		"{\"role\":\"service_role\",\"exp\":5,\"sub\":\"" SUB "\"}";
	token_claims claims;

	check(token_parse_claims(full, strlen(full), &claims) &&
		  claims.has_profile && claims.exp == 5 &&
		  strcmp(claims.role, "service_role") == 0, "all claims");
	check(token_parse_claims("{}", 2, &claims) &&
		  !claims.has_profile && claims.role[0] == '\0', "no claims");
	check(token_parse_claims("{\"sub\":7,\"role\":{}}", 19, &claims) &&
		  !claims.has_profile && claims.role[0] == '\0', "strange claims");
	check(!token_parse_claims("[]", 2, &claims), "no object");
	check(!token_parse_claims("{", 1, &claims), "no JSON");
	check(!token_parse_claims("", 0, &claims), "nothing");
}

static void
test_texts(void)
{
	for (int status = TOKEN_OK; status <= TOKEN_NO_MEMORY; status++)
	{
		const char *text = token_status_text((token_status) status);

		check(strlen(text) > 5, "status %d is \"%s\"", status, text);
		for (int other = TOKEN_OK; other < status; other++)
		{
			if (strcmp(text, token_status_text((token_status) other)) == 0)
				check(false, "which is also %d", other);
		}
	}
	check(token_status_text((token_status) 1000) != NULL, "any status");
}

int
main(void)
{
	token_config config = {.secret = SECRET};
	char		error[256];

	keys = token_keys_new(&config, error, sizeof(error));
	test_good_token();
	test_claims();
	test_expiry_is_told();
	test_subjects();
	test_audience_and_issuer();
	test_malformed();
	test_cleaning();
	test_big();
	test_embedded_nul();
	test_headers();
	test_parse_claims();
	test_texts();
	token_keys_free(keys);
	return check_done();
}
