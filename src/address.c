/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Lists of addresses: who is meant by one?
 *
 * Names are not looked up, for nobody could wait for it here.
 *
 *-------------------------------------------------------------------------
 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATORS		", \t"
#define MAX_ENTRY		64

typedef struct network
{
	int			family;			/* AF_UNSPEC: everybody */
	int			prefix;			/* bits */
	uint8_t		bytes[sizeof(struct in6_addr)];
} network;

static bool parse_entry(const char *text, size_t len, network *net);
static bool parse_prefix(const char *text, int most, int *prefix);
static bool same_bits(const uint8_t *a, const uint8_t *b, int bits);

/* Take the next entry off a list; 0: there is none. */
static size_t
next_entry(const char **list)
{
	*list += strspn(*list, SEPARATORS);
	return strcspn(*list, SEPARATORS);
}

bool
address_list_valid(const char *list)
{
	size_t		len;
	network		net;

	for (; (len = next_entry(&list)) > 0; list += len)
		if (!parse_entry(list, len, &net))
			return false;
	return true;
}

bool
address_list_has(const char *list, const struct sockaddr *peer)
{
	size_t		len;
	network		net;
	const uint8_t *bytes = peer->sa_family == AF_INET ?
		(const uint8_t *) &((const struct sockaddr_in *) peer)->sin_addr :
		(const uint8_t *) &((const struct sockaddr_in6 *) peer)->sin6_addr;

	for (; (len = next_entry(&list)) > 0; list += len)
	{
		if (!parse_entry(list, len, &net))
			continue;
		if (net.family == AF_UNSPEC ||
			(net.family == peer->sa_family &&
			 same_bits(net.bytes, bytes, net.prefix)))
			return true;
	}
	return false;
}

static bool
parse_entry(const char *text, size_t len, network *net)
{
	char		entry[MAX_ENTRY];
	char	   *slash;
	int			most;

	if (len >= sizeof(entry))
		return false;
	memcpy(entry, text, len);
	entry[len] = '\0';

	net->family = AF_UNSPEC;
	if (strcmp(entry, "*") == 0)
		return true;
	slash = strchr(entry, '/');
	if (slash)
		*slash++ = '\0';
	net->family = strchr(entry, ':') ? AF_INET6 : AF_INET;
	most = net->family == AF_INET6 ? 128 : 32;
	net->prefix = most;
	return inet_pton(net->family, entry, net->bytes) == 1 &&
		(slash == NULL || parse_prefix(slash, most, &net->prefix));
}

static bool
parse_prefix(const char *text, int most, int *prefix)
{
	size_t		digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 3 || text[digits] != '\0')
		return false;
	*prefix = atoi(text);
	return *prefix <= most;
}

static bool
same_bits(const uint8_t *a, const uint8_t *b, int bits)
{
	int			whole = bits / 8;
	int			rest = bits % 8;

	return memcmp(a, b, whole) == 0 &&
		(rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}
