/*-------------------------------------------------------------------------
 *
 * extensions.c
 *	  Negotiation of permessage-deflate (RFC 6455, 9.1; RFC 7692, 5 and 7.1).
 *
 * A client lists offers in the order in which it likes them, and the first
 * that we can fulfil is taken.  We answer that neither side refers back to
 * earlier messages, whether it was asked for or not (both may be demanded by
 * a server): so one compressed frame serves all who negotiated, and no
 * connection has a state of its own.
 *
 * How far back the client may refer within a message is up to it, since we
 * can always take the most.  How far back we may is up to it, too: who has a
 * smaller window gets a message compressed only when all of it fits there.
 *
 * An offer with anything that the RFC does not know is passed over, as it must
 * be; a header that is no list of offers fails the handshake.
 *
 *-------------------------------------------------------------------------
 */
#include "extensions.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME	"permessage-deflate"

/* Longer values are none that we know. */
#define MAX_VALUE	2

typedef struct word
{
	const char *text;
	size_t		len;
} word;

typedef struct parameter
{
	word		name;
	bool		has_value;
	size_t		len;			/* of the value, which is kept if it fits */
	char		value[MAX_VALUE];
} parameter;

typedef struct offer
{
	bool		good;
	unsigned	seen;			/* bits of the parameters */
	deflate_terms terms;
} offer;

typedef enum value_rule
{
	VALUE_NEVER,
	VALUE_MAYBE,
	VALUE_ALWAYS
} value_rule;

static bool take_offers(const char *at, deflate_terms *terms);
static bool take_offer(const char **at, offer *o);
static bool take_parameter(const char **at, parameter *p);
static bool take_value(const char **at, parameter *p);
static void weigh(offer *o, const parameter *p);
static int	window_bits(const parameter *p);
static bool take_token(const char **at, word *token);
static bool is(const word *w, const char *text);
static void skip_space(const char **at);

bool
extensions_negotiate(const http_request *request, deflate_terms *terms)
{
	memset(terms, 0, sizeof(*terms));
	for (int i = 0; i < request->nheaders; i++)
	{
		const http_header *h = &request->headers[i];

		if (strcasecmp(h->name, "sec-websocket-extensions") == 0 &&
			!take_offers(h->value, terms))
			return false;
	}
	return true;
}

/* A list may have empty members (RFC 9110, 5.6.1.2). */
static bool
take_offers(const char *at, deflate_terms *terms)
{
	for (at += strspn(at, ", \t"); *at != '\0'; at += strspn(at, ", \t"))
	{
		offer		o = {.terms.window = DEFLATE_MAX_WINDOW};

		if (!take_offer(&at, &o) || (*at != ',' && *at != '\0'))
			return false;
		if (o.good && terms->window == 0)
			*terms = o.terms;
	}
	return true;
}

/* NAME *( ";" parameter ) */
static bool
take_offer(const char **at, offer *o)
{
	word		name;

	if (!take_token(at, &name))
		return false;
	o->good = is(&name, NAME);
	for (skip_space(at); **at == ';'; skip_space(at))
	{
		parameter	p;

		(*at)++;
		if (!take_parameter(at, &p))
			return false;
		weigh(o, &p);
	}
	return true;
}

/* NAME [ "=" ( token | quoted-string ) ] */
static bool
take_parameter(const char **at, parameter *p)
{
	skip_space(at);
	if (!take_token(at, &p->name))
		return false;
	skip_space(at);
	p->has_value = **at == '=';
	if (!p->has_value)
		return true;
	(*at)++;
	skip_space(at);
	return take_value(at, p);
}

/* What is in quotes must be a token, too, once they and "\" are gone. */
static bool
take_value(const char **at, parameter *p)
{
	bool		quoted = **at == '"';

	p->len = 0;
	*at += quoted;
	do
	{
		size_t		n;

		*at += quoted && **at == '\\';
		n = http_token_size(*at);
		if (n == 0)
			return false;
		if (p->len + n <= MAX_VALUE)
			memcpy(p->value + p->len, *at, n);
		p->len += n;
		*at += n;
	} while (quoted && **at == '\\');

	return !quoted || *(*at)++ == '"';
}

/* Can we do what a parameter asks for (7.1)? */
static void
weigh(offer *o, const parameter *p)
{
	static const struct
	{
		const char *name;
		value_rule	rule;
	}			known[] = {
		{"server_no_context_takeover", VALUE_NEVER},
		{"client_no_context_takeover", VALUE_NEVER},
		{"client_max_window_bits", VALUE_MAYBE},
		{"server_max_window_bits", VALUE_ALWAYS}
	};
	size_t		i = 0;
	size_t		n = sizeof(known) / sizeof(known[0]);

	while (i < n && !is(&p->name, known[i].name))
		i++;
	if (i == n || (o->seen & 1U << i) != 0 ||
		(p->has_value ? known[i].rule == VALUE_NEVER || window_bits(p) == 0 :
		 known[i].rule == VALUE_ALWAYS))
	{
		o->good = false;
		return;
	}
	o->seen |= 1U << i;
	if (known[i].rule == VALUE_ALWAYS)
		o->terms = (deflate_terms) {window_bits(p), true};
}

/* 8 to 15, without leading zeros; 0: something else. */
static int
window_bits(const parameter *p)
{
	const char *v = p->value;

	if (p->len == 1 && (v[0] == '8' || v[0] == '9'))
		return v[0] - '0';
	if (p->len == 2 && v[0] == '1' && v[1] >= '0' && v[1] <= '5')
		return 10 + v[1] - '0';
	return 0;
}

static bool
take_token(const char **at, word *token)
{
	*token = (word) {*at, http_token_size(*at)};
	*at += token->len;
	return token->len > 0;
}

static bool
is(const word *w, const char *text)
{
	return strlen(text) == w->len && memcmp(w->text, text, w->len) == 0;
}

static void
skip_space(const char **at)
{
	*at += strspn(*at, " \t");
}

/*
 * A window for what we send must be confirmed (7.1.2.1), one for what the
 * client sends need not be (7.1.2.2).
 */
size_t
extensions_reply(char *out, size_t size, const deflate_terms *terms)
{
	char		bits[48] = "";
	int			len;

	if (terms->named)
		snprintf(bits, sizeof(bits), "; server_max_window_bits=%d",
				 terms->window);
	len = snprintf(out, size, "Sec-WebSocket-Extensions: " NAME
				   "; server_no_context_takeover"
				   "; client_no_context_takeover%s\r\n", bits);
	return len < 0 || (size_t) len >= size ? 0 : (size_t) len;
}
