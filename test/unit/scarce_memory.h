/*-------------------------------------------------------------------------
 *
 * scarce_memory.h
 *	  Memory that runs out when a test wants it to.
 *
 * The program is linked so that requests of the code under test come here
 * first (--wrap); those of the test itself, which includes this file before
 * all others, do not.
 *
 * jansson's requests are left alone: it does not notice when it cannot save a
 * character of a string, which makes a wrong text and nothing worse.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SCARCE_MEMORY_H
#define SCARCE_MEMORY_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t n, size_t size);
extern void *__real_realloc(void *p, size_t size);
extern char *__real_strdup(const char *s);
extern char *__real_strndup(const char *s, size_t n);

static bool armed;
static bool all_fail;
static int	requests_left;

static bool
fails(void)
{
	if (!armed)
		return false;
	if (requests_left > 0)
		requests_left--;
	else if (requests_left == 0)
	{
		if (!all_fail)
			requests_left = -1;
		return true;
	}
	return false;
}

void *
__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : __real_strndup(s, n);
}

/* What the test itself asks for is always given. */
#define malloc	__real_malloc
#define calloc	__real_calloc
#undef strdup
#define strdup	__real_strdup
#undef strndup
#define strndup	__real_strndup

#endif							/* SCARCE_MEMORY_H */
