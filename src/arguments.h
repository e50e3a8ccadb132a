/*-------------------------------------------------------------------------
 *
 * arguments.h
 *	  Checks of what callers give us, and the refusals that have no SQLSTATE
 *	  of their own.
 *
 * No refusal quotes a value: messages of errors go to the log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_ARGUMENTS_H
#define OPENHR_MSG_ARGUMENTS_H

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* PostgREST and our gateway answer PTnnn with the HTTP status nnn. */
#define ERRCODE_MSG_NOT_FOUND		MAKE_SQLSTATE('P', 'T', '4', '0', '4')
#define ERRCODE_MSG_CONFLICT		MAKE_SQLSTATE('P', 'T', '4', '0', '9')
#define ERRCODE_MSG_GONE			MAKE_SQLSTATE('P', 'T', '4', '1', '0')
#define ERRCODE_MSG_CHANGED			MAKE_SQLSTATE('P', 'T', '4', '1', '2')
#define ERRCODE_MSG_TOO_MANY		MAKE_SQLSTATE('P', 'T', '4', '2', '9')

#define MSG_PAGE_DEFAULT	50
#define MSG_PAGE_MAX		100
#define MSG_TITLE_BYTES		256
#define MSG_REASON_BYTES	2000	/* of a report */
#define MSG_KEY_BYTES		64	/* client_message_id */
#define MSG_OBJECT_DEPTH	16
#define MSG_PARTICIPANTS	1000	/* in one call */

/* An argument that must not be NULL. */
extern void msg_require_argument(FunctionCallInfo fcinfo, int argument,
								 const char *name);
extern pg_uuid_t *msg_uuid_argument(FunctionCallInfo fcinfo, int argument,
									const char *name);

/* How many rows a page may have: 1 to MSG_PAGE_MAX. */
extern int	msg_page_argument(FunctionCallInfo fcinfo, int argument);

/* A place in a conversation, or a version of it: 0 or more. */
extern int64 msg_position_argument(FunctionCallInfo fcinfo, int argument,
								   const char *name);

/*
 * An attachment may come without words, and so may a message whose type is
 * not known yet (NULL).
 */
extern void msg_check_content(const text *content, const text *content_type);
extern void msg_check_content_type(const text *content_type, bool is_service);
extern void msg_check_object(Jsonb *object, const char *what);
extern void msg_check_key(const text *client_message_id);
extern void msg_check_title(const text *title);
extern void msg_check_reason(const text *reason);
extern void msg_check_severity(const text *severity);
extern void msg_check_conversation_type(const text *type);
extern void msg_check_role(const text *role);

/* Is the text this word? */
extern bool msg_text_equals(const text *value, const char *word);

#endif							/* OPENHR_MSG_ARGUMENTS_H */
