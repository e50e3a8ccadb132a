/*-------------------------------------------------------------------------
 *
 * token_maker.h
 *	  Makes and signs tokens, and writes keys down, for the tests.
 *
 * Written on libcrypto alone and independently of the code under test.  All
 * strings returned are to be freed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TOKEN_MAKER_H
#define TOKEN_MAKER_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token.h"

/* When the tests take place, and a payload that is good then. */
#define NOW				INT64_C(1700000000)
#define GOOD_PAYLOAD	"{\"role\":\"authenticated\",\"exp\":1700000600," \
	"\"sub\":\"6f1b3c1e-8a55-4d0e-9c3a-0123456789aB\"}"

/* A key to sign with. */
typedef struct maker_key
{
	const char *secret;			/* HMAC, unless NULL */
	EVP_PKEY   *pkey;
	int			half_bytes;		/* EC: length of r and of s */
} maker_key;

static inline char *
make_base64(const void *data, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *in = data;
	char	   *out = malloc(len * 4 / 3 + 4);
	char	   *p = out;

	for (size_t bit = 0; bit < len * 8; bit += 6)
	{
		unsigned int pair = in[bit / 8] << 8 |
			(bit / 8 + 1 < len ? in[bit / 8 + 1] : 0);

		*p++ = digits[pair >> (10 - bit % 8) & 63];
	}
	*p = '\0';
	return out;
}

static inline size_t
make_signature(const maker_key *key, const EVP_MD *digest, const char *text,
			   unsigned char *signature, size_t size)
{
	const unsigned char *in = (const unsigned char *) text;
	EVP_MD_CTX *ctx;
	size_t		len = size;

	if (key->secret != NULL)
	{
		unsigned int mac_len;

		HMAC(digest, key->secret, (int) strlen(key->secret), in, strlen(text),
			 signature, &mac_len);
		return mac_len;
	}

	ctx = EVP_MD_CTX_new();
	EVP_DigestSignInit(ctx, NULL, digest, NULL, key->pkey);
	EVP_DigestSign(ctx, signature, &len, in, strlen(text));
	EVP_MD_CTX_free(ctx);

	if (key->half_bytes > 0)
	{
		const unsigned char *der = signature;
		ECDSA_SIG  *pair = d2i_ECDSA_SIG(NULL, &der, (long) len);

		BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, key->half_bytes);
		BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + key->half_bytes,
					 key->half_bytes);
		len = 2 * (size_t) key->half_bytes;
		ECDSA_SIG_free(pair);
	}
	return len;
}

/* A token of exactly these bytes; they need not be JSON. */
static inline char *
make_token_bytes(const maker_key *key, const EVP_MD *digest,
				 const char *header, const void *payload, size_t payload_len)
{
	unsigned char signature[1024];
	char	   *head = make_base64(header, strlen(header));
	char	   *body = make_base64(payload, payload_len);
	char	   *text = malloc(strlen(head) + strlen(body) + 2);
	char	   *tail;
	char	   *token;

	sprintf(text, "%s.%s", head, body);
	tail = make_base64(signature, make_signature(key, digest, text, signature,
												 sizeof(signature)));
	token = malloc(strlen(text) + strlen(tail) + 2);
	sprintf(token, "%s.%s", text, tail);

	free(head);
	free(body);
	free(text);
	free(tail);
	return token;
}

static inline char *
make_token(const maker_key *key, const EVP_MD *digest, const char *header,
		   const char *payload)
{
	return make_token_bytes(key, digest, header, payload, strlen(payload));
}

static inline char *
bio_text(BIO *bio)
{
	char	   *data;
	long		len = BIO_get_mem_data(bio, &data);
	char	   *text = strndup(data, (size_t) len);

	BIO_free(bio);
	return text;
}

static inline char *
make_public_pem(EVP_PKEY *pkey)
{
	BIO		   *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PUBKEY(bio, pkey);
	return bio_text(bio);
}

static inline char *
make_private_pem(EVP_PKEY *pkey)
{
	BIO		   *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
	return bio_text(bio);
}

/* A certificate that the key signed itself. */
static inline char *
make_certificate(EVP_PKEY *pkey, const EVP_MD *digest)
{
	BIO		   *bio = BIO_new(BIO_s_mem());
	X509	   *certificate = X509_new();

	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, pkey);
	X509_sign(certificate, pkey, digest);
	PEM_write_bio_X509(bio, certificate);
	X509_free(certificate);
	return bio_text(bio);
}

/* A number out of a key, padded to a length. */
static inline char *
key_number(EVP_PKEY *pkey, const char *name, int len)
{
	unsigned char data[1024];
	BIGNUM	   *number = NULL;

	EVP_PKEY_get_bn_param(pkey, name, &number);
	if (len == 0)
		len = BN_num_bytes(number);
	BN_bn2binpad(number, data, len);
	BN_free(number);
	return make_base64(data, (size_t) len);
}

/* One JSON Web Key; more are its further members, each with a comma. */
static inline char *
make_rsa_jwk(EVP_PKEY *pkey, const char *more)
{
	char	   *n = key_number(pkey, OSSL_PKEY_PARAM_RSA_N, 0);
	char	   *e = key_number(pkey, OSSL_PKEY_PARAM_RSA_E, 0);
	char	   *jwk;

	if (asprintf(&jwk, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
				 n, e, more) < 0)
		abort();
	free(n);
	free(e);
	return jwk;
}

static inline char *
make_ec_jwk(EVP_PKEY *pkey, const char *curve, int bytes, const char *more)
{
	char	   *x = key_number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, bytes);
	char	   *y = key_number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, bytes);
	char	   *jwk;

	if (asprintf(&jwk,
				 "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}",
				 curve, x, y, more) < 0)
		abort();
	free(x);
	free(y);
	return jwk;
}

static inline char *
make_ed25519_jwk(EVP_PKEY *pkey, const char *more)
{
	unsigned char raw[32];
	size_t		len = sizeof(raw);
	char	   *x;
	char	   *jwk;

	EVP_PKEY_get_raw_public_key(pkey, raw, &len);
	x = make_base64(raw, len);
	if (asprintf(&jwk,
				 "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}",
				 x, more) < 0)
		abort();
	free(x);
	return jwk;
}

static inline char *
make_oct_jwk(const char *secret, const char *more)
{
	char	   *k = make_base64(secret, strlen(secret));
	char	   *jwk;

	if (asprintf(&jwk, "{\"kty\":\"oct\",\"k\":\"%s\"%s}", k, more) < 0)
		abort();
	free(k);
	return jwk;
}

/* The verdict on a token, or -1 when the configuration is refused. */
static inline int
verdict(const token_config *config, const char *token)
{
	char		error[256];
	token_claims claims;
	token_keys *keys = token_keys_new(config, error, sizeof(error));
	int			status = -1;

	if (keys != NULL)
		status = token_verify(keys, token, strlen(token), NOW, &claims, NULL);
	token_keys_free(keys);
	return status;
}

#endif							/* TOKEN_MAKER_H */
