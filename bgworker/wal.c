/*-------------------------------------------------------------------------
 *
 * wal.c
 *	  Reading WAL as far as it is flushed; see wal.h.
 *
 * The server's own readers for use in a backend either sleep until the page
 * is there, deaf to latches, or expect the reader's private_data for
 * themselves, which in logical decoding belongs to the decoding context.  So
 * this is a page reader of our own, in the manner of the walsender's.
 *
 * A failed read leaves the reader where it was, and a record of which a part
 * was read is thrown away and read again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogutils.h"

#include "wal.h"

static int	read_page(XLogReaderState *reader, XLogRecPtr page, int wanted,
					  XLogRecPtr record, char *buffer);

XLogReaderRoutine msg_wal_routine = {
	.page_read = read_page,
	.segment_open = wal_segment_open,
	.segment_close = wal_segment_close
};

static int
read_page(XLogReaderState *reader, XLogRecPtr page, int wanted,
		  XLogRecPtr record, char *buffer)
{
	TimeLineID	timeline;
	XLogRecPtr	readable = GetFlushRecPtr(&timeline);
	XLogSegNo	segment;
	WALReadError error;
	int			count;

	/* Old WAL may lie on the timeline of before a failover. */
	XLogReadDetermineTimeline(reader, page, wanted, timeline);
	if (reader->currTLI != timeline)
		readable = reader->currTLIValidUntil;

	if (page + wanted > readable)
		return -1;
	count = Min(readable - page, XLOG_BLCKSZ);

	if (!WALRead(reader, buffer, page, count, reader->currTLI, &error))
		WALReadRaiseError(&error);

	/* Was it still there while we read it? */
	XLByteToSeg(page, segment, reader->segcxt.ws_segsize);
	CheckXLogRemoved(segment, reader->seg.ws_tli);

	return count;
}

XLogRecord *
msg_wal_next(XLogReaderState *reader)
{
	char	   *error = NULL;
	XLogRecord *record;

	/* Trying in vain would cost the open file and the page read before. */
	if (GetFlushRecPtr(NULL) <= reader->EndRecPtr)
		return NULL;

	record = XLogReadRecord(reader, &error);
	if (record == NULL && error != NULL)
		ereport(ERROR,
				errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("could not read WAL at %X/%X: %s",
					   LSN_FORMAT_ARGS(reader->EndRecPtr), error));
	return record;
}
