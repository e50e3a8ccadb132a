/*-------------------------------------------------------------------------
 *
 * decimal.h
 *	  Comparing numbers of any precision by their decimal text.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_DECIMAL_H
#define REALTIME_DECIMAL_H

#include "scan.h"

extern bool decimal_is_valid(span text);
extern int	decimal_compare(span a, span b);	/* both valid */

#endif							/* REALTIME_DECIMAL_H */
