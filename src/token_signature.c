/*-------------------------------------------------------------------------
 *
 * token_signature.c
 *	  Algorithms (RFC 7518, 8037) and the check of a signature.
 *
 *-------------------------------------------------------------------------
 */
#ifdef POSTGRES_H
#error "token_signature.c is pure C: it is tested and fuzzed without a server"
#endif

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <string.h>

#include "token_key.h"

static const token_curve curves[] = {
	{"P-256", "prime256v1", 32},
	{"P-384", "secp384r1", 48},
	{"P-521", "secp521r1", TOKEN_MAX_CURVE_BYTES},
};

static const token_algorithm algorithms[] = {
	{"HS256", KEY_HMAC, EVP_sha256, NULL},
	{"HS384", KEY_HMAC, EVP_sha384, NULL},
	{"HS512", KEY_HMAC, EVP_sha512, NULL},
	{"RS256", KEY_RSA, EVP_sha256, NULL},
	{"RS384", KEY_RSA, EVP_sha384, NULL},
	{"RS512", KEY_RSA, EVP_sha512, NULL},
	{"ES256", KEY_EC, EVP_sha256, &curves[0]},
	{"ES384", KEY_EC, EVP_sha384, &curves[1]},
	{"ES512", KEY_EC, EVP_sha512, &curves[2]},
	{"EdDSA", KEY_ED25519, NULL, NULL},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const token_algorithm *
token_find_algorithm(const char *name)
{
	for (size_t i = 0; name != NULL && i < COUNT(algorithms); i++)
	{
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	}
	return NULL;
}

const token_curve *
token_find_curve(const char *name)
{
	for (size_t i = 0; name != NULL && i < COUNT(curves); i++)
	{
		if (strcmp(curves[i].name, name) == 0 ||
			strcmp(curves[i].group, name) == 0)
			return &curves[i];
	}
	return NULL;
}

static bool
check_hmac(const token_key *key, const token_algorithm *alg,
		   const char *text, size_t text_len,
		   const unsigned char *signature, size_t signature_len)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int mac_len;

	return HMAC(alg->digest(), key->secret, (int) key->secret_len,
				(const unsigned char *) text, text_len,
				mac, &mac_len) != NULL &&
		mac_len == signature_len &&
		CRYPTO_memcmp(mac, signature, signature_len) == 0;
}

static bool
check_public(EVP_PKEY *pkey, const token_algorithm *alg,
			 const char *text, size_t text_len,
			 const unsigned char *signature, size_t signature_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *digest = alg->digest ? alg->digest() : NULL;
	bool		good;

	good = ctx != NULL &&
		EVP_DigestVerifyInit(ctx, NULL, digest, NULL, pkey) == 1 &&
		EVP_DigestVerify(ctx, signature, signature_len,
						 (const unsigned char *) text, text_len) == 1;
	EVP_MD_CTX_free(ctx);
	return good;
}

/* A token has r and s side by side; libcrypto wants them as DER. */
static bool
check_ecdsa(EVP_PKEY *pkey, const token_algorithm *alg,
			const char *text, size_t text_len,
			const unsigned char *signature, size_t signature_len)
{
	int			half = (int) alg->curve->bytes;
	ECDSA_SIG  *pair;
	BIGNUM	   *r;
	BIGNUM	   *s;
	unsigned char *der = NULL;
	int			der_len = 0;
	bool		good = false;

	if (signature_len != 2 * alg->curve->bytes)
		return false;

	pair = ECDSA_SIG_new();
	r = BN_bin2bn(signature, half, NULL);
	s = BN_bin2bn(signature + half, half, NULL);
	if (pair != NULL && r != NULL && s != NULL &&
		ECDSA_SIG_set0(pair, r, s) == 1)
		r = s = NULL;			/* the pair's from here on */
	if (pair != NULL && r == NULL && s == NULL)
		der_len = i2d_ECDSA_SIG(pair, &der);
	if (der_len > 0)
		good = check_public(pkey, alg, text, text_len, der, (size_t) der_len);

	OPENSSL_free(der);
	BN_free(s);
	BN_free(r);
	ECDSA_SIG_free(pair);
	return good;
}

bool
token_check_signature(const token_key *key, const token_algorithm *alg,
					  const char *text, size_t text_len,
					  const unsigned char *signature, size_t signature_len)
{
	switch (alg->family)
	{
		case KEY_HMAC:
			return check_hmac(key, alg, text, text_len,
							  signature, signature_len);
		case KEY_EC:
			return check_ecdsa(key->pkey, alg, text, text_len,
							   signature, signature_len);
		case KEY_RSA:
		case KEY_ED25519:
			return check_public(key->pkey, alg, text, text_len,
								signature, signature_len);
	}
	return false;
}
