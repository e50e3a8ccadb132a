/*-------------------------------------------------------------------------
 *
 * attempts.c
 *	  How many times in a row decoding has not got through; see attempts.h.
 *
 * What cannot be decoded may raise an error, which ends the streamer, or crash
 * it, which ends everything; and since the slot still stands there, the next
 * streamer would meet it again.  So attempts are counted where they outlive a
 * crash: in a file, in the directory of the slot, with which it goes.  (The
 * server leaves files there alone that it does not know.)
 *
 * An attempt lasts from the start of decoding until it has come to the end of
 * what there was by then.  It is counted as failed from its beginning, which
 * is taken back when it ends well, or for a reason of its own.  That another
 * process's crash may end it, and be counted, does little harm: it would have
 * to do so again and again, each time within an attempt, and the price is a
 * new slot.
 *
 * No fsync: what crashes here is not the machine.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "storage/fd.h"
#include "storage/ipc.h"

#include "attempts.h"
#include "openhr_msg.h"

#define ATTEMPTS_FILE	"pg_replslot/" MSG_SLOT_NAME "/attempts"

static int	attempt = 0;		/* the one under way, or that failed; 0: none */
static bool failed = false;

static void write_count(int count);
static void at_exit(int code, Datum arg);

/* The file is one byte. */
int
msg_attempts_failed(void)
{
	unsigned char count = 0;
	int			fd = OpenTransientFile(ATTEMPTS_FILE, O_RDONLY | PG_BINARY);

	if (fd < 0)
		return 0;
	if (read(fd, &count, 1) != 1)
		count = 0;
	CloseTransientFile(fd);
	return count;
}

/* Not worth an error: at worst an attempt is not counted. */
static void
write_count(int count)
{
	unsigned char byte = count;
	int			fd;

	if (count == 0)
	{
		unlink(ATTEMPTS_FILE);
		return;
	}

	fd = OpenTransientFile(ATTEMPTS_FILE, O_WRONLY | O_CREAT | PG_BINARY);
	if (fd < 0 || write(fd, &byte, 1) != 1)
		ereport(LOG,
				errcode_for_file_access(),
				errmsg("could not write file \"%s\": %m", ATTEMPTS_FILE));
	if (fd >= 0)
		CloseTransientFile(fd);
}

void
msg_attempt_begins(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(at_exit, (Datum) 0);
	registered = true;

	attempt = msg_attempts_failed() + 1;
	write_count(attempt);
}

void
msg_attempt_succeeds(void)
{
	attempt = 0;
	write_count(0);
}

void
msg_attempt_is_broken_off(void)
{
	if (attempt > 0 && !failed)
		write_count(attempt - 1);
	attempt = 0;
}

int
msg_attempt_fails(void)
{
	failed = true;
	if (attempt == 0)
	{
		attempt = 1;
		write_count(attempt);
	}
	return attempt;
}

static void
at_exit(int code, Datum arg)
{
	msg_attempt_is_broken_off();
}
