/*-------------------------------------------------------------------------
 *
 * message.h
 *	  The messages of the channel protocol, versions 1.0.0 (objects) and
 *	  2.0.0 (arrays, and binary frames from the client).
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_MESSAGE_H
#define REALTIME_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "queue.h"
#include "scan.h"

/* A ref's JSON text, escapes and quotes included, fits in this. */
#define MESSAGE_MAX_REF		127

#define MESSAGE_PREFIX		"realtime:"
#define MESSAGE_PREFIX_LEN	(sizeof(MESSAGE_PREFIX) - 1)

/* What a client sent.  Texts live as long as the message. */
typedef struct message
{
	char		join_ref[MESSAGE_MAX_REF + 1];	/* JSON: a string or null */
	char		ref[MESSAGE_MAX_REF + 1];
	const char *topic;			/* terminated, valid UTF-8, without NUL */
	size_t		topic_len;
	const char *event;
	const json_t *payload;		/* NULL for a binary message */

	/* Of a binary message, which is a broadcast; data is the caller's. */
	bool		binary;
	bool		raw;			/* data is not meant to be JSON */
	span		name;			/* the broadcast's event */
	const char *data;
	size_t		data_len;
	json_t	   *root;			/* owns all of it */
} message;

/* False: malformed, or no memory; nothing is to be freed then. */
extern bool message_parse(message *m, int vsn, const char *data, size_t len);
extern bool message_parse_binary(message *m, int vsn, const char *data,
								 size_t len);
extern void message_free(message *m);

/* The ref of a join, by which all messages of its channel are known. */
extern const char *message_join_ref(const message *m);

/*
 * A frame to a client.  join_ref and ref are JSON; version 1 has no
 * join_ref.  payload must be a JSON object.  NULL: no memory.
 */
extern frame *message_frame(int vsn, const char *join_ref, const char *ref,
							const char *topic, size_t topic_len,
							const char *event, const char *payload,
							size_t payload_len);

/* {"status":..,"response":..} in a phx_reply. */
extern frame *message_reply(int vsn, const char *join_ref, const char *ref,
							const char *topic, size_t topic_len,
							const char *status, const char *response);

/* The same with status error and {"reason":..}. */
extern frame *message_error(int vsn, const char *join_ref, const char *ref,
							const char *topic, size_t topic_len,
							const char *reason);

#endif							/* REALTIME_MESSAGE_H */
