/*-------------------------------------------------------------------------
 *
 * pattern.c
 *	  Patterns on text, by PCRE2: regular expressions as they are, and LIKE
 *	  translated.
 *
 * A client writes the pattern and perhaps the text, so neither may decide how
 * long a match takes.  PCRE2's own limits count per starting position; a
 * callout before each item of the pattern counts the whole match.  It is
 * charged for the distance run since the last one, too.
 *
 *-------------------------------------------------------------------------
 */
#include "pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

#define MAX_NESTING			32
#define MAX_COMPILED		8192	/* bytes */
#define MAX_HEAP			1024	/* kilobytes, while matching */
#define BYTES_PER_EFFORT	2

/* The compiled form is all there is to a pattern. */
#define pattern_code(p)		((pcre2_code *) (void *) (p))

typedef struct purse
{
	uint32_t   *effort;
	size_t		last;			/* position at the last callout */
} purse;

static bool
spend(uint32_t *effort, size_t cost)
{
	if (cost > *effort)
	{
		*effort = 0;
		return false;
	}
	*effort -= (uint32_t) cost;
	return true;
}

static int
callout(pcre2_callout_block *block, void *data)
{
	purse	   *p = data;
	size_t		run = block->current_position > p->last ?
		block->current_position - p->last : 0;

	p->last = block->current_position;
	return spend(p->effort, 1 + run / BYTES_PER_EFFORT) ? 0 :
		PCRE2_ERROR_CALLOUT;
}

/* Made once, for all patterns: the hub has one thread. */
static pcre2_compile_context *
compile_context(void)
{
	static pcre2_compile_context *context = NULL;

	if (context == NULL)
	{
		context = pcre2_compile_context_create(NULL);
		if (context != NULL)
			pcre2_set_parens_nest_limit(context, MAX_NESTING);
	}
	return context;
}

static pattern *
pattern_compile(const char *text, size_t len, uint32_t options, buf *problem)
{
	pcre2_compile_context *context = compile_context();
	pcre2_code *code;
	size_t		size = 0;
	size_t		offset;
	int			error;
	char		message[128];

	if (context == NULL)
		return NULL;
	code = pcre2_compile((PCRE2_SPTR) text, len, options | PCRE2_UTF |
						 PCRE2_UCP | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY |
						 PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT,
						 &error, &offset, context);
	if (code == NULL)
	{
		if (pcre2_get_error_message(error, (PCRE2_UCHAR *) message,
									sizeof(message)) > 0)
			buf_text(problem, message);
		return NULL;
	}
	pcre2_pattern_info(code, PCRE2_INFO_SIZE, &size);
	if (size > MAX_COMPILED)
	{
		pcre2_code_free(code);
		buf_text(problem, "regular expression is too large");
		return NULL;
	}
	return (pattern *) (void *) code;
}

pattern *
pattern_regex(span text, bool caseless, buf *problem)
{
	if (text.len > PATTERN_MAX_LEN)
	{
		buf_text(problem, "regular expression is too long");
		return NULL;
	}
	return pattern_compile(text.data, text.len,
						   caseless ? PCRE2_CASELESS : 0, problem);
}

static bool
is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
		(c >= 'a' && c <= 'z') || (c & 0x80) != 0;
}

/* One character, or one byte of it, that stands for itself. */
static void
add_literal(buf *regex, char c)
{
	if (!is_word(c))
		buf_bytes(regex, "\\", 1);
	buf_bytes(regex, &c, 1);
}

/* A percent sign at either end is an end that is not anchored. */
static bool
translate_like(span text, uint32_t *options, buf *regex, buf *problem)
{
	const char *p = text.data;
	const char *end = p + text.len;

	*options = PCRE2_ANCHORED | PCRE2_ENDANCHORED;
	for (; p < end && *p == '%'; p++)
		*options &= ~PCRE2_ANCHORED;
	for (; p < end; p++)
	{
		if (*p == '\\')
		{
			if (++p == end)
			{
				buf_text(problem,
						 "LIKE pattern must not end with escape character");
				return false;
			}
			add_literal(regex, *p);
		}
		else if (*p == '_')
			buf_text(regex, ".");
		else if (*p != '%')
			add_literal(regex, *p);
		else if (p + 1 == end)
			*options &= ~PCRE2_ENDANCHORED;
		else if (p[1] != '%')
			buf_text(regex, ".*?");
	}
	return true;
}

pattern *
pattern_like(span text, bool caseless, buf *problem)
{
	pattern    *p = NULL;
	uint32_t	options;
	buf			regex;

	if (text.len > PATTERN_MAX_LEN)
	{
		buf_text(problem, "LIKE pattern is too long");
		return NULL;
	}
	buf_init(&regex);
	if (translate_like(text, &options, &regex, problem) && buf_ok(&regex))
		p = pattern_compile(buf_string(&regex), regex.len,
							options | (caseless ? PCRE2_CASELESS : 0),
							problem);
	buf_free(&regex);
	return p;
}

void
pattern_free(pattern *p)
{
	pcre2_code_free(pattern_code(p));
}

pattern_result
pattern_match(const pattern *p, span subject, uint32_t *effort)
{
	static pcre2_match_context *context = NULL;
	static pcre2_match_data *found = NULL;
	purse		purse = {effort, 0};
	int			result;

	if (context == NULL)
	{
		context = pcre2_match_context_create(NULL);
		if (context != NULL)
			pcre2_set_heap_limit(context, MAX_HEAP);
	}
	if (found == NULL)
		found = pcre2_match_data_create(1, NULL);
	if (context == NULL || found == NULL ||
		!spend(effort, 1 + subject.len / BYTES_PER_EFFORT))
		return PATTERN_UNKNOWN;

	pcre2_set_callout(context, callout, &purse);
	result = pcre2_match(pattern_code(p), (PCRE2_SPTR) subject.data,
						 subject.len, 0, 0, found, context);
	if (result == PCRE2_ERROR_NOMATCH)
		return PATTERN_NO;
	return result >= 0 ? PATTERN_YES : PATTERN_UNKNOWN;
}
