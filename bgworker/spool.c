/*-------------------------------------------------------------------------
 *
 * spool.c
 *	  The events of a large transaction that are to be sent later.
 *
 * Who may see an event is decided by the memberships at the commit, and those
 * may change with the transaction's last row.  So of a large transaction all
 * is decoded before most of it is sent, and decoded rows are too many for
 * memory: they wait in a temporary file, as the server's own changes do while
 * a large transaction is being decoded.
 *
 * The file is none of the decoding's transaction, which looks up catalogs and
 * is aborted.  It goes when it was replayed, or with the process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "lib/stringinfo.h"
#include "storage/buffile.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "spool.h"

static BufFile *file = NULL;
static uint64 nevents;

/* Not in temp_tablespaces: looking those up takes a transaction. */
static BufFile *
create_file(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	BufFile    *created;

	SetTempTablespaces(NULL, 0);
	created = BufFileCreateTemp(true);
	MemoryContextSwitchTo(old);
	return created;
}

void
msg_spool_put(const event_header *event)
{
	if (file == NULL)
	{
		file = create_file();
		nevents = 0;
	}
	BufFileWrite(file, unconstify(event_header *, event), event->size);
	nevents++;
}

static void
read_exactly(void *to, Size size)
{
	if (BufFileRead(file, to, size) != size)
		ereport(ERROR,
				errcode_for_file_access(),
				errmsg("could not read a transaction's events back from their temporary file"));
}

void
msg_spool_replay(void (*take) (const event_header *event))
{
	StringInfoData event;

	if (file == NULL)
		return;
	if (BufFileSeek(file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				errcode_for_file_access(),
				errmsg("could not rewind the temporary file of a transaction's events"));

	initStringInfo(&event);
	for (uint64 i = 0; i < nevents; i++)
	{
		event_header header;

		read_exactly(&header, sizeof(header));
		resetStringInfo(&event);
		appendBinaryStringInfo(&event, (char *) &header, sizeof(header));
		enlargeStringInfo(&event, header.size);
		read_exactly(event.data + sizeof(header),
					 header.size - sizeof(header));
		take((const event_header *) event.data);
	}
	pfree(event.data);
	BufFileClose(file);
	file = NULL;
}
