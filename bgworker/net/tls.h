/*-------------------------------------------------------------------------
 *
 * tls.h
 *	  TLS between a connection and its socket.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#ifdef POSTGRES_H
#error "the socket server knows nothing of PostgreSQL"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct server_conn server_conn;

/* A certificate with its key, and what TLS is spoken with it. */
typedef struct ssl_ctx_st tls_context;

/* Of a connection. */
typedef struct ssl_st tls;

/* From two files in PEM; NULL with a message in error. */
extern tls_context *tls_context_new(const char *cert_file,
									const char *key_file,
									char *error, size_t error_size);

/* Connections that were made with it go on. */
extern void tls_context_free(tls_context *context);

/* When the certificate expires, in seconds since 1970; 0: it is not known. */
extern int64_t tls_context_expiry(const tls_context *context);

/* NULL: no memory. */
extern tls *tls_new(tls_context *context, server_conn *conn);
extern void tls_free(tls *t);

/* What came from the socket; conn_input() gets what it means. */
extern void tls_input(server_conn *conn, uint8_t *data, size_t len);

/* As conn_write(). */
extern bool tls_write(server_conn *conn, const uint8_t *bytes, size_t len);

/* Say that nothing more comes; false: the socket does not take it yet. */
extern bool tls_end(server_conn *conn);

#endif							/* NET_TLS_H */
