/*-------------------------------------------------------------------------
 *
 * message.c
 *	  Reading what clients send, and writing what they get.
 *
 * jansson reads the text frames: it refuses invalid UTF-8 and NUL, bounds
 * its own nesting, and seeds its hashes.  Refs are opaque to us, so they are
 * kept as JSON and written back as they came.
 *
 *-------------------------------------------------------------------------
 */
#include "message.h"

#include <string.h>

#include "buf.h"

/* Kind of a binary frame that carries a broadcast of the client's. */
#define BINARY_BROADCAST_PUSH	3

/* Its header: kind, lengths of four strings and of the metadata, encoding. */
#define BINARY_HEADER_SIZE		7
#define BINARY_NAME_LEN			4
#define BINARY_METADATA_LEN		5
#define BINARY_ENCODING			6
#define ENCODING_RAW			0

static bool
ref_set(char *ref, const json_t *value)
{
	size_t		len;

	if (value == NULL || json_is_null(value))
	{
		strcpy(ref, "null");
		return true;
	}
	if (!json_is_string(value) && !json_is_integer(value))
		return false;
	len = json_dumpb(value, ref, MESSAGE_MAX_REF, JSON_ENCODE_ANY);
	if (len == 0 || len > MESSAGE_MAX_REF)
		return false;
	ref[len] = '\0';
	return true;
}

static bool
message_fill(message *m, const json_t *join_ref, const json_t *ref,
			 const json_t *topic, const json_t *event)
{
	if (!ref_set(m->join_ref, join_ref) || !ref_set(m->ref, ref) ||
		!json_is_string(topic) || !json_is_string(event))
		return false;
	m->topic = json_string_value(topic);
	m->topic_len = json_string_length(topic);
	m->event = json_string_value(event);
	return true;
}

/* [join_ref, ref, topic, event, payload]; more elements are tolerated. */
static bool
message_from_array(message *m)
{
	if (!json_is_array(m->root) || json_array_size(m->root) < 5)
		return false;
	m->payload = json_array_get(m->root, 4);
	return message_fill(m, json_array_get(m->root, 0),
						json_array_get(m->root, 1),
						json_array_get(m->root, 2),
						json_array_get(m->root, 3));
}

static bool
message_from_object(message *m)
{
	if (!json_is_object(m->root))
		return false;
	m->payload = json_object_get(m->root, "payload");
	return m->payload != NULL &&
		message_fill(m, json_object_get(m->root, "join_ref"),
					 json_object_get(m->root, "ref"),
					 json_object_get(m->root, "topic"),
					 json_object_get(m->root, "event"));
}

bool
message_parse(message *m, int vsn, const char *data, size_t len)
{
	m->binary = false;
	m->root = json_loadb(data, len, 0, NULL);
	if (m->root == NULL)
		return false;
	if (vsn == 2 ? message_from_array(m) : message_from_object(m))
		return true;
	message_free(m);
	return false;
}

/* A string of a binary frame as JSON; an empty one, and NULL, is null. */
static json_t *
binary_string(const char **p, size_t len)
{
	json_t	   *value = len > 0 ? json_stringn(*p, len) : json_null();

	*p += len;
	if (value != NULL && len > 0 && memchr(json_string_value(value), 0, len))
	{
		json_decref(value);
		return NULL;
	}
	return value;
}

/* join_ref, ref, topic and the broadcast's event of a binary frame. */
static bool
binary_strings(message *m, const uint8_t *header, const char *p)
{
	m->root = json_array();
	for (int i = 1; i <= BINARY_NAME_LEN; i++)
	{
		/* json_array_append_new() refuses a NULL, whatever its reason. */
		if (json_array_append_new(m->root, binary_string(&p, header[i])) != 0)
			return false;
	}
	return json_array_append_new(m->root, json_string("broadcast")) == 0 &&
		message_fill(m, json_array_get(m->root, 0),
					 json_array_get(m->root, 1), json_array_get(m->root, 2),
					 json_array_get(m->root, 4));
}

/*
 * The one binary frame that clients send: a broadcast.  Its metadata is not
 * read.
 */
bool
message_parse_binary(message *m, int vsn, const char *data, size_t len)
{
	const uint8_t *header = (const uint8_t *) data;
	size_t		need = BINARY_HEADER_SIZE;

	if (vsn != 2 || len < need || header[0] != BINARY_BROADCAST_PUSH)
		return false;
	for (int i = 1; i <= BINARY_METADATA_LEN; i++)
		need += header[i];
	if (len < need)
		return false;
	if (!binary_strings(m, header, data + BINARY_HEADER_SIZE))
	{
		message_free(m);
		return false;
	}
	m->payload = NULL;
	m->binary = true;
	m->raw = header[BINARY_ENCODING] == ENCODING_RAW;
	m->data = data + need;
	m->data_len = len - need;
	m->name = (span) {
		m->data - header[BINARY_METADATA_LEN] - header[BINARY_NAME_LEN],
		header[BINARY_NAME_LEN]
	};
	return true;
}

void
message_free(message *m)
{
	json_decref(m->root);
	m->root = NULL;
}

const char *
message_join_ref(const message *m)
{
	return strcmp(m->join_ref, "null") != 0 ? m->join_ref : m->ref;
}

frame *
message_frame(int vsn, const char *join_ref, const char *ref,
			  const char *topic, size_t topic_len, const char *event,
			  const char *payload, size_t payload_len)
{
	buf			b;
	frame	   *f = NULL;

	buf_init(&b);
	if (vsn == 2)
		buf_printf(&b, "[%s,%s,", join_ref, ref);
	else
		buf_text(&b, "{\"topic\":");
	buf_json(&b, topic, topic_len);
	buf_printf(&b, vsn == 2 ? ",\"%s\"," : ",\"event\":\"%s\",\"payload\":",
			   event);
	buf_bytes(&b, payload, payload_len);
	if (vsn == 2)
		buf_text(&b, "]");
	else
		buf_printf(&b, ",\"ref\":%s}", ref);
	if (buf_ok(&b))
		f = frame_text(b.data, b.len);
	buf_free(&b);
	return f;
}

frame *
message_reply(int vsn, const char *join_ref, const char *ref,
			  const char *topic, size_t topic_len,
			  const char *status, const char *response)
{
	buf			b;
	frame	   *f = NULL;

	buf_init(&b);
	buf_printf(&b, "{\"status\":\"%s\",\"response\":", status);
	buf_text(&b, response);
	buf_text(&b, "}");
	if (buf_ok(&b))
		f = message_frame(vsn, join_ref, ref, topic, topic_len, "phx_reply",
						  b.data, b.len);
	buf_free(&b);
	return f;
}

frame *
message_error(int vsn, const char *join_ref, const char *ref,
			  const char *topic, size_t topic_len, const char *reason)
{
	buf			b;
	frame	   *f = NULL;

	buf_init(&b);
	buf_text(&b, "{\"reason\":");
	buf_json(&b, reason, strlen(reason));
	buf_text(&b, "}");
	if (buf_ok(&b))
		f = message_reply(vsn, join_ref, ref, topic, topic_len, "error",
						  buf_string(&b));
	buf_free(&b);
	return f;
}
