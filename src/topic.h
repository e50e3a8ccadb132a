/*-------------------------------------------------------------------------
 *
 * topic.h
 *	  Names of topics, and whose they are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_TOPIC_H
#define OPENHR_MSG_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Does the topic (without "realtime:") belong to a conversation?  Then it is
 * "<word>:<uuid>": letters, digits, "_", "-" and ".", a colon, and the
 * conversation's id in RFC 9562's form, in either case.
 */
extern bool topic_conversation(const char *topic, size_t len,
							   uint8_t conversation_id[16]);

#endif							/* OPENHR_MSG_TOPIC_H */
