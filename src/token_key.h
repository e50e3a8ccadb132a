/*-------------------------------------------------------------------------
 *
 * token_key.h
 *	  The keys that verify tokens: between the files of token.h.
 *
 * token_keys.c makes keys out of a configuration, token_jwks.c out of the key
 * set in it; token_signature.c applies a key; token.c decides which one, and
 * checks the claims.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_TOKEN_KEY_H
#define OPENHR_MSG_TOKEN_KEY_H

#include <jansson.h>
#include <openssl/evp.h>

#include "token.h"

typedef enum key_family
{
	KEY_HMAC,
	KEY_RSA,
	KEY_EC,
	KEY_ED25519
} key_family;

typedef struct token_curve
{
	const char *name;			/* in key sets */
	const char *group;			/* in libcrypto */
	size_t		bytes;			/* of a coordinate, and of half a signature */
} token_curve;

#define TOKEN_MAX_CURVE_BYTES	66

typedef struct token_algorithm
{
	const char *name;
	key_family	family;
	const EVP_MD *(*digest) (void); /* NULL: the algorithm has its own */
	const token_curve *curve;	/* KEY_EC */
} token_algorithm;

typedef struct token_key
{
	struct token_key *next;
	key_family	family;
	const token_curve *curve;	/* KEY_EC */
	const token_algorithm *only;	/* the one it is for, or NULL */
	char	   *kid;			/* NULL: none */
	unsigned char *secret;		/* KEY_HMAC */
	size_t		secret_len;
	EVP_PKEY   *pkey;			/* all others */
} token_key;

/* Where an error message goes. */
typedef struct token_complaint
{
	char	   *text;
	size_t		size;
} token_complaint;

struct token_keys
{
	token_key  *first;
	char	   *audience;		/* NULL: not checked */
	char	   *issuer;
};

/* NULL when the algorithm is not one of ours; "none" never is. */
extern const token_algorithm *token_find_algorithm(const char *name);

/* By either name; NULL when no algorithm uses it. */
extern const token_curve *token_find_curve(const char *name);

/*
 * Add a key.  Names may be NULL.  False with a complaint when it cannot be
 * used; the public key stays the caller's.
 */
extern bool token_add_secret(token_keys *keys, const void *secret, size_t len,
							 const token_algorithm *only, const char *kid,
							 token_complaint *error);
extern bool token_add_public_key(token_keys *keys, EVP_PKEY *pkey,
								 const token_algorithm *only, const char *kid,
								 token_complaint *error);

/* Add the usable keys of a key set. */
extern bool token_add_key_set(token_keys *keys, const char *text,
							  token_complaint *error);

/* Always false, so that "return token_complain(...)" reads well. */
extern bool token_complain(token_complaint *error, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/*
 * The key that a token names, or else the only one that can be meant: a key
 * without a name, or any key when the token names none.
 */
extern const token_key *token_select_key(const token_keys *keys,
										 const token_algorithm *alg,
										 const char *kid);

/* Does the signature fit the text?  The algorithm must fit the key. */
extern bool token_check_signature(const token_key *key,
								  const token_algorithm *alg,
								  const char *text, size_t text_len,
								  const unsigned char *signature,
								  size_t signature_len);

/* base64url: the value of a digit, or -1. */
extern int	token_base64_digit(char c);

/*
 * base64url without padding (RFC 7515, 2), into memory with a terminator
 * after it.  NULL when it is not that, or there is no memory.
 */
extern unsigned char *token_base64_decode(const char *text, size_t len,
										  size_t *out_len);

/* A member of a JSON object that is a string, or NULL. */
static inline const char *
token_member(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

#endif							/* OPENHR_MSG_TOKEN_KEY_H */
