/*-------------------------------------------------------------------------
 *
 * load.c
 *	  A load tool for the gateway: connects and joins clients, publishes, and
 *	  tells what arrived, and what it cost.
 *
 * Three ways to publish: writers with a timetable, or as fast as they can
 * (--seconds); one burst at a time, each when all have got the one before
 * (--rounds); or nothing at all (--seconds without writers).
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
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MOST_WATCHED	8
#define JOIN_PATIENCE	120		/* seconds */
#define PATIENCE		20

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
watch_end(void)
{
	for (int i = 0; i < nwatched; i++)
		printf("cpu_%s %.6f\n", watch[i].name,
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

	if (s->rounds > 0)
	{
		for (int round = 0; round < s->rounds; round++)
		{
			sent += writers_burst(s);
			if (!clients_read(from_now(PATIENCE),
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
	clients_read(from_now(PATIENCE), sent * (uint64_t) s->room_size);
	return sent;
}

static bool
run(const settings *s)
{
	static histogram commits;
	int64_t		begin = now_ns();
	uint64_t	sent;
	uint64_t	expected;

	clients_start(s);
	report_memory("before");
	if (!clients_join(JOIN_PATIENCE))
		die("only %d of %d clients have joined", received.joined, s->clients);
	printf("join_seconds %.3f\n", (double) (now_ns() - begin) / SECOND);
	report_memory("joined");

	watch_begin();
	begin = now_ns();
	sent = publish(s, &commits);
	watch_end();
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

static void
usage(void)
{
	fprintf(stderr,
			"usage: load --port=PORT --clients=N [OPTION]...\n"
			"  --secret=TEXT        of the tokens (JWT_SECRET)\n"
			"  --room-size=N        people in a conversation (2)\n"
			"  --fill               make people and conversations\n"
			"  --writers=N          threads that insert (0)\n"
			"  --rate=N             messages a second (as many as can be)\n"
			"  --seconds=N          for so long (5)\n"
			"  --warmup=N           but time only what is sent after so long\n"
			"  --rounds=N           or so many bursts, one at a time\n"
			"  --burst=N            messages in a transaction (1)\n"
			"  --text-size=N        bytes of a message (120)\n"
			"  --heartbeat=SECONDS  of each client (0: none)\n"
			"  --hub                the port is that of hub.c\n"
			"  --watch=NAME=PID     tell what a process uses\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	enum
	{
		PORT = 1, CLIENTS, SECRET, ROOM_SIZE, FILL, WRITERS, RATE, SECONDS,
		WARMUP, ROUNDS, BURST, TEXT_SIZE, HEARTBEAT, HUB, WATCH
	};
	static const struct option options[] = {
		{"port", required_argument, NULL, PORT},
		{"clients", required_argument, NULL, CLIENTS},
		{"secret", required_argument, NULL, SECRET},
		{"room-size", required_argument, NULL, ROOM_SIZE},
		{"fill", no_argument, NULL, FILL},
		{"writers", required_argument, NULL, WRITERS},
		{"rate", required_argument, NULL, RATE},
		{"seconds", required_argument, NULL, SECONDS},
		{"warmup", required_argument, NULL, WARMUP},
		{"rounds", required_argument, NULL, ROUNDS},
		{"burst", required_argument, NULL, BURST},
		{"text-size", required_argument, NULL, TEXT_SIZE},
		{"heartbeat", required_argument, NULL, HEARTBEAT},
		{"hub", no_argument, NULL, HUB},
		{"watch", required_argument, NULL, WATCH},
		{0}
	};
	settings	s = {
		.secret = getenv("JWT_SECRET"),.room_size = 2,.burst = 1,
		.seconds = 5,.text_size = 120
	};
	bool		fill = false;
	int			option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option)
		{
			case PORT:
				s.port = atoi(optarg);
				break;
			case CLIENTS:
				s.clients = atoi(optarg);
				break;
			case SECRET:
				s.secret = optarg;
				break;
			case ROOM_SIZE:
				s.room_size = atoi(optarg);
				break;
			case FILL:
				fill = true;
				break;
			case WRITERS:
				s.writers = atoi(optarg);
				break;
			case RATE:
				s.rate = atof(optarg);
				break;
			case SECONDS:
				s.seconds = atof(optarg);
				break;
			case WARMUP:
				s.warmup = atof(optarg);
				break;
			case ROUNDS:
				s.rounds = atoi(optarg);
				break;
			case BURST:
				s.burst = atoi(optarg);
				break;
			case TEXT_SIZE:
				s.text_size = atoi(optarg);
				break;
			case HEARTBEAT:
				s.heartbeat = atof(optarg);
				break;
			case HUB:
				s.hub = true;
				break;
			case WATCH:
				add_watched(optarg);
				break;
			default:
				usage();
		}
	if (optind < argc || s.port <= 0 || s.clients <= 0 || s.room_size <= 0 ||
		s.clients % s.room_size != 0 || s.burst <= 0 || s.text_size < 80 ||
		s.secret == NULL)
		usage();

	raise_file_limit(s.clients + 100);
	if (fill)
		writers_fill(&s);
	return run(&s) ? 0 : 1;
}
