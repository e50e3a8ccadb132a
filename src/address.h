/*-------------------------------------------------------------------------
 *
 * address.h
 *	  Lists of addresses: who is meant by one?
 *
 * A list has numbers, perhaps with the length of a prefix, separated by commas
 * or blanks: "127.0.0.0/8, ::1".  "*" is everybody.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_ADDRESS_H
#define OPENHR_MSG_ADDRESS_H

#include <stdbool.h>

struct sockaddr;

extern bool address_list_valid(const char *list);
extern bool address_list_has(const char *list, const struct sockaddr *peer);

#endif							/* OPENHR_MSG_ADDRESS_H */
