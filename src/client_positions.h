/*-------------------------------------------------------------------------
 *
 * client_positions.h
 *	  How far clients have come, kept for their return.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_CLIENT_POSITIONS_H
#define OPENHR_MSG_CLIENT_POSITIONS_H

#include "utils/uuid.h"

#include "event.h"

/* Whose position: of a client of a profile, in a topic. */
typedef struct MsgPositionKey
{
	pg_uuid_t	profile_id;
	const char *client_id;
	const char *topic;
	uint32		client_id_len;
	uint32		topic_len;
} MsgPositionKey;

typedef struct MsgPositionUpdate
{
	MsgPositionKey key;
	int64		session;
	const event_position *position;
} MsgPositionUpdate;

/*
 * A client comes back: begins another session, in which what those before are
 * still going to save is ignored.  NULL when it is not known.  SPI is
 * connected, here and below.
 */
extern PGDLLEXPORT event_position *msg_resume_position(const MsgPositionKey *key,
													   int64 *session);

/* It is known from now on; false: another has just made it known. */
extern PGDLLEXPORT bool msg_first_position(const MsgPositionKey *key,
										   const event_position *position,
										   int64 *session);

/* How far clients have come in their sessions; the order is changed. */
extern PGDLLEXPORT void msg_save_positions(MsgPositionUpdate *updates, int n);

#endif							/* OPENHR_MSG_CLIENT_POSITIONS_H */
