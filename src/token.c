/*-------------------------------------------------------------------------
 *
 * token.c
 *	  Verification of JSON Web Tokens (RFC 7519).
 *
 * The header's algorithm decides which of our keys can be meant, never how a
 * key is used; "none" is not an algorithm.  Everything is decoded strictly
 * (no padding, no strange characters, no duplicate names, no NUL), so that
 * whoever else reads what was signed reads the same.
 *
 * This is written on libcrypto and not on libjwt: see jansson.c for why
 * libjwt cannot live in a server's process.
 *
 *-------------------------------------------------------------------------
 */
#ifdef POSTGRES_H
#error "token.c is pure C: it is tested and fuzzed without a server"
#endif

#include <ctype.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "token_key.h"

/* A bound for times that leaves room for arithmetic. */
#define MAX_SECONDS			(INT64_C(1) << 53)

/* A token taken apart. */
typedef struct token_parts
{
	char	   *text;			/* cleaned, terminated */
	const char *signature;		/* in the text */
	json_t	   *header;
	char	   *payload_json;
	json_t	   *payload;
} token_parts;

int
token_base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	if (c == '_')
		return 63;
	return -1;
}

unsigned char *
token_base64_decode(const char *text, size_t len, size_t *out_len)
{
	unsigned char *out;
	size_t		n = 0;
	uint32_t	bits = 0;
	int			nbits = 0;

	if (len % 4 == 1 || (out = malloc(len / 4 * 3 + 3)) == NULL)
		return NULL;

	for (size_t i = 0; i < len; i++)
	{
		int			digit = token_base64_digit(text[i]);

		if (digit < 0)
		{
			free(out);
			return NULL;
		}
		bits = bits << 6 | (uint32_t) digit;
		nbits += 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			out[n++] = (unsigned char) (bits >> nbits);
		}
	}

	out[n] = '\0';
	*out_len = n;
	return out;
}

/*
 * A copy without percent escapes and white space, as clients put tokens into
 * URLs and people paste them.  NULL when it holds anything but a token's
 * characters, or there is no memory.
 */
static char *
clean_token(const char *token, size_t len)
{
	char	   *clean = malloc(len + 1);
	char	   *out = clean;

	if (clean == NULL)
		return NULL;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) token[i];

		if (c == '%' && len - i > 2 &&
			isxdigit((unsigned char) token[i + 1]) &&
			isxdigit((unsigned char) token[i + 2]))
		{
			const char	hex[3] = {token[i + 1], token[i + 2], '\0'};

			c = (unsigned char) strtoul(hex, NULL, 16);
			i += 2;
		}

		if (c == ' ' || (c >= '\t' && c <= '\r'))
			continue;
		if (c != '.' && token_base64_digit((char) c) < 0)
		{
			free(clean);
			return NULL;
		}
		*out++ = (char) c;
	}
	*out = '\0';
	return clean;
}

/* One part as a JSON object.  The text, too, when it is wanted. */
static token_status
decode_object(const char *part, size_t len, json_t **object, char **text)
{
	json_error_t error;
	size_t		json_len;
	char	   *json = (char *) token_base64_decode(part, len, &json_len);

	if (json == NULL)
		return TOKEN_MALFORMED;

	/* Where a NUL follows a number, jansson overlooks it. */
	if (memchr(json, '\0', json_len) != NULL)
	{
		free(json);
		return TOKEN_MALFORMED;
	}

	*object = json_loadb(json, json_len, JSON_REJECT_DUPLICATES, &error);
	if (text != NULL)
		*text = json;
	else
		free(json);

	if (*object == NULL && json_error_code(&error) == json_error_out_of_memory)
		return TOKEN_NO_MEMORY;
	return json_is_object(*object) ? TOKEN_OK : TOKEN_MALFORMED;
}

static token_status
split_token(const char *token, size_t len, token_parts *parts)
{
	token_status status;
	const char *payload;
	const char *signature;

	if (len > TOKEN_MAX_BYTES)
		return TOKEN_MALFORMED;
	parts->text = clean_token(token, len);
	if (parts->text == NULL)
		return TOKEN_MALFORMED;

	payload = strchr(parts->text, '.');
	signature = payload ? strchr(payload + 1, '.') : NULL;
	if (signature == NULL || strchr(signature + 1, '.') != NULL)
		return TOKEN_MALFORMED;
	parts->signature = signature + 1;

	status = decode_object(parts->text, (size_t) (payload - parts->text),
						   &parts->header, NULL);
	if (status != TOKEN_OK)
		return status;
	return decode_object(payload + 1, (size_t) (signature - payload - 1),
						 &parts->payload, &parts->payload_json);
}

static token_status
check_signature(const token_keys *keys, const token_parts *parts)
{
	const token_algorithm *alg =
		token_find_algorithm(token_member(parts->header, "alg"));
	const token_key *key;
	unsigned char *signature;
	size_t		len;
	bool		good;

	/* An extension that must be understood (RFC 7515, 4.1.11) is not. */
	if (alg == NULL || json_object_get(parts->header, "crit") != NULL)
		return TOKEN_NO_KEY;
	key = token_select_key(keys, alg, token_member(parts->header, "kid"));
	if (key == NULL)
		return TOKEN_NO_KEY;

	signature = token_base64_decode(parts->signature,
									strlen(parts->signature), &len);
	if (signature == NULL)
		return TOKEN_MALFORMED;

	good = token_check_signature(key, alg, parts->text,
								 (size_t) (parts->signature - parts->text - 1),
								 signature, len);
	free(signature);
	ERR_clear_error();
	return good ? TOKEN_OK : TOKEN_BAD_SIGNATURE;
}

/* Seconds since 1970 in a range that arithmetic cannot leave. */
static bool
get_seconds(const json_t *payload, const char *name, int64_t *seconds)
{
	const json_t *value = json_object_get(payload, name);
	double		number;

	if (!json_is_number(value))
		return false;

	number = json_number_value(value);
	if (number <= 0)
		*seconds = 0;
	else if (number >= (double) MAX_SECONDS)
		*seconds = MAX_SECONDS;
	else
		*seconds = (int64_t) number;
	return true;
}

static void
fill_claims(const json_t *payload, token_claims *claims)
{
	const char *role = token_member(payload, "role");
	const char *sub = token_member(payload, "sub");

	memset(claims, 0, sizeof(*claims));
	claims->has_profile = sub != NULL &&
		token_parse_uuid(sub, claims->profile_id);
	if (role != NULL && strlen(role) < sizeof(claims->role))
		strcpy(claims->role, role);
	get_seconds(payload, "exp", &claims->exp);
	get_seconds(payload, "iat", &claims->iat);
}

/* Is it the wanted string, or a list that has it? */
static bool
audience_matches(const json_t *aud, const char *wanted)
{
	const json_t *item;
	size_t		i;

	if (json_is_string(aud))
		return strcmp(json_string_value(aud), wanted) == 0;

	json_array_foreach(aud, i, item)
	{
		if (json_is_string(item) &&
			strcmp(json_string_value(item), wanted) == 0)
			return true;
	}
	return false;
}

static token_status
check_claims(const token_keys *keys, const json_t *payload, int64_t now,
			 const token_claims *claims)
{
	const char *issuer = token_member(payload, "iss");
	int64_t		seconds;

	if (claims->role[0] == '\0' || !get_seconds(payload, "exp", &seconds))
		return TOKEN_MISSING_CLAIM;
	if (claims->exp <= now - TOKEN_LEEWAY)
		return TOKEN_EXPIRED;

	if (json_object_get(payload, "nbf") != NULL)
	{
		if (!get_seconds(payload, "nbf", &seconds))
			return TOKEN_MALFORMED;
		if (seconds > now + TOKEN_LEEWAY)
			return TOKEN_NOT_YET_VALID;
	}

	if (keys->audience != NULL &&
		!audience_matches(json_object_get(payload, "aud"), keys->audience))
		return TOKEN_BAD_AUDIENCE;
	if (keys->issuer != NULL &&
		(issuer == NULL || strcmp(issuer, keys->issuer) != 0))
		return TOKEN_BAD_ISSUER;
	return TOKEN_OK;
}

token_status
token_verify(const token_keys *keys, const char *token, size_t len,
			 int64_t now, token_claims *claims, char **json)
{
	token_parts parts = {0};
	token_status status;

	memset(claims, 0, sizeof(*claims));
	if (json != NULL)
		*json = NULL;

	status = split_token(token, len, &parts);
	if (status == TOKEN_OK)
		status = check_signature(keys, &parts);
	if (status == TOKEN_OK)
	{
		fill_claims(parts.payload, claims);
		status = check_claims(keys, parts.payload, now, claims);
	}
	if (status == TOKEN_OK && json != NULL)
	{
		*json = parts.payload_json;
		parts.payload_json = NULL;
	}

	json_decref(parts.payload);
	json_decref(parts.header);
	free(parts.payload_json);
	free(parts.text);
	return status;
}

bool
token_parse_claims(const char *json, size_t len, token_claims *claims)
{
	json_t	   *payload = json_loadb(json, len, 0, NULL);
	bool		is_object = json_is_object(payload);

	memset(claims, 0, sizeof(*claims));
	if (is_object)
		fill_claims(payload, claims);
	json_decref(payload);
	return is_object;
}

bool
token_parse_uuid(const char *text, uint8_t uuid[16])
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t		n = 0;

	if (strlen(text) != sizeof(form) - 1)
		return false;

	for (size_t i = 0; form[i] != '\0'; i++)
	{
		if (form[i] == '-' ? text[i] != '-' :
			!isxdigit((unsigned char) text[i]))
			return false;
	}

	for (size_t i = 0; form[i] != '\0'; i += 2)
	{
		char		hex[3] = {0};

		if (form[i] == '-')
			i++;
		memcpy(hex, text + i, 2);
		uuid[n++] = (uint8_t) strtoul(hex, NULL, 16);
	}
	return true;
}

const char *
token_status_text(token_status status)
{
	switch (status)
	{
		case TOKEN_OK:
			return "token is valid";
		case TOKEN_MALFORMED:
			return "token is not a valid JSON Web Token";
		case TOKEN_BAD_SIGNATURE:
			return "token has a wrong signature";
		case TOKEN_NO_KEY:
			return "no key verifies this kind of token";
		case TOKEN_EXPIRED:
			return "token has expired";
		case TOKEN_NOT_YET_VALID:
			return "token is not valid yet";
		case TOKEN_BAD_AUDIENCE:
			return "token is meant for another audience";
		case TOKEN_BAD_ISSUER:
			return "token comes from another issuer";
		case TOKEN_MISSING_CLAIM:
			return "token has no usable \"role\" or \"exp\"";
		case TOKEN_NO_MEMORY:
			return "out of memory";
		case TOKEN_REVOKED:
			return "token has been revoked";
	}
	return "token is not valid";
}
