/*-------------------------------------------------------------------------
 *
 * revocation.c
 *	  Tokens that are not accepted any more, though they have not expired.
 *
 * Of each profile whose tokens are in use here, by connections or by channels,
 * there is a user, and the user knows when the profile's tokens were revoked:
 * from the table, when it was read for the user, and from the events since.
 * A token is judged by its own time; src/revocations.c says how.
 *
 * A revocation comes at its place among all commits.  What was committed
 * before it and waits to be written is taken back, as it is at the end of a
 * membership.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "rooms.h"

/*
 * So long a connection may stay when its own token was revoked, for its client
 * to read why; for ever, if it has channels with other tokens.
 */
#define REVOKED_LIMIT	3		/* seconds */

/* ----------
 * Who bears tokens
 * ----------
 */

/* False: no memory. */
bool
channel_bear(channel *ch)
{
	if (!ch->identity.has_profile)
		return true;
	ch->bearer_of = user_get(ch->conn->hub, ch->identity.profile_id);
	if (ch->bearer_of == NULL)
		return false;
	list_push(&ch->bearer_of->bearers, &ch->in_bearers);
	return true;
}

void
channel_unbear(channel *ch)
{
	user	   *u = ch->bearer_of;

	ch->bearer_of = NULL;
	list_remove(&ch->in_bearers);
	if (u != NULL)
		user_free_if_idle(u);
}

/* False: no memory. */
bool
conn_bear(hub_conn *conn)
{
	if (!conn->identity.has_profile)
		return true;
	conn->bearer_of = user_get(conn->hub, conn->identity.profile_id);
	if (conn->bearer_of == NULL)
		return false;
	list_push(&conn->bearer_of->conns, &conn->in_bearers);
	return true;
}

void
conn_unbear(hub_conn *conn)
{
	user	   *u = conn->bearer_of;

	conn->bearer_of = NULL;
	list_remove(&conn->in_bearers);
	if (u != NULL)
		user_free_if_idle(u);
}

/* ----------
 * Judging
 * ----------
 */

static bool
is_revoked(const user *u, int64_t iat)
{
	return u->revoked_at != 0 && iat <= u->revoked_at;
}

/* As far as it is known here. */
bool
identity_revoked(hub *h, const identity *identity)
{
	const user *u = identity->has_profile ?
		map_get(&h->users, identity->profile_id) : NULL;

	return u != NULL && is_revoked(u, identity->iat);
}

bool
hub_token_revoked(hub *h, const token_claims *claims)
{
	identity	identity;

	identity_set(h, &identity, claims, "", 0);
	return identity_revoked(h, &identity);
}

static void
conn_revoke(hub_conn *conn)
{
	if (conn->cut)
		return;
	conn->revoked = true;
	timer_start(&conn->hub->wheel, &conn->idle,
				conn->hub->now + REVOKED_LIMIT);
}

/* The user may be gone afterwards, unless it is pinned. */
void
user_revoke(user *u, int64_t revoked_at)
{
	if (revoked_at <= u->revoked_at)
		return;
	u->revoked_at = revoked_at;
	user_pin(u);
	list_foreach_safe(node, &u->bearers)
	{
		channel    *ch = list_entry(channel, in_bearers, node);

		if (is_revoked(u, ch->identity.iat))
			channel_revoke(ch);
	}
	list_foreach(node, &u->conns)
	{
		hub_conn   *conn = list_entry(hub_conn, in_bearers, node);

		if (is_revoked(u, conn->identity.iat))
			conn_revoke(conn);
	}
	user_unpin(u);
}

void
revocation_apply(hub *h, const event_header *e)
{
	user	   *u = map_get(&h->users, e->profile_id);

	if (e->table == EVENT_REVOCATIONS && u != NULL)
		user_revoke(u, e->seq);
}
