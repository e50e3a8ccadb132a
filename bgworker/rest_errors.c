/*-------------------------------------------------------------------------
 *
 * rest_errors.c
 *	  How errors are told: their HTTP status, and their bodies.
 *
 * The status follows from the SQLSTATE as PostgREST has it, with PTnnn for
 * what that would not tell apart.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rest_inside.h"

typedef struct code_status
{
	const char *code;			/* an SQLSTATE, or the beginning of some */
	int			status;
} code_status;

/* The first one that matches counts; what is not here is the caller's fault. */
static const code_status statuses[] = {
	{"PGRST202", 404},
	{"PGRST116", 406},
	{"PGRST106", 406},
	{"PGRST", 400},
	{"08", 503},
	{"09", 500},
	{"0L", 403},
	{"0P", 403},
	{"23503", 409},
	{"23505", 409},
	{"25006", 405},
	{"25", 500},
	{"28", 403},
	{"2D", 500},
	{"38", 500},
	{"39", 500},
	{"3B", 500},
	{"40", 500},
	{"42883", 404},
	{"42P01", 404},
	{"42P17", 500},
	{"53400", 500},
	{"53", 503},
	{"54", 413},
	{"55", 500},
	{"57P01", 503},
	{"57", 500},
	{"58", 500},
	{"F0", 500},
	{"HV", 500},
	{"P0001", 400},
	{"P0", 500},
	{"XX", 500}
};

int
rest_error_status(const char *code, bool anonymous)
{
	if (strncmp(code, "PT", 2) == 0 && strlen(code) == 5 &&
		strspn(code + 2, "0123456789") == 3)
	{
		int			status = atoi(code + 2);

		return status >= 400 && status < 600 ? status : 500;
	}
	if (strcmp(code, "42501") == 0)
		return anonymous ? 401 : 403;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (strncmp(code, statuses[i].code, strlen(statuses[i].code)) == 0)
			return statuses[i].status;
	return 400;
}

static json_t *
text_or_null(const char *text)
{
	return text != NULL ? json_string(text) : json_null();
}

/* The object as text; it is given up here. */
static char *
dump(json_t *object)
{
	char	   *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);

	json_decref(object);
	return text;
}

char *
rest_error_v1(const char *message, const char *details, const char *hint)
{
	json_t	   *object = json_object();

	json_object_set_new(object, "error", text_or_null(message));
	if (details != NULL)
		json_object_set_new(object, "details", json_string(details));
	if (hint != NULL)
		json_object_set_new(object, "hint", json_string(hint));
	return dump(object);
}

char *
rest_error_rpc(const char *code, const char *message, const char *details,
			   const char *hint)
{
	json_t	   *object = json_object();

	json_object_set_new(object, "code", json_string(code));
	json_object_set_new(object, "details", text_or_null(details));
	json_object_set_new(object, "hint", text_or_null(hint));
	json_object_set_new(object, "message", text_or_null(message));
	return dump(object);
}
