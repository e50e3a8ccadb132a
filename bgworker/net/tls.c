/*-------------------------------------------------------------------------
 *
 * tls.c
 *	  TLS between a connection and its socket.
 *
 * libwebsockets goes on carrying bytes, which are those of TLS now, and
 * OpenSSL turns them into ours and back.  (Its own TLS for adopted sockets
 * would write past us, and hide how much waits.)  OpenSSL gets at the bytes by
 * a BIO of ours that holds none: it reads from what has just come, and writes
 * to the socket as conn_put() does, which takes everything.  So OpenSSL never
 * has to wait for anything but input, and the rules of conn.c for slow readers
 * hold as they are.
 *
 * What has come is used up before tls_input() returns; of a record that is
 * not complete, OpenSSL keeps the beginning.  An idle connection has no
 * buffer: OpenSSL gives its own back, and the one for what it has read is the
 * server's.
 *
 * TLS 1.2 and 1.3, without renegotiation.  There is no cache of sessions, but
 * a client gets a ticket, by which it is quicker the next time, as long as it
 * meets the same process with the same certificate.
 *
 * A handshake is part of the request that follows it: it must be through, and
 * the request's head there, before DEADLINE_HEAD.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CIPHERS		"ECDHE+AESGCM:ECDHE+CHACHA20"	/* of TLS 1.2 */

static const char not_tls[] = "TLS handshake failed";

static int	choose_protocol(SSL *ssl, const unsigned char **out,
							unsigned char *outlen, const unsigned char *in,
							unsigned int inlen, void *arg);
static int	no_passphrase(char *buf, int size, int rwflag, void *arg);
static BIO_METHOD *bio_method(void);
static int	bio_read(BIO *bio, char *out, int len);
static int	bio_write(BIO *bio, const char *data, int len);
static long bio_ctrl(BIO *bio, int command, long larg, void *parg);
static void take_failure(server_conn *conn, int result);

/* ----------
 * Certificates
 * ----------
 */

/* Why OpenSSL has failed, without what it was about. */
static const char *
reason(void)
{
	unsigned long code = ERR_peek_error();
	const char *text = ERR_SYSTEM_ERROR(code) ?
		strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

	return text ? text : "no reason is known";
}

static bool
load_files(SSL_CTX *context, const char *cert_file, const char *key_file,
		   char *error, size_t error_size)
{
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
		snprintf(error, error_size,
				 "could not load certificate file \"%s\": %s", cert_file,
				 reason());
	else if (SSL_CTX_use_PrivateKey_file(context, key_file,
										 SSL_FILETYPE_PEM) != 1)
		snprintf(error, error_size,
				 "could not load private key file \"%s\": %s", key_file,
				 reason());
	else if (SSL_CTX_check_private_key(context) != 1)
		snprintf(error, error_size,
				 "the private key in \"%s\" is not that of the certificate",
				 key_file);
	else
		return true;
	return false;
}

tls_context *
tls_context_new(const char *cert_file, const char *key_file,
				char *error, size_t error_size)
{
	SSL_CTX    *context;

	ERR_clear_error();
	context = SSL_CTX_new(TLS_server_method());
	if (context == NULL ||
		SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
		SSL_CTX_set_cipher_list(context, CIPHERS) != 1)
	{
		snprintf(error, error_size, "could not set up TLS: %s", reason());
		SSL_CTX_free(context);
		return NULL;
	}
	if (!load_files(context, cert_file, key_file, error, error_size))
	{
		SSL_CTX_free(context);
		ERR_clear_error();
		return NULL;
	}

	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION |
						SSL_OP_NO_COMPRESSION |
						SSL_OP_CIPHER_SERVER_PREFERENCE |
						SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 1);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	return context;
}

void
tls_context_free(tls_context *context)
{
	SSL_CTX_free(context);
}

int64_t
tls_context_expiry(const tls_context *context)
{
	const X509 *cert = SSL_CTX_get0_certificate(context);
	struct tm	when;

	if (cert == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &when) != 1)
		return 0;
	return timegm(&when);
}

/* A client that asks for others only may still find that it gets along. */
static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *outlen,
				const unsigned char *in, unsigned int inlen, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *chosen;

	(void) ssl;
	(void) arg;
	if (SSL_select_next_proto(&chosen, outlen, ours, sizeof(ours) - 1,
							  in, inlen) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* Nobody is there to be asked for one. */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	(void) buf;
	(void) size;
	(void) rwflag;
	(void) arg;
	return 0;
}

/* ----------
 * Connections
 * ----------
 */

static BIO_METHOD *
bio_method(void)
{
	static BIO_METHOD *method = NULL;

	if (method == NULL)
	{
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
							  "openhr_msg");
		if (method == NULL)
			return NULL;
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_ctrl(method, bio_ctrl);
	}
	return method;
}

tls *
tls_new(tls_context *context, server_conn *conn)
{
	SSL		   *ssl = SSL_new(context);
	BIO		   *bio = bio_method() ? BIO_new(bio_method()) : NULL;

	if (ssl == NULL || bio == NULL)
	{
		SSL_free(ssl);
		BIO_free(bio);
		return NULL;
	}
	BIO_set_data(bio, conn);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_accept_state(ssl);
	return ssl;
}

void
tls_free(tls *t)
{
	SSL_free(t);
}

static int
bio_read(BIO *bio, char *out, int len)
{
	server_conn *conn = BIO_get_data(bio);
	server	   *srv = conn->srv;
	size_t		n = (size_t) len;

	BIO_clear_retry_flags(bio);
	if (srv->reading != conn || srv->cipher_len == 0)
	{
		BIO_set_retry_read(bio);
		return -1;
	}
	if (n > srv->cipher_len)
		n = srv->cipher_len;
	memcpy(out, srv->cipher, n);
	srv->cipher += n;
	srv->cipher_len -= n;
	return (int) n;
}

static int
bio_write(BIO *bio, const char *data, int len)
{
	server_conn *conn = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (conn->dead)
		return -1;
	conn_put(conn, (const uint8_t *) data, (size_t) len);
	return conn->dead ? -1 : len;
}

static long
bio_ctrl(BIO *bio, int command, long larg, void *parg)
{
	(void) bio;
	(void) larg;
	(void) parg;
	return command == BIO_CTRL_FLUSH;
}

void
tls_input(server_conn *conn, uint8_t *data, size_t len)
{
	server	   *srv = conn->srv;
	bool		greeted = SSL_is_init_finished(conn->tls);

	if (conn->tls_failed)
		return;
	srv->reading = conn;
	srv->cipher = data;
	srv->cipher_len = len;
	while (!conn->dead)
	{
		int			n;

		ERR_clear_error();
		n = SSL_read(conn->tls, srv->in, sizeof(srv->in));
		if (!greeted && SSL_is_init_finished(conn->tls))
		{
			greeted = true;
			srv->handshakes++;
		}
		if (n <= 0)
		{
			take_failure(conn, n);
			break;
		}
		conn_input(conn, srv->in, (size_t) n);
	}
	srv->reading = NULL;
}

/* Nothing more can be read, for now or for good. */
static void
take_failure(server_conn *conn, int result)
{
	server	   *srv = conn->srv;
	bool		greeted = SSL_is_init_finished(conn->tls);

	switch (SSL_get_error(conn->tls, result))
	{
		case SSL_ERROR_WANT_READ:
			return;
		case SSL_ERROR_ZERO_RETURN:

			/* It does not want to say more, but may wait for an answer. */
			if (conn->last == NULL && !conn->ended)
				conn_kill(conn);
			return;
	}

	if (!greeted &&
		ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
	{
		/* It did not want to speak TLS; so it is told in plain words. */
		tls_free(conn->tls);
		conn->tls = NULL;
		conn_fail(conn, 400, "this port speaks TLS, use https or wss");
	}
	else
	{
		if (!greeted)
			srv->ops.refused(srv->arg, SERVER_NO_TLS, not_tls);
		conn->tls_failed = true;
		conn_give_up(conn);
	}
	ERR_clear_error();
}

bool
tls_write(server_conn *conn, const uint8_t *bytes, size_t len)
{
	ERR_clear_error();
	if (conn->tls_failed || SSL_write(conn->tls, bytes, (int) len) <= 0)
	{
		conn_kill(conn);
		return false;
	}
	return !conn->choked && !conn->dead;
}

bool
tls_end(server_conn *conn)
{
	ERR_clear_error();
	if (!conn->tls_failed && SSL_is_init_finished(conn->tls) &&
		(SSL_get_shutdown(conn->tls) & SSL_SENT_SHUTDOWN) == 0)
		SSL_shutdown(conn->tls);
	return !conn->choked;
}
