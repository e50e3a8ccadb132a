/*-------------------------------------------------------------------------
 *
 * keys.h
 *	  The keys that verify tokens, as the settings have them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_KEYS_H
#define OPENHR_MSG_KEYS_H

#include "token.h"

/* Made anew by each call; an error when a setting or a file is no good. */
extern token_keys *msg_load_keys(void);

#endif							/* OPENHR_MSG_KEYS_H */
