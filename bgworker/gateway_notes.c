/*-------------------------------------------------------------------------
 *
 * gateway_notes.c
 *	  Lines of a gateway's for the log.
 *
 * The socket server and the hub are libraries to PostgreSQL: an error, or an
 * interrupt that is served while a line is written, must not jump over their
 * frames.  So what they have to say is kept here until they have returned.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gateway_notes.h"
#include "worker.h"

#define MAX_NOTES	16
#define NOTE_SIZE	256

typedef struct Note
{
	char		text[NOTE_SIZE];
	int			times;			/* in a row */
} Note;

static Note notes[MAX_NOTES];
static int	nnotes = 0;

void
msg_note(void *arg, const char *line)
{
	Note	   *last = nnotes > 0 ? &notes[nnotes - 1] : NULL;

	/* When there are too many, the last one stands for the rest. */
	if (last && (nnotes == MAX_NOTES || strcmp(last->text, line) == 0))
	{
		last->times++;
		return;
	}
	strlcpy(notes[nnotes].text, line, NOTE_SIZE);
	notes[nnotes++].times = 1;
}

void
msg_notes_write(void)
{
	for (int i = 0; i < nnotes; i++)
		ereport(LOG,
				errmsg("openhr_msg gateway %d: %s",
					   msg_worker->gateway, notes[i].text),
				notes[i].times > 1 ?
				errdetail("This happened %d times.", notes[i].times) : 0);
	nnotes = 0;
}
