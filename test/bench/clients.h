/*-------------------------------------------------------------------------
 *
 * clients.h
 *	  What the clients' files know of each other's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_CLIENTS_H
#define BENCH_CLIENTS_H

#include "bench.h"

#define TEXT			0x81
#define PACKED_TEXT		0xc1
#define CLOSE			0x88
#define PING			0x89
#define PONG			0x8a

typedef enum client_state
{
	CLIENT_NEW,
	CLIENT_CONNECTING,
	CLIENT_SHAKING,				/* the answer to its request is to come */
	CLIENT_JOINING,
	CLIENT_JOINED,
	CLIENT_CLOSED
} client_state;

typedef struct client
{
	int			fd;
	client_state state;
	bool		subscribed;		/* counted in received.joined */
	uint64_t	seq;			/* of this connection's last message */
	uint64_t	known;			/* the highest of all connections */
	uint64_t	known_before;	/* and that of those before the cut */
	uint8_t    *rest;			/* of an incomplete frame */
	size_t		rest_len;
	bool		trying;			/* to come back, see storm.c */
	int			tries;			/* so far, in vain */
	int64_t		due;			/* the next one, or the join's repetition */
} client;

extern const settings *set;
extern client *all;

static inline int
client_number(const client *c)
{
	return (int) (c - all);
}

/* clients.c; flags may be SOCK_NONBLOCK: storm_connected() is called then. */
extern bool client_connect(client *c, int flags);
extern void client_shake(client *c);
extern void client_join(client *c);
extern void client_send(client *c, int opcode, const void *data, size_t len);
extern void client_drop(client *c);
extern void clients_turn(int64_t until);

/* talk.c */
extern void talk_read_presence(const char *text, size_t len);

/* storm.c */
extern void storm_connected(client *c);

/* unpack.c: what a compressed frame says; it stays until the next call. */
extern const char *unpack(const uint8_t *data, size_t len, size_t *text_len);

#endif							/* BENCH_CLIENTS_H */
