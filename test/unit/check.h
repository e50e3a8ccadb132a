/*-------------------------------------------------------------------------
 *
 * check.h
 *	  Test Anything Protocol for unit tests.
 *
 * A test calls check() or one of its kin any number of times and ends with
 * "return check_done();".
 *
 *-------------------------------------------------------------------------
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int	check_count;
static int	check_failures;

/* One result, with a name made as by printf. */
#define check(condition, ...) \
	check_result((condition), __FILE__, __LINE__, __VA_ARGS__)

/* Two numbers, or two strings, that must be equal. */
#define check_int(got, wanted, ...) \
	check_int_result((got), (wanted), __FILE__, __LINE__, __VA_ARGS__)
#define check_str(got, wanted, ...) \
	check_str_result((got), (wanted), __FILE__, __LINE__, __VA_ARGS__)

static inline bool
check_vresult(bool good, const char *file, int line, const char *format,
			  va_list args)
{
	printf("%sok %d - ", good ? "" : "not ", ++check_count);
	vprintf(format, args);
	printf("\n");
	if (!good)
	{
		check_failures++;
		printf("# failed at %s:%d\n", file, line);
	}
	return good;
}

static inline bool __attribute__((format(printf, 4, 5)))
check_result(bool good, const char *file, int line, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	check_vresult(good, file, line, format, args);
	va_end(args);
	return good;
}

static inline bool __attribute__((format(printf, 5, 6)))
check_int_result(long long got, long long wanted, const char *file, int line,
				 const char *format,...)
{
	va_list		args;

	va_start(args, format);
	if (!check_vresult(got == wanted, file, line, format, args))
		printf("# got %lld, wanted %lld\n", got, wanted);
	va_end(args);
	return got == wanted;
}

static inline bool __attribute__((format(printf, 5, 6)))
check_str_result(const char *got, const char *wanted, const char *file,
				 int line, const char *format,...)
{
	bool		good = got && wanted ? strcmp(got, wanted) == 0 : got == wanted;
	va_list		args;

	va_start(args, format);
	if (!check_vresult(good, file, line, format, args))
		printf("# got %s, wanted %s\n", got ? got : "(null)",
			   wanted ? wanted : "(null)");
	va_end(args);
	return good;
}

/* The plan, and the exit status of main(). */
static inline int
check_done(void)
{
	printf("1..%d\n", check_count);
	return check_failures != 0;
}

#endif							/* CHECK_H */
