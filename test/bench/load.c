/*-------------------------------------------------------------------------
 *
 * load.c
 *	  A load tool for the gateway: connects and joins clients, publishes, and
 *	  tells what arrived, and what it cost.
 *
 * Three ways to publish: writers with a timetable, or as fast as they can
 * (--seconds); one burst at a time, each when all have got the one before
 * (--rounds; with --broadcast the clients publish); or nothing at all
 * (--seconds without writers).  And two other things: --presence and --storm.
 *
 * Prints "name value" lines: times in microseconds unless their name says
 * otherwise, CPU time of the watched processes in seconds, their memory in
 * bytes.  The exit status is 0 when everything that was published arrived.
 *
 *-------------------------------------------------------------------------
 */
#include "bench.h"

#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MOST_WATCHED	8
#define JOIN_PATIENCE	120		/* seconds */

typedef struct watched
{
	const char *name;
	int			pid;
	int64_t		cpu;
} watched;

static watched watch[MOST_WATCHED];
static int	nwatched = 0;

void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	fprintf(stderr, "load: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(2);
}

/*
 * Watched processes
 */

/* CPU time of all threads, in nanoseconds. */
static int64_t
cpu_of(int pid)
{
	char		path[300];
	int64_t		sum = 0;
	struct dirent *entry;
	DIR		   *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (dir == NULL)
		die("there is no process %d", pid);
	while ((entry = readdir(dir)) != NULL)
	{
		FILE	   *file;
		int64_t		ns;

		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", pid,
				 entry->d_name);
		file = fopen(path, "r");
		if (file != NULL && fscanf(file, "%" SCNd64, &ns) == 1)
			sum += ns;
		if (file != NULL)
			fclose(file);
	}
	closedir(dir);
	return sum;
}

/* Memory that belongs to the process alone. */
static long
memory_of(int pid)
{
	char		line[200];
	long		kilobytes = 0;
	FILE	   *file;

	snprintf(line, sizeof(line), "/proc/%d/status", pid);
	file = fopen(line, "r");
	if (file == NULL)
		die("there is no process %d", pid);
	while (fgets(line, sizeof(line), file) != NULL)
		sscanf(line, "RssAnon: %ld", &kilobytes);
	fclose(file);
	return kilobytes * 1024;
}

static void
watch_begin(void)
{
	for (int i = 0; i < nwatched; i++)
		watch[i].cpu = cpu_of(watch[i].pid);
}

static void
watch_end(const char *what)
{
	for (int i = 0; i < nwatched; i++)
		printf("cpu_%s%s %.6f\n", watch[i].name, what,
			   (double) (cpu_of(watch[i].pid) - watch[i].cpu) / SECOND);
}

static void
report_memory(const char *when)
{
	for (int i = 0; i < nwatched; i++)
		printf("memory_%s_%s %ld\n", watch[i].name, when,
			   memory_of(watch[i].pid));
}

static void
add_watched(char *argument)
{
	char	   *equals = strchr(argument, '=');

	if (equals == NULL || nwatched == MOST_WATCHED)
		die("cannot watch \"%s\"", argument);
	*equals = '\0';
	watch[nwatched].name = argument;
	watch[nwatched++].pid = atoi(equals + 1);
}

/*
 * The run
 */

static void
report_times(const char *name, const histogram *h)
{
	static const struct
	{
		const char *name;
		double		share;
	}			quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}};

	for (int i = 0; i < 3; i++)
		printf("%s_%s %.1f\n", name, quantiles[i].name,
			   (double) histogram_quantile(h, quantiles[i].share) / 1000);
	printf("%s_max %.1f\n", name, (double) h->max / 1000);
}

static int64_t
from_now(double seconds)
{
	return now_ns() + (int64_t) (seconds * (double) SECOND);
}

/* Returns how many messages were published. */
static uint64_t
publish(const settings *s, histogram *commits)
{
	uint64_t	sent = 0;

	if (s->presence)
	{
		talk_track();
		sent = (uint64_t) s->clients;
		clients_read(from_now(s->patience), sent * (uint64_t) s->room_size);
		return sent;
	}
	if (s->rounds > 0)
	{
		for (int round = 0; round < s->rounds; round++)
		{
			sent += s->broadcast ? talk_burst() : writers_burst(s);
			if (!clients_read(from_now(s->patience),
							  sent * (uint64_t) s->room_size))
				break;
		}
		return sent;
	}

	received.since = from_now(s->warmup);
	if (s->writers > 0)
		writers_start(s);
	clients_read(from_now(s->seconds), UINT64_MAX);
	if (s->writers > 0)
		sent = writers_stop(commits);
	clients_read(from_now(s->patience), sent * (uint64_t) s->room_size);
	return sent;
}

static void
enter(const settings *s)
{
	int64_t		begin = now_ns();

	clients_start(s);
	report_memory("before");
	watch_begin();
	if (!clients_join(JOIN_PATIENCE))
		die("only %d of %d clients have joined", received.joined, s->clients);
	printf("join_seconds %.3f\n", (double) (now_ns() - begin) / SECOND);
	watch_end("_join");
	report_memory("joined");
}

static bool
run_storm(const settings *s)
{
	storm_result result = {0};
	uint64_t	sent;

	enter(s);
	watch_begin();
	sent = storm(&result);
	watch_end("");
	report_memory("after");
	printf("messages %" PRIu64 "\nback_seconds %.3f\ncomplete_seconds %.3f\n",
		   sent, (double) result.back / SECOND,
		   (double) result.complete / SECOND);
	printf("clients_missing %d\n", result.missing);
	printf("lost %" PRIu64 "\ngaps %" PRIu64 "\nduplicates %" PRIu64 "\n",
		   result.lost, received.gaps, received.duplicates);
	printf("attempts %d\nrefused %d\nclosed %d\n", received.attempts,
		   received.refused, received.closed);
	clients_stop();
	return result.missing == 0 && result.lost == 0 && received.gaps == 0 && received.duplicates == 0;
}

static bool
run(const settings *s)
{
	static histogram commits;
	int64_t		begin;
	uint64_t	sent;
	uint64_t	expected;

	enter(s);
	received.frames = received.bytes = 0;
	watch_begin();
	begin = now_ns();
	sent = publish(s, &commits);
	watch_end("");
	report_memory("after");

	expected = sent * (uint64_t) s->room_size;
	printf("messages %" PRIu64 "\nframes %" PRIu64 "\nmissing %" PRId64 "\n",
		   sent, received.frames, (int64_t) (expected - received.frames));
	printf("gaps %" PRIu64 "\nduplicates %" PRIu64 "\nclosed %d\n",
		   received.gaps, received.duplicates, received.closed);
	if (received.frames > 0)
	{
		printf("seconds %.6f\nframe_bytes %" PRIu64 "\n",
			   (double) (received.last - begin) / SECOND,
			   received.bytes / received.frames);
		report_times("latency", &received.latency);
	}
	if (commits.count > 0)
	{
		report_times("commit", &commits);
		report_times("after_commit", &received.after_commit);
	}
	clients_stop();
	return received.frames == expected && received.gaps == 0 &&
		received.duplicates == 0 && received.closed == 0;
}

static void
raise_file_limit(int wanted)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < (rlim_t) wanted)
		die("the limit of open files (ulimit -Hn) is %lu, less than %d",
			(unsigned long) limit.rlim_cur, wanted);
}

static settings wanted = {
	.room_size = 2,.burst = 1,.seconds = 5,.text_size = 120,.patience = 20
};
static bool fill = false;

/* Where an option's value goes; nowhere: --watch, which may be repeated. */
static const struct
{
	const char *name;
	const char *help;
	int		   *number;
	double	   *real;
	bool	   *flag;
}			known[] = {
	{"port", "of the server",.number = &wanted.port},
	{"clients", "how many connections",.number = &wanted.clients},
	{"room-size", "people in a conversation (2)",.number = &wanted.room_size},
	{"fill", "make people and conversations",.flag = &fill},
	{"writers", "threads that insert (0)",.number = &wanted.writers},
	{"rate", "messages a second (as many as can be)",.real = &wanted.rate},
	{"seconds", "for so long (5)",.real = &wanted.seconds},
	{"warmup", "but time only what is sent after so many",
		.real = &wanted.warmup},
	{"rounds", "or so many bursts, one at a time",.number = &wanted.rounds},
	{"burst", "messages in a transaction (1)",.number = &wanted.burst},
	{"text-size", "bytes of a message (120)",.number = &wanted.text_size},
	{"heartbeat", "seconds between those of a client (none)",
		.real = &wanted.heartbeat},
	{"patience", "seconds to wait for what does not come (20)",
		.real = &wanted.patience},
	{"words", "which are words, and compress as such do",.flag = &wanted.words},
	{"deflate", "clients take what is compressed",.flag = &wanted.deflate},
	{"broadcast", "clients publish (--rounds)",.flag = &wanted.broadcast},
	{"presence", "clients track, and that is all",.flag = &wanted.presence},
	{"storm", "clients are cut, and come back",.flag = &wanted.storm},
	{"restart", "... by a gateway that is ended",.flag = &wanted.restart},
	{"hub", "the port is that of hub.c",.flag = &wanted.hub},
	{"watch", "NAME=PID: tell what a process uses"}
};

#define NKNOWN	(sizeof(known) / sizeof(known[0]))

static void
usage(void)
{
	fprintf(stderr, "usage: JWT_SECRET=SECRET load OPTION...\n");
	for (size_t i = 0; i < NKNOWN; i++)
		fprintf(stderr, "  --%s%-*s %s\n", known[i].name,
				(int) (14 - strlen(known[i].name)),
				known[i].flag ? "" : "=", known[i].help);
	exit(2);
}

static void
take_option(size_t i, char *value)
{
	if (known[i].number)
		*known[i].number = atoi(value);
	else if (known[i].real)
		*known[i].real = atof(value);
	else if (known[i].flag)
		*known[i].flag = true;
	else
		add_watched(value);
}

static void
take_options(int argc, char **argv)
{
	struct option options[NKNOWN + 1] = {{0}};
	int			option;

	for (size_t i = 0; i < NKNOWN; i++)
		options[i] = (struct option) {
			.name = known[i].name,
			.has_arg = known[i].flag ? no_argument : required_argument,
			.val = (int) i + 1
		};
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		if (option == '?')
			usage();
		take_option((size_t) option - 1, optarg);
	}
	wanted.secret = getenv("JWT_SECRET");
	if (optind < argc || wanted.port <= 0 || wanted.clients <= 0 ||
		wanted.room_size <= 0 || wanted.clients % wanted.room_size != 0 ||
		wanted.burst <= 0 || wanted.text_size < 80 || wanted.secret == NULL)
		usage();
}

int
main(int argc, char **argv)
{
	take_options(argc, argv);
	raise_file_limit(wanted.clients + 100);
	if (fill)
		writers_fill(&wanted);
	return (wanted.storm ? run_storm : run) (&wanted) ? 0 : 1;
}
