/*-------------------------------------------------------------------------
 *
 * token_keys.c
 *	  Keys that verify JSON Web Tokens, out of a configuration.
 *
 * Each key knows its family, and a token's algorithm picks among the keys of
 * its own family only: no token can choose to have a public key taken for a
 * secret.  A text that looks like PEM is never taken for one either.
 *
 * Errors that libcrypto queues on the way are cleared: the caller may be a
 * backend whose TLS looks at the same queue.
 *
 *-------------------------------------------------------------------------
 */
#ifdef POSTGRES_H
#error "token_keys.c is pure C: it is tested and fuzzed without a server"
#endif

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token_key.h"

#define MIN_SECRET_BYTES	32	/* RFC 7518, 3.2 */
#define MIN_RSA_BITS		2048	/* RFC 7518, 3.3 */

#define PEM_MARK	"-----BEGIN "

bool
token_complain(token_complaint *error, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(error->text, error->size, format, args);
	va_end(args);
	return false;
}

static bool
is_set(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* An empty key in front of the list, or NULL when there is no memory. */
static token_key *
new_key(token_keys *keys, key_family family, const token_algorithm *only,
		const char *kid)
{
	token_key  *key = calloc(1, sizeof(token_key));

	if (key == NULL)
		return NULL;

	key->family = family;
	key->only = only;
	if (kid != NULL && (key->kid = strdup(kid)) == NULL)
	{
		free(key);
		return NULL;
	}
	key->next = keys->first;
	keys->first = key;
	return key;
}

bool
token_add_secret(token_keys *keys, const void *secret, size_t len,
				 const token_algorithm *only, const char *kid,
				 token_complaint *error)
{
	token_key  *key;

	if (len < MIN_SECRET_BYTES)
		return token_complain(error, "an HMAC secret has fewer than %d bytes",
							  MIN_SECRET_BYTES);

	key = new_key(keys, KEY_HMAC, only, kid);
	if (key == NULL || (key->secret = malloc(len)) == NULL)
		return token_complain(error, "out of memory");
	memcpy(key->secret, secret, len);
	key->secret_len = len;
	return true;
}

static const token_curve *
curve_of(EVP_PKEY *pkey)
{
	char		group[64];

	if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1)
		return NULL;
	return token_find_curve(group);
}

bool
token_add_public_key(token_keys *keys, EVP_PKEY *pkey,
					 const token_algorithm *only, const char *kid,
					 token_complaint *error)
{
	key_family	family;
	const token_curve *curve = NULL;
	token_key  *key;

	switch (EVP_PKEY_get_base_id(pkey))
	{
		case EVP_PKEY_RSA:
			family = KEY_RSA;
			if (EVP_PKEY_get_bits(pkey) < MIN_RSA_BITS)
				return token_complain(error,
									  "an RSA key has fewer than %d bits",
									  MIN_RSA_BITS);
			break;
		case EVP_PKEY_EC:
			family = KEY_EC;
			curve = curve_of(pkey);
			if (curve == NULL)
				return token_complain(error, "an EC key is on a curve that no algorithm uses");
			break;
		case EVP_PKEY_ED25519:
			family = KEY_ED25519;
			break;
		default:
			return token_complain(error, "a public key is of a type that no algorithm uses");
	}

	key = new_key(keys, family, only, kid);
	if (key == NULL || EVP_PKEY_up_ref(pkey) != 1)
		return token_complain(error, "out of memory");
	key->curve = curve;
	key->pkey = pkey;
	return true;
}

/* Nobody is there to be asked for the password of an encrypted PEM. */
static int
no_password(char *buffer, int size, int rwflag, void *arg)
{
	(void) buffer;
	(void) size;
	(void) rwflag;
	(void) arg;
	return -1;
}

/* A public key, or the key of a certificate. */
static EVP_PKEY *
read_pem(const char *text)
{
	EVP_PKEY   *pkey;
	X509	   *certificate = NULL;
	BIO		   *bio = BIO_new_mem_buf(text, -1);

	if (bio == NULL)
		return NULL;

	pkey = PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
	if (pkey == NULL && BIO_reset(bio) == 1)
	{
		certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
		if (certificate != NULL)
			pkey = X509_get_pubkey(certificate);
	}

	X509_free(certificate);
	BIO_free(bio);
	return pkey;
}

/* The content of jwt_secret_file. */
static bool
add_secret_text(token_keys *keys, const char *text, token_complaint *error)
{
	size_t		len = strlen(text);
	EVP_PKEY   *pkey;
	bool		done;

	if (strstr(text, PEM_MARK) == NULL)
	{
		while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
			len--;
		return token_add_secret(keys, text, len, NULL, NULL, error);
	}

	pkey = read_pem(text);
	if (pkey == NULL)
		return token_complain(error, "the secret file holds neither a public key nor a certificate (PEM)");
	done = token_add_public_key(keys, pkey, NULL, NULL, error);
	EVP_PKEY_free(pkey);
	return done;
}

/* Two secrets for one token would leave open which of them is meant. */
static bool
add_secrets(token_keys *keys, const token_config *config, token_complaint *error)
{
	if (is_set(config->secret))
	{
		if (strstr(config->secret, PEM_MARK) != NULL)
			return token_complain(error, "the secret is a PEM text, which belongs into the secret file");
		if (!token_add_secret(keys, config->secret, strlen(config->secret),
						NULL, NULL, error))
			return false;
	}

	if (!is_set(config->secret_text))
		return true;
	if (!add_secret_text(keys, config->secret_text, error))
		return false;
	if (is_set(config->secret) && keys->first->family == KEY_HMAC)
		return token_complain(error, "both the secret and the secret file hold an HMAC secret");
	return true;
}

static bool
add_rules(token_keys *keys, const token_config *config, token_complaint *error)
{
	if (is_set(config->audience) &&
		(keys->audience = strdup(config->audience)) == NULL)
		return token_complain(error, "out of memory");
	if (is_set(config->issuer) &&
		(keys->issuer = strdup(config->issuer)) == NULL)
		return token_complain(error, "out of memory");
	return true;
}

token_keys *
token_keys_new(const token_config *config, char *error, size_t error_size)
{
	token_keys *keys = calloc(1, sizeof(token_keys));
	token_complaint why = {error, error_size};
	bool		done;

	if (keys == NULL)
	{
		token_complain(&why, "out of memory");
		return NULL;
	}

	done = add_secrets(keys, config, &why) &&
		(!is_set(config->jwks_text) ||
		 token_add_key_set(keys, config->jwks_text, &why)) &&
		add_rules(keys, config, &why);
	ERR_clear_error();

	if (!done)
	{
		token_keys_free(keys);
		return NULL;
	}
	return keys;
}

void
token_keys_free(token_keys *keys)
{
	token_key  *key;

	if (keys == NULL)
		return;

	while ((key = keys->first) != NULL)
	{
		keys->first = key->next;
		OPENSSL_cleanse(key->secret, key->secret_len);
		free(key->secret);
		EVP_PKEY_free(key->pkey);
		free(key->kid);
		free(key);
	}
	free(keys->audience);
	free(keys->issuer);
	free(keys);
}

static bool
fits(const token_key *key, const token_algorithm *alg)
{
	return key->family == alg->family &&
		key->curve == alg->curve &&
		(key->only == NULL || key->only == alg);
}

const token_key *
token_select_key(const token_keys *keys, const token_algorithm *alg, const char *kid)
{
	const token_key *found = NULL;
	int			nfound = 0;

	for (const token_key *key = keys->first; key != NULL; key = key->next)
	{
		if (!fits(key, alg))
			continue;
		if (kid != NULL && key->kid != NULL)
		{
			if (strcmp(kid, key->kid) == 0)
				return key;
			continue;
		}
		found = key;
		nfound++;
	}
	return nfound == 1 ? found : NULL;
}
