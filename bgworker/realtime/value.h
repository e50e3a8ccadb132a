/*-------------------------------------------------------------------------
 *
 * value.h
 *	  Values of columns, as filters compare them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_VALUE_H
#define REALTIME_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "change.h"

typedef enum value_type
{
	VALUE_OTHER,				/* compared for equality, as text */
	VALUE_TEXT,					/* ordered by bytes */
	VALUE_BOOL,
	VALUE_INT2,
	VALUE_INT4,
	VALUE_INT8,
	VALUE_FLOAT,
	VALUE_NUMERIC,
	VALUE_TIMESTAMP,			/* also without time zone, and dates */
	VALUE_UUID,
	VALUE_JSONB					/* compared for equality */
} value_type;

/* Texts point into what the value was read from. */
typedef struct value
{
	union
	{
		int64_t		integer;	/* also bool, and microseconds */
		double		number;
		span		text;		/* also numeric */
		uint8_t		uuid[16];
		const json_t *json;
	};
} value;

typedef enum value_status
{
	VALUE_OK,
	VALUE_NULL,
	VALUE_BAD_SYNTAX,
	VALUE_OUT_OF_RANGE
} value_status;

extern value_type value_type_of(const char *typname);
extern bool value_type_is_ordered(value_type type);

/* As SQL calls the type: "integer" for int4. */
extern const char *value_type_name(const char *typname);

/*
 * A value from its text in a filter.  For jsonb the value holds a reference,
 * which value_free() gives back; for other types value_free() does nothing.
 */
extern value_status value_parse(value_type type, span text, value *v);
extern void value_free(value_type type, value *v);

/* A value from a record; VALUE_BAD_SYNTAX when it is not of the type. */
extern value_status value_of_field(value_type type, field *f, value *v);

/* Less than, equal to or greater than zero; unordered types only tell equal. */
extern int	value_compare(value_type type, const value *a, const value *b);

#endif							/* REALTIME_VALUE_H */
