/*-------------------------------------------------------------------------
 *
 * refusals.c
 *	  Whom a gateway turned away, and why, for the server's log.
 *
 * When clients cannot connect, because a secret was changed on one side only,
 * say, or an origin was forgotten, the log is where somebody looks first.  But
 * anybody can be turned away as often as he likes.  So there is one line at
 * once, and then at most one a minute, with a number for each reason; the
 * reasons are texts of ours, never the client's.
 *
 *-------------------------------------------------------------------------
 */
#include "refusals.h"

#include "lib/stringinfo.h"

#include "worker.h"

#define INTERVAL_MS		60000
#define MAX_REASONS		32		/* there are fewer */

typedef struct Reason
{
	const char *text;
	uint64		times;
} Reason;

static Reason reasons[MAX_REASONS];
static int	nreasons = 0;
static uint64 total = 0;
static TimestampTz next_report = 0;

void
msg_refusals_count(const char *reason)
{
	int			i = 0;

	total++;
	while (i < nreasons && strcmp(reasons[i].text, reason) != 0)
		i++;
	if (i == MAX_REASONS)
		return;
	if (i == nreasons)
		reasons[nreasons++] = (Reason) {reason, 0};
	reasons[i].times++;
}

TimestampTz
msg_refusals_due(void)
{
	return total > 0 ? Max(next_report, 1) : 0;
}

void
msg_refusals_report(TimestampTz now, bool all)
{
	StringInfoData detail;

	/* A clock that was set back must not silence us. */
	if (next_report > TimestampTzPlusMilliseconds(now, INTERVAL_MS))
		next_report = now;
	if (total == 0 || (now < next_report && !all))
		return;

	initStringInfo(&detail);
	for (int i = 0; i < nreasons; i++)
		appendStringInfo(&detail, "%s%s: " UINT64_FORMAT, i > 0 ? "; " : "",
						 reasons[i].text, reasons[i].times);
	ereport(LOG,
			errmsg("openhr_msg gateway %d: connections refused: " UINT64_FORMAT,
				   msg_worker->gateway, total),
			errdetail_internal("%s.", detail.data));
	pfree(detail.data);
	nreasons = 0;
	total = 0;
	next_report = TimestampTzPlusMilliseconds(now, INTERVAL_MS);
}
