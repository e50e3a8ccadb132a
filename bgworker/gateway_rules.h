/*-------------------------------------------------------------------------
 *
 * gateway_rules.h
 *	  Whom a gateway lets in, from the settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_RULES_H
#define OPENHR_MSG_GATEWAY_RULES_H

#include "admission.h"

/*
 * Read the settings and their files anew.  The rules stay at their place;
 * keys that they replace are good until msg_rules_settle().
 */
extern const admission_rules *msg_rules_read(void);
extern void msg_rules_settle(void);

#endif							/* OPENHR_MSG_GATEWAY_RULES_H */
