/*-------------------------------------------------------------------------
 *
 * token_jwks.c
 *	  JSON Web Key Sets (RFC 7517, 8037).
 *
 * A key for encryption or of a kind unknown here is passed over: a set is
 * shared by many readers, and it may get such a key at any time.  A key that
 * claims to be of a known kind and is broken makes the whole set unusable,
 * because the tokens signed with it would fail for no visible reason.
 *
 *-------------------------------------------------------------------------
 */
#ifdef POSTGRES_H
#error "token_jwks.c is pure C: it is tested and fuzzed without a server"
#endif

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

#include "token_key.h"

/* A member in base64url, to be freed. */
static unsigned char *
binary_member(const json_t *object, const char *name, size_t *len)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_string(value))
		return NULL;
	return token_base64_decode(json_string_value(value),
							   json_string_length(value), len);
}

static EVP_PKEY *
make_pkey(const char *type, OSSL_PARAM *params)
{
	EVP_PKEY   *pkey = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

	if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
		EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

static EVP_PKEY *
rsa_key(const json_t *jwk)
{
	EVP_PKEY   *pkey = NULL;
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	size_t		nlen = 0,
				elen = 0;
	unsigned char *n = binary_member(jwk, "n", &nlen);
	unsigned char *e = binary_member(jwk, "e", &elen);
	BIGNUM	   *modulus = n ? BN_bin2bn(n, (int) nlen, NULL) : NULL;
	BIGNUM	   *exponent = e ? BN_bin2bn(e, (int) elen, NULL) : NULL;

	if (builder != NULL && modulus != NULL && exponent != NULL &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		params = OSSL_PARAM_BLD_to_param(builder);
	if (params != NULL)
		pkey = make_pkey("RSA", params);

	OSSL_PARAM_free(params);
	BN_free(exponent);
	BN_free(modulus);
	free(e);
	free(n);
	OSSL_PARAM_BLD_free(builder);
	return pkey;
}

/* libcrypto sees whether the point is on the curve. */
static EVP_PKEY *
ec_key(const json_t *jwk, const token_curve *curve)
{
	EVP_PKEY   *pkey = NULL;
	unsigned char point[1 + 2 * TOKEN_MAX_CURVE_BYTES];
	size_t		xlen = 0,
				ylen = 0;
	unsigned char *x = binary_member(jwk, "x", &xlen);
	unsigned char *y = binary_member(jwk, "y", &ylen);

	if (x != NULL && y != NULL && xlen == curve->bytes && ylen == xlen)
	{
		OSSL_PARAM	params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
											 (char *) curve->group, 0),
			OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
											  point, 1 + 2 * xlen),
			OSSL_PARAM_construct_end()
		};

		point[0] = POINT_CONVERSION_UNCOMPRESSED;
		memcpy(point + 1, x, xlen);
		memcpy(point + 1 + xlen, y, ylen);
		pkey = make_pkey("EC", params);
	}

	free(y);
	free(x);
	return pkey;
}

static EVP_PKEY *
ed25519_key(const json_t *jwk)
{
	size_t		len = 0;
	unsigned char *x = binary_member(jwk, "x", &len);
	EVP_PKEY   *pkey = NULL;

	if (x != NULL)
		pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, len);
	free(x);
	return pkey;
}

static bool
is_usable(const json_t *jwk)
{
	const char *use = token_member(jwk, "use");
	const json_t *operations = json_object_get(jwk, "key_ops");
	const json_t *operation;
	size_t		i;

	if (use != NULL && strcmp(use, "sig") != 0)
		return false;
	if (json_object_get(jwk, "alg") != NULL &&
		token_find_algorithm(token_member(jwk, "alg")) == NULL)
		return false;
	if (operations == NULL)
		return true;

	json_array_foreach(operations, i, operation)
	{
		if (json_is_string(operation) &&
			strcmp(json_string_value(operation), "verify") == 0)
			return true;
	}
	return false;
}

static bool
add_oct(token_keys *keys, const json_t *jwk, token_complaint *error)
{
	size_t		len;
	unsigned char *secret = binary_member(jwk, "k", &len);
	bool		done;

	if (secret == NULL)
		return token_complain(error, "a key of type oct in the key set is not valid");

	done = token_add_secret(keys, secret, len, token_find_algorithm(token_member(jwk, "alg")),
					  token_member(jwk, "kid"), error);
	free(secret);
	return done;
}

static bool
add_jwk(token_keys *keys, const json_t *jwk, token_complaint *error)
{
	const char *type = token_member(jwk, "kty");
	const char *curve_name = token_member(jwk, "crv");
	const token_curve *curve = token_find_curve(curve_name);
	EVP_PKEY   *pkey;
	bool		done;

	if (type == NULL || !is_usable(jwk))
		return true;

	if (strcmp(type, "oct") == 0)
		return add_oct(keys, jwk, error);
	else if (strcmp(type, "RSA") == 0)
		pkey = rsa_key(jwk);
	else if (strcmp(type, "EC") == 0 && curve != NULL)
		pkey = ec_key(jwk, curve);
	else if (strcmp(type, "OKP") == 0 && curve_name != NULL &&
			 strcmp(curve_name, "Ed25519") == 0)
		pkey = ed25519_key(jwk);
	else
		return true;

	if (pkey == NULL)
		return token_complain(error, "a key of type %s in the key set is not valid",
							  type);

	done = token_add_public_key(keys, pkey,
								token_find_algorithm(token_member(jwk, "alg")),
								token_member(jwk, "kid"), error);
	EVP_PKEY_free(pkey);
	return done;
}

bool
token_add_key_set(token_keys *keys, const char *text, token_complaint *error)
{
	json_t	   *set = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(set, "keys");
	const json_t *jwk;
	size_t		i;
	bool		done = true;

	if (!json_is_array(list))
		done = token_complain(error, "the key set is not a JSON object with \"keys\"");

	json_array_foreach(list, i, jwk)
	{
		done = done && add_jwk(keys, jwk, error);
	}

	json_decref(set);
	return done;
}
