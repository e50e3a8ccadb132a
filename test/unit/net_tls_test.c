/*-------------------------------------------------------------------------
 *
 * net_tls_test.c
 *	  The socket server by TLS: handshakes of all kinds, much output, slow
 *	  and silent clients, and certificates that are replaced.
 *
 *-------------------------------------------------------------------------
 */
#include "net_world.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define BIG		16000			/* bytes of a message */

/* A client.  What OpenSSL wants to send waits in a BIO, to be cut in pieces. */
typedef struct secure
{
	int			fd;
	SSL		   *ssl;
	BIO		   *out;
	size_t		piece;			/* 0: all at once */
} secure;

static SSL_CTX *client;

/*
 * Certificates
 */

static char directory[] = "/tmp/net_tls_test.XXXXXX";
static char cert_path[64];
static char key_path[64];

static void
write_file(const char *path, const char *text)
{
	FILE	   *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

/* A certificate of this number, which its own key has signed. */
static void
make_certificate(long serial, bool with_key)
{
	EVP_PKEY   *key = EVP_EC_gen("P-256");
	X509	   *cert = X509_new();
	X509_NAME  *name = X509_get_subject_name(cert);
	FILE	   *f = fopen(cert_path, "w");

	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
							   (const unsigned char *) "localhost", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_sign(cert, key, EVP_sha256());
	PEM_write_X509(f, cert);
	fclose(f);
	if (with_key)
	{
		f = fopen(key_path, "w");
		PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
		fclose(f);
	}
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void
make_files(void)
{
	if (mkdtemp(directory) == NULL)
		bail_out("could not make a directory: %s", strerror(errno));
	snprintf(cert_path, sizeof(cert_path), "%s/cert", directory);
	snprintf(key_path, sizeof(key_path), "%s/key", directory);
	make_certificate(1, true);
	cert_file = cert_path;
	key_file = key_path;
}

/*
 * The client
 */

static void send_out(secure *s);

/* Before it waits for an answer, all that it has to say must be said. */
static long
before_reading(BIO *bio, int what, const char *arg, size_t len, int argi,
			   long argl, int result, size_t *processed)
{
	if (what == BIO_CB_READ)
		send_out((secure *) BIO_get_callback_arg(bio));
	return result;
}

static secure *
prepare(size_t piece)
{
	secure	   *s = calloc(1, sizeof(secure));
	BIO		   *in;

	s->fd = dial();
	s->ssl = SSL_new(client);
	s->piece = piece;
	s->out = BIO_new(BIO_s_mem());
	in = BIO_new_socket(s->fd, BIO_NOCLOSE);
	BIO_set_callback_ex(in, before_reading);
	BIO_set_callback_arg(in, (char *) s);
	SSL_set_bio(s->ssl, in, s->out);
	SSL_set_connect_state(s->ssl);
	return s;
}

static void
let_go(secure *s)
{
	SSL_free(s->ssl);
	close(s->fd);
	free(s);
}

/* Send what OpenSSL wants to be sent. */
static void
send_out(secure *s)
{
	char	   *bytes;
	size_t		len = (size_t) BIO_get_mem_data(s->out, &bytes);
	size_t		piece = s->piece > 0 ? s->piece : len;

	for (size_t at = 0; at < len; at += piece)
		say(s->fd, bytes + at, len - at < piece ? len - at : piece);
	(void) BIO_reset(s->out);
}

static bool
shake_hands(secure *s)
{
	int			result;

	ERR_clear_error();
	result = SSL_do_handshake(s->ssl);
	send_out(s);
	return result == 1;
}

/* Begin a handshake, with a part of its first message, and leave it at that. */
static void
first_flight(secure *s, long part)
{
	BIO		   *nothing = BIO_new(BIO_s_mem());
	char	   *hello;
	long		len;

	BIO_set_mem_eof_return(nothing, -1);
	SSL_set0_rbio(s->ssl, nothing);
	SSL_do_handshake(s->ssl);
	len = BIO_get_mem_data(s->out, &hello);
	say(s->fd, hello, (size_t) (len / part));
}

static void
tell_secretly(secure *s, const void *bytes, size_t len)
{
	ERR_clear_error();
	if (SSL_write(s->ssl, bytes, (int) len) != (int) len)
		bail_out("could not write");
	send_out(s);
}

/* As hear(): fewer bytes when the server has said that it closes; -1: the end
 * comes without that. */
static ssize_t
hear_secretly(secure *s, void *buf, size_t size)
{
	size_t		len = 0;

	while (len < size)
	{
		int			n;

		ERR_clear_error();
		n = SSL_read(s->ssl, (char *) buf + len, (int) (size - len));
		if (n > 0)
			len += (size_t) n;
		else if (SSL_get_error(s->ssl, n) == SSL_ERROR_ZERO_RETURN)
			break;
		else
			return -1;
	}
	return (ssize_t) len;
}

static secure *
join_secretly(size_t piece)
{
	secure	   *s = prepare(piece);
	char		head[1024];
	size_t		len = 0;

	if (!shake_hands(s))
		bail_out("no handshake: %s",
				 ERR_reason_error_string(ERR_peek_error()));
	tell_secretly(s, UPGRADE, strlen(UPGRADE));
	while (len < sizeof(head) - 1 &&
		   (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) &&
		   hear_secretly(s, head + len, 1) == 1)
		len++;
	head[len] = '\0';
	if (strncmp(head, "HTTP/1.1 101 ", 13) != 0)
		bail_out("no WebSocket: %s", head);
	return s;
}

static void
send_text(secure *s, const char *data, size_t len)
{
	uint8_t    *frame = malloc(len + 14);

	tell_secretly(s, frame, build(frame, 0x81, data, len));
	free(frame);
}

static bool
echoes_secretly(secure *s, const char *data, size_t len)
{
	size_t		head = len < 126 ? 2 : 10;
	char	   *got = malloc(len + head);
	bool		good;

	send_text(s, data, len);
	good = hear_secretly(s, got, len + head) == (ssize_t) (len + head) &&
		memcmp(got + head, data, len) == 0;
	free(got);
	return good;
}

static long
ask_secretly(const char *question)
{
	secure	   *s = join_secretly(0);
	char		answer[64] = "";

	send_text(s, question, strlen(question));
	if (hear_secretly(s, answer, 2) != 2 ||
		hear_secretly(s, answer + 2, (size_t) answer[1]) != answer[1])
		bail_out("no answer");
	let_go(s);
	return atol(answer + 2);
}

static long
serial_seen(void)
{
	secure	   *s = join_secretly(0);
	X509	   *cert = SSL_get1_peer_certificate(s->ssl);
	long		serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));

	X509_free(cert);
	let_go(s);
	return serial;
}

/*
 * Tests
 */

static void
test_handshakes(void)
{
	static const unsigned char offers[] = "\x02h2\x08http/1.1";
	const unsigned char *chosen;
	unsigned	chosen_len;
	char		big[BIG];
	secure	   *s = join_secretly(0);

	memset(big, 'b', sizeof(big));
	check_str(SSL_get_version(s->ssl), "TLSv1.3", "the newest version");
	check(echoes_secretly(s, "hello", 5), "... and an echo");
	check(echoes_secretly(s, big, sizeof(big)), "... and a large one");
	let_go(s);

	for (size_t piece = 1; piece <= 7; piece += 6)
	{
		s = join_secretly(piece);
		check(echoes_secretly(s, "hello", 5),
			  "all in pieces of %zu bytes", piece);
		check(echoes_secretly(s, big, 5000), "... a large message, too");
		let_go(s);
	}

	SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
	s = join_secretly(0);
	check_str(SSL_get_version(s->ssl), "TLSv1.2", "the version before");
	check(echoes_secretly(s, big, sizeof(big)), "... and a large echo");
	check(SSL_renegotiate(s->ssl) == 1 && !shake_hands(s),
		  "... but no renegotiation");
	let_go(s);
	SSL_CTX_set_min_proto_version(client, TLS1_1_VERSION);
	SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
	SSL_CTX_set_security_level(client, 0);
	s = prepare(0);
	check(!shake_hands(s), "older ones are refused");
	let_go(s);
	SSL_CTX_set_security_level(client, 1);
	SSL_CTX_set_min_proto_version(client, 0);
	SSL_CTX_set_max_proto_version(client, 0);

	s = prepare(0);
	SSL_set_alpn_protos(s->ssl, offers, sizeof(offers) - 1);
	check(shake_hands(s), "a client that knows HTTP/2");
	SSL_get0_alpn_selected(s->ssl, &chosen, &chosen_len);
	check(chosen_len == 8 && memcmp(chosen, "http/1.1", 8) == 0,
		  "... speaks HTTP/1.1");
	let_go(s);
}

static void
test_resumption(void)
{
	secure	   *s = join_secretly(0);
	SSL_SESSION *session;

	check(echoes_secretly(s, "x", 1), "(a ticket has come)");
	session = SSL_get1_session(s->ssl);
	SSL_shutdown(s->ssl);
	let_go(s);
	s = prepare(0);
	SSL_set_session(s->ssl, session);
	check(shake_hands(s) && SSL_session_reused(s->ssl),
		  "a ticket makes it quicker");
	let_go(s);
	SSL_SESSION_free(session);
}

/* What is no TLS, or stops to be. */
static void
test_garbage(void)
{
	static const char plain[] = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
	long		before = ask_secretly("handshakes");
	char		got[1024] = "";
	char		noise[600];
	int			fd = dial();
	secure	   *s;

	say(fd, plain, strlen(plain));
	check(hear(fd, got, sizeof(got) - 1) > 0 &&
		  strncmp(got, "HTTP/1.1 400 ", 13) == 0 &&
		  strstr(got, "use https or wss") != NULL,
		  "plain HTTP is told that this is not the way");
	close(fd);

	srandom(1);
	for (int i = 0; i < 50; i++)
	{
		/* Every second one looks like a handshake at first. */
		for (size_t b = 0; b < sizeof(noise); b++)
			noise[b] = (char) random();
		if (i % 2)
			memcpy(noise, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
		fd = dial();
		say(fd, noise, sizeof(noise));
		shutdown(fd, SHUT_WR);
		hear(fd, got, sizeof(got));
		close(fd);
	}
	check(ask_secretly("handshakes") == before + 1,
		  "noise is not taken for a handshake");

	s = join_secretly(0);
	say(s->fd, noise, sizeof(noise));
	check(hear_secretly(s, got, sizeof(got)) == -1,
		  "noise in a WebSocket ends it");
	let_go(s);

	s = prepare(0);
	first_flight(s, 1);
	let_go(s);
	check(ask_secretly("connections") == 1, "nothing is left of all this");
}

static void
test_closing(void)
{
	uint8_t		bytes[4096];
	secure	   *s = join_secretly(0);

	send_text(s, "close", 5);
	check(hear_secretly(s, bytes, 2) == 2 && bytes[0] == 0x88 &&
		  hear_secretly(s, bytes + 2, bytes[1]) == bytes[1] &&
		  (bytes[2] << 8 | bytes[3]) == 1012, "the server closes");
	tell_secretly(s, bytes, build(bytes, 0x88, "\x03\xf4", 2));
	check(hear_secretly(s, bytes, 1) == 0, "... and says so in TLS, too");
	let_go(s);

	s = join_secretly(0);
	tell_secretly(s, bytes, build(bytes, 0x88, "\x03\xe8", 2));
	check(hear_secretly(s, bytes, 4) == 4 &&
		  memcmp(bytes, "\x88\x02\x03\xe8", 4) == 0 &&
		  hear_secretly(s, bytes, 1) == 0, "a close of the client's");
	let_go(s);

	s = join_secretly(0);
	SSL_shutdown(s->ssl);
	send_out(s);
	hear_secretly(s, bytes, 1);
	let_go(s);
	check(ask_secretly("connections") == 1, "a client that ends TLS is gone");
}

static void
test_http(void)
{
	size_t		size = 300000;
	char	   *body = malloc(size);
	char	   *got = malloc(size + 1024);
	char		head[128];
	ssize_t		len;
	secure	   *s = prepare(0);

	memset(body, 'h', size);
	snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: here\r\n"
			 "Connection: close\r\nContent-Length: %zu\r\n\r\n", size);
	check(shake_hands(s), "a request");
	tell_secretly(s, head, strlen(head));
	tell_secretly(s, body, size);
	len = hear_secretly(s, got, size + 1024);
	check(len > (ssize_t) size &&
		  memcmp(got + len - size, body, size) == 0,
		  "... and its answer, whole");
	let_go(s);

	/* One after the other. */
	s = prepare(0);
	shake_hands(s);
	for (int i = 1; i <= 2; i++)
	{
		tell_secretly(s, "POST /echo HTTP/1.1\r\nHost: here\r\n"
					  "Content-Length: 3\r\n\r\nabc", 57);
		for (len = 0; len < 1000; len++)
			if (hear_secretly(s, got + len, 1) != 1 ||
				(len > 6 && memcmp(got + len - 6, "\r\n\r\nabc", 7) == 0))
				break;
		check(len > 6 && len < 1000, "request %d over one connection", i);
	}
	let_go(s);

	/* One who has nothing more to say. */
	s = prepare(0);
	shake_hands(s);
	SSL_write(s->ssl, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 35);
	SSL_shutdown(s->ssl);
	send_out(s);
	len = hear_secretly(s, got, size);
	check(len > 0 && strncmp(got, "HTTP/1.1 404 ", 13) == 0,
		  "... also for one who closes behind it");
	let_go(s);
	free(got);
	free(body);
}

/* Much more than the socket takes, to one who reads late. */
static void
test_slow(void)
{
	size_t		size = 100 * (size_t) (BIG + 10);
	char	   *got = malloc(size);
	secure	   *s = join_secretly(0);

	send_text(s, "burst 100 16000", 15);
	usleep(500000);
	check(ask_secretly("connections") == 2,
		  "one who does not read holds up nobody");
	check(hear_secretly(s, got, size) == (ssize_t) size &&
		  memchr(got + 10, 'x', 1) != NULL && got[size - 1] == 'x',
		  "... and gets everything in the end");
	check(echoes_secretly(s, "still there", 11), "... and is heard again");
	let_go(s);
	free(got);
}

/* Those who say nothing, or half of it, and who never read. */
static void
test_deadlines(void)
{
	char		byte;
	int			silent = dial();
	secure	   *half = prepare(0);
	secure	   *later = prepare(0);
	secure	   *deaf = join_secretly(0);

	first_flight(half, 2);
	check(shake_hands(later), "(a handshake without a request)");
	send_text(deaf, "burst 200 16000", 15);
	check(hear(silent, &byte, 1) <= 0, "who is silent is cut");
	check(hear(half->fd, &byte, 1) <= 0, "... and who stops in a handshake");
	check(hear_secretly(later, &byte, 1) <= 0, "... or behind it");
	check(ask_secretly("connections") <= 2, "(they are gone)");
	for (int i = 0; i < 50 && ask_secretly("connections") > 1; i++)
		usleep(100000);
	check(ask_secretly("connections") == 1, "... and so is who never reads");
	close(silent);
	let_go(half);
	let_go(later);
	let_go(deaf);
}

static void
reload_server(void)
{
	kill(child, SIGHUP);
	ask_secretly("turns");
}

static void
test_reload(void)
{
	secure	   *s = join_secretly(0);

	check_int(serial_seen(), 1, "the certificate");
	make_certificate(2, true);
	reload_server();
	check_int(serial_seen(), 2, "another certificate");
	check(echoes_secretly(s, "hello", 5), "... and who was there stays");

	make_certificate(3, false);
	reload_server();
	check_int(serial_seen(), 2, "one with another key is not taken");
	write_file(cert_path, "nonsense");
	reload_server();
	check_int(serial_seen(), 2, "nor what is none");
	make_certificate(4, true);
	write_file(key_path, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
			   "AAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
	reload_server();
	check_int(serial_seen(), 2, "nor a key that cannot be read");
	unlink(key_path);
	reload_server();
	check_int(serial_seen(), 2, "nor one that is not there");
	make_certificate(5, true);
	reload_server();
	check_int(serial_seen(), 5, "but the next good one is");
	check(echoes_secretly(s, "hello", 5), "who was there is still there");
	let_go(s);
}

int
main(void)
{
	make_files();
	client = SSL_CTX_new(TLS_client_method());
	start();
	test_handshakes();
	test_resumption();
	test_garbage();
	test_closing();
	test_http();
	test_slow();
	test_deadlines();
	test_reload();
	stop();
	SSL_CTX_free(client);
	unlink(cert_path);
	unlink(key_path);
	rmdir(directory);
	return check_done();
}
