/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  The numbers of all workers, added up: for the view openhr_msg.stats, and
 *	  for whoever scrapes a gateway.
 *
 * What there is stands in one table, in the order in which it is shown, with
 * the words that explain it.  The names are those of the document that this
 * extension implements, where it has one, and otherwise begin with the
 * extension's.  (It has a counter without "_total", against what Prometheus
 * expects.  That one is there under both names; under its own it has no type,
 * which is all that is possible, and enough for rate().)
 *
 * Labels have a few values, known beforehand; nothing that a client sent, and
 * no id of anything, can become one.
 *
 * Reading takes no lock, so the numbers of a moment may be a little apart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "openhr_msg.h"

PG_FUNCTION_INFO_V1(msg_stats);

typedef struct Metric Metric;
typedef struct Reader Reader;

struct Metric
{
	const char *name;
	const char *type;			/* NULL: that of the line above, whose name it
								 * has, too */
	const char *help;
	void		(*read) (const Metric *m, Reader *reader);
	int			index;			/* for read */
	MsgLabel	label;			/* or none */
};

/* Who wants to know. */
struct Reader
{
	MsgSampleTaker take;
	void	   *arg;
	const char *type;			/* of the family under way */
	const char *help;
};

static void read_counter(const Metric *m, Reader *reader);
static void read_wakeups(const Metric *m, Reader *reader);
static void read_latency(const Metric *m, Reader *reader);
static void read_gauge(const Metric *m, Reader *reader);
static void read_connections(const Metric *m, Reader *reader);
static void read_certificate(const Metric *m, Reader *reader);
static void read_reports(const Metric *m, Reader *reader);
static void read_workers(const Metric *m, Reader *reader);
static void read_lag(const Metric *m, Reader *reader);
static void read_max_lag(const Metric *m, Reader *reader);
static void read_epoch(const Metric *m, Reader *reader);
static void read_max_connections(const Metric *m, Reader *reader);
static void read_version(const Metric *m, Reader *reader);

#define FAMILY(name, type, help)	name, type, help
#define SAME(name)					name, NULL, NULL
#define CALL(kind)					(MSG_COUNT_CALLS + (kind))
#define ANSWER(status)				(MSG_COUNT_ANSWERS + (status) / 100 - 2)
#define REFUSED(reason)				(MSG_COUNT_REFUSED + (reason))

static const Metric metrics[] = {
	{FAMILY("realtime_messages_total", "counter",
			"Messages: committed (sent), arrived at a reader (delivered), not written to a reader before the connection ended (failed)."),
	read_counter, MSG_COUNT_SENT, {"status", "sent"}},
	{SAME("realtime_messages_total"),
	read_counter, MSG_COUNT_DELIVERED, {"status", "delivered"}},
	{SAME("realtime_messages_total"),
	read_counter, MSG_COUNT_FAILED, {"status", "failed"}},
	{FAMILY("realtime_latency_seconds", "histogram",
			"Time from a message's commit until it was handed to the socket of a reader."),
	read_latency, MSG_LATENCY_WRITTEN, {0}},
	{FAMILY("realtime_connections", "gauge",
			"Open WebSockets."),
	read_connections, 0, {0}},
	{FAMILY("message_spam_reports", "untyped",
			"Reports about messages; the same as message_spam_reports_total."),
	read_reports, 0, {"severity", "low"}},
	{SAME("message_spam_reports"), read_reports, 1, {"severity", "medium"}},
	{SAME("message_spam_reports"), read_reports, 2, {"severity", "high"}},
	{FAMILY("message_spam_reports_total", "counter",
			"Reports about messages."),
	read_reports, 0, {"severity", "low"}},
	{SAME("message_spam_reports_total"),
	read_reports, 1, {"severity", "medium"}},
	{SAME("message_spam_reports_total"),
	read_reports, 2, {"severity", "high"}},

	{FAMILY("openhr_msg_stage_seconds", "histogram",
			"Time from a message's commit until it was decoded, queued by a gateway, written to a reader's socket, acknowledged by the reader's machine."),
	read_latency, MSG_LATENCY_DECODED, {"stage", "decoded"}},
	{SAME("openhr_msg_stage_seconds"),
	read_latency, MSG_LATENCY_QUEUED, {"stage", "queued"}},
	{SAME("openhr_msg_stage_seconds"),
	read_latency, MSG_LATENCY_WRITTEN, {"stage", "written"}},
	{SAME("openhr_msg_stage_seconds"),
	read_latency, MSG_LATENCY_ACKNOWLEDGED, {"stage", "acknowledged"}},

	{FAMILY("openhr_msg_workers", "gauge",
			"Background workers in each state."),
	read_workers, 0, {0}},
	{FAMILY("openhr_msg_slot_lag_bytes", "gauge",
			"WAL that the replication slot holds back."),
	read_lag, 0, {0}},
	{FAMILY("openhr_msg_slot_max_lag_bytes", "gauge",
			"WAL that it may hold back before it is made anew."),
	read_max_lag, 0, {0}},
	{FAMILY("openhr_msg_slot_resets_total", "counter",
			"How often the slot was made or dropped, and clients had to read the tables anew."),
	read_epoch, 0, {0}},
	{FAMILY("openhr_msg_events_total", "counter",
			"Changes of the tables that the streamer has decoded."),
	read_counter, MSG_COUNT_EVENTS, {0}},
	{FAMILY("openhr_msg_wakeups_total", "counter",
			"How often workers of a kind woke up."),
	read_wakeups, MSG_STREAMER, {"worker", "streamer"}},
	{SAME("openhr_msg_wakeups_total"),
	read_wakeups, MSG_GATEWAY, {"worker", "gateway"}},
	{SAME("openhr_msg_wakeups_total"),
	read_wakeups, MSG_EXECUTOR, {"worker", "executor"}},

	{FAMILY("openhr_msg_max_connections", "gauge",
			"Connections that one gateway takes at most."),
	read_max_connections, 0, {0}},
	{FAMILY("openhr_msg_gateway_connections", "gauge",
			"Open WebSockets of a gateway."),
	read_gauge, MSG_GAUGE_CONNECTIONS, {0}},
	{FAMILY("openhr_msg_gateway_sockets", "gauge",
			"Sockets of a gateway, in whatever state."),
	read_gauge, MSG_GAUGE_SOCKETS, {0}},
	{FAMILY("openhr_msg_gateway_channels", "gauge",
			"Channels that clients of a gateway have joined."),
	read_gauge, MSG_GAUGE_CHANNELS, {0}},
	{FAMILY("openhr_msg_gateway_queue_bytes", "gauge",
			"Memory of frames that wait to be written."),
	read_gauge, MSG_GAUGE_QUEUE_BYTES, {0}},
	{FAMILY("openhr_msg_gateway_calls", "gauge",
			"Calls of a gateway that its executors have not answered yet."),
	read_gauge, MSG_GAUGE_CALLS, {0}},
	{FAMILY("openhr_msg_certificate_expiry_timestamp_seconds", "gauge",
			"When the certificate that a gateway shows expires."),
	read_certificate, 0, {0}},

	{FAMILY("openhr_msg_frames_total", "counter",
			"Frames queued for clients."),
	read_counter, MSG_COUNT_FRAMES, {0}},
	{FAMILY("openhr_msg_signals_total", "counter",
			"Broadcasts and changes of presence that gateways have taken, each gateway on its own."),
	read_counter, MSG_COUNT_SIGNALS, {0}},
	{FAMILY("openhr_msg_ephemera_dropped_total", "counter",
			"Frames of broadcast and presence that slow readers did not get."),
	read_counter, MSG_COUNT_DROPPED, {0}},
	{FAMILY("openhr_msg_slow_readers_total", "counter",
			"Connections that were cut because their queue was full."),
	read_counter, MSG_COUNT_SLOW_READERS, {0}},
	{FAMILY("openhr_msg_receipts_total", "counter",
			"Ranges of messages that are known to have arrived."),
	read_counter, MSG_COUNT_RECEIPTS, {0}},
	{FAMILY("openhr_msg_receipts_lost_total", "counter",
			"Ranges of messages of which nobody knows, or could write down, that they have arrived."),
	read_counter, MSG_COUNT_RECEIPTS_LOST, {0}},
	{FAMILY("openhr_msg_caught_up_total", "counter",
			"Changes that were read from the tables for who had missed them."),
	read_counter, MSG_COUNT_CAUGHT_UP, {0}},
	{FAMILY("openhr_msg_positions_lost_total", "counter",
			"Positions of clients that could not be saved: such a client may get again what it has."),
	read_counter, MSG_COUNT_POSITIONS_LOST, {0}},
	{FAMILY("openhr_msg_refused_total", "counter",
			"Requests and handshakes that were refused, by reason."),
	read_counter, REFUSED(MSG_REFUSED_TOKEN), {"reason", "token"}},
	{SAME("openhr_msg_refused_total"),
	read_counter, REFUSED(MSG_REFUSED_FORBIDDEN), {"reason", "forbidden"}},
	{SAME("openhr_msg_refused_total"),
	read_counter, REFUSED(MSG_REFUSED_MALFORMED), {"reason", "malformed"}},
	{SAME("openhr_msg_refused_total"),
	read_counter, REFUSED(MSG_REFUSED_TIMEOUT), {"reason", "timeout"}},
	{SAME("openhr_msg_refused_total"),
	read_counter, REFUSED(MSG_REFUSED_RATE), {"reason", "rate"}},
	{SAME("openhr_msg_refused_total"),
	read_counter, REFUSED(MSG_REFUSED_BUSY), {"reason", "busy"}},
	{SAME("openhr_msg_refused_total"),
	read_counter, REFUSED(MSG_REFUSED_TLS), {"reason", "tls"}},
	{SAME("openhr_msg_refused_total"),
	read_counter, REFUSED(MSG_REFUSED_OTHER), {"reason", "other"}},
	{FAMILY("openhr_msg_http_responses_total", "counter",
			"Answers to requests that were for no WebSocket, and refused handshakes, by class of status."),
	read_counter, ANSWER(200), {"status", "2xx"}},
	{SAME("openhr_msg_http_responses_total"),
	read_counter, ANSWER(300), {"status", "3xx"}},
	{SAME("openhr_msg_http_responses_total"),
	read_counter, ANSWER(400), {"status", "4xx"}},
	{SAME("openhr_msg_http_responses_total"),
	read_counter, ANSWER(500), {"status", "5xx"}},
	{FAMILY("openhr_msg_tls_handshakes_total", "counter",
			"TLS handshakes that succeeded."),
	read_counter, MSG_COUNT_HANDSHAKES, {0}},

	{FAMILY("openhr_msg_calls_total", "counter",
			"Calls that executors have answered, by what was asked."),
	read_counter, CALL(1), {"call", "load_user"}},
	{SAME("openhr_msg_calls_total"), read_counter, CALL(2), {"call", "describe"}},
	{SAME("openhr_msg_calls_total"), read_counter, CALL(3), {"call", "receipts"}},
	{SAME("openhr_msg_calls_total"), read_counter, CALL(4), {"call", "mark"}},
	{SAME("openhr_msg_calls_total"), read_counter, CALL(5), {"call", "catch_up"}},
	{SAME("openhr_msg_calls_total"),
	read_counter, CALL(6), {"call", "save_positions"}},
	{SAME("openhr_msg_calls_total"), read_counter, CALL(7), {"call", "replay"}},
	{SAME("openhr_msg_calls_total"), read_counter, CALL(8), {"call", "request"}},
	{SAME("openhr_msg_calls_total"), read_counter, CALL(0), {"call", "other"}},
	{FAMILY("openhr_msg_calls_failed_total", "counter",
			"Calls that were answered with an error."),
	read_counter, MSG_COUNT_CALLS_FAILED, {0}},
	{FAMILY("openhr_msg_call_seconds", "histogram",
			"Time in which an executor was at work on a call."),
	read_latency, MSG_LATENCY_CALL, {0}},
	{FAMILY("openhr_msg_call_answer_seconds", "histogram",
			"Time in which a gateway waited for the answer to a call, including that before an executor took it."),
	read_latency, MSG_LATENCY_ANSWER, {0}},

	{FAMILY("openhr_msg_info", "gauge", "1, with the version that runs."),
	read_version, 0, {0}},
};

/* ----------
 * Writing
 * ----------
 */

void
msg_metrics_init(MsgMetrics *m)
{
	for (int i = 0; i < MSG_COUNTERS; i++)
		pg_atomic_init_u64(&m->counters[i], 0);
	for (int i = 0; i < MSG_GAUGES; i++)
		pg_atomic_init_u64(&m->gauges[i], 0);
	for (int i = 0; i < MSG_LATENCIES; i++)
	{
		for (int b = 0; b < LATENCY_BUCKETS; b++)
			pg_atomic_init_u64(&m->latencies[i][b], 0);
		pg_atomic_init_u64(&m->latency_sums[i], 0);
	}
}

void
msg_metrics_clear_gauges(MsgMetrics *m)
{
	for (int i = 0; i < MSG_GAUGES; i++)
		pg_atomic_write_u64(&m->gauges[i], 0);
}

/* ----------
 * Reading
 * ----------
 */

static MsgSample
sample_of(const Metric *m, const Reader *reader)
{
	MsgSample	sample = {
		.family = m->name,
		.suffix = "",
		.type = reader->type,
		.help = reader->help,
	};

	if (m->label.name)
		sample.labels[sample.nlabels++] = m->label;
	return sample;
}

static void
add_label(MsgSample *sample, const char *name, const char *value)
{
	Assert(sample->nlabels < MSG_MAX_LABELS);
	sample->labels[sample->nlabels++] = (MsgLabel) {name, value};
}

static void
tell(Reader *reader, MsgSample *sample, double value)
{
	sample->value = value;
	reader->take(reader->arg, sample);
}

static void
tell_plain(const Metric *m, Reader *reader, double value)
{
	MsgSample	sample = sample_of(m, reader);

	tell(reader, &sample, value);
}

static MsgMetrics *
metrics_of(int slot)
{
	return &msg_shared->slots[slot].metrics;
}

static void
read_counter(const Metric *m, Reader *reader)
{
	uint64		sum = 0;

	for (int i = 0; i < msg_shared->nslots; i++)
		sum += pg_atomic_read_u64(&metrics_of(i)->counters[m->index]);
	tell_plain(m, reader, sum);
}

static void
read_wakeups(const Metric *m, Reader *reader)
{
	uint64		sum = 0;

	for (int i = 0; i < msg_shared->nslots; i++)
		if ((int) msg_shared->slots[i].kind == m->index)
			sum += pg_atomic_read_u64(&metrics_of(i)->counters[MSG_COUNT_WAKEUPS]);
	tell_plain(m, reader, sum);
}

/* Of all workers: one bucket (of them alone), or (-1) the sum. */
static uint64
sum_latencies(int which, int bucket)
{
	uint64		sum = 0;

	for (int i = 0; i < msg_shared->nslots; i++)
	{
		MsgMetrics *m = metrics_of(i);

		sum += pg_atomic_read_u64(bucket < 0 ? &m->latency_sums[which] :
								  &m->latencies[which][bucket]);
	}
	return sum;
}

/* Buckets are cumulative there, and the last one is the number of all. */
static void
read_latency(const Metric *m, Reader *reader)
{
	MsgSample	sample = sample_of(m, reader);
	int			le = sample.nlabels;
	uint64		count = 0;

	sample.suffix = "_bucket";
	for (int b = 0; b < LATENCY_BUCKETS; b++)
	{
		count += sum_latencies(m->index, b);
		sample.nlabels = le;
		add_label(&sample, "le",
				  b < LATENCY_BUCKETS - 1 ? latency_bounds[b].text : "+Inf");
		tell(reader, &sample, count);
	}

	sample.nlabels = le;
	sample.suffix = "_sum";
	tell(reader, &sample, sum_latencies(m->index, -1) / 1e6);
	sample.suffix = "_count";
	tell(reader, &sample, count);
}

static uint64
gauge(int gateway, int index)
{
	MsgMetrics *m = metrics_of(MSG_SLOT_GATEWAY(gateway));

	return pg_atomic_read_u64(&m->gauges[index]);
}

static void
tell_gateway(const Metric *m, Reader *reader, int gateway, double value)
{
	MsgSample	sample = sample_of(m, reader);
	char		number[12];

	snprintf(number, sizeof(number), "%d", gateway);
	add_label(&sample, "gateway", number);
	tell(reader, &sample, value);
}

static void
read_gauge(const Metric *m, Reader *reader)
{
	for (int g = 0; g < msg_gateways; g++)
		tell_gateway(m, reader, g, gauge(g, m->index));
}

static void
read_certificate(const Metric *m, Reader *reader)
{
	for (int g = 0; g < msg_gateways; g++)
	{
		uint64		until = gauge(g, MSG_GAUGE_CERTIFICATE);

		if (until != 0)
			tell_gateway(m, reader, g, until);
	}
}

static void
read_connections(const Metric *m, Reader *reader)
{
	MsgSample	sample = sample_of(m, reader);
	uint64		sum = 0;

	for (int g = 0; g < msg_gateways; g++)
		sum += gauge(g, MSG_GAUGE_CONNECTIONS);
	add_label(&sample, "region", msg_region);
	tell(reader, &sample, sum);
}

static void
read_reports(const Metric *m, Reader *reader)
{
	tell_plain(m, reader, pg_atomic_read_u64(&msg_shared->reports[m->index]));
}

static int
count_workers(MsgWorkerKind kind, MsgWorkerState state)
{
	int			n = 0;

	for (int i = 0; i < msg_shared->nslots; i++)
	{
		volatile MsgWorkerSlot *slot = &msg_shared->slots[i];

		n += slot->kind == kind && slot->state == state;
	}
	return n;
}

static void
read_workers(const Metric *m, Reader *reader)
{
	for (int kind = MSG_STREAMER; kind <= MSG_EXECUTOR; kind++)
		for (int state = MSG_WORKER_DOWN; state <= MSG_WORKER_RUNNING; state++)
		{
			MsgSample	sample = sample_of(m, reader);

			add_label(&sample, "worker", msg_worker_kind_name(kind));
			add_label(&sample, "state", msg_worker_state_name(state));
			tell(reader, &sample, count_workers(kind, state));
		}
}

bool
msg_slot_lag(uint64 *bytes)
{
	XLogRecPtr	restart_lsn = pg_atomic_read_u64(&msg_shared->slot_restart);
	XLogRecPtr	flushed;

	*bytes = 0;
	if (XLogRecPtrIsInvalid(restart_lsn) || RecoveryInProgress())
		return false;
	flushed = GetFlushRecPtr(NULL);
	if (flushed > restart_lsn)
		*bytes = flushed - restart_lsn;
	return true;
}

static void
read_lag(const Metric *m, Reader *reader)
{
	uint64		bytes;

	if (msg_slot_lag(&bytes))
		tell_plain(m, reader, bytes);
}

static void
read_max_lag(const Metric *m, Reader *reader)
{
	tell_plain(m, reader, msg_max_slot_lag * 1048576.0);
}

static void
read_epoch(const Metric *m, Reader *reader)
{
	tell_plain(m, reader, pg_atomic_read_u32(&msg_shared->epoch));
}

static void
read_max_connections(const Metric *m, Reader *reader)
{
	tell_plain(m, reader, msg_max_connections);
}

static void
read_version(const Metric *m, Reader *reader)
{
	MsgSample	sample = sample_of(m, reader);

	add_label(&sample, "version", MSG_VERSION);
	tell(reader, &sample, 1);
}

void
msg_metrics_collect(MsgSampleTaker take, void *arg)
{
	Reader		reader = {.take = take,.arg = arg};

	for (size_t i = 0; i < lengthof(metrics); i++)
	{
		const Metric *m = &metrics[i];

		if (m->type)
		{
			reader.type = m->type;
			reader.help = m->help;
		}
		m->read(m, &reader);
	}
}

/* ----------
 * Reports, which ordinary sessions count
 * ----------
 */

static int	reported[MSG_SEVERITIES];

static void
count_reports(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	for (int i = 0; i < MSG_SEVERITIES; i++)
	{
		if (reported[i] > 0 && event == XACT_EVENT_COMMIT)
			pg_atomic_fetch_add_u64(&msg_shared->reports[i], reported[i]);
		reported[i] = 0;
	}
}

void
msg_metrics_report(int severity)
{
	static bool registered = false;

	Assert(severity >= 0 && severity < MSG_SEVERITIES);
	if (msg_shared == NULL)
		return;
	if (!registered)
		RegisterXactCallback(count_reports, NULL);
	registered = true;
	reported[severity]++;
}

/* ----------
 * SQL
 * ----------
 */

static Datum
labels_datum(const MsgSample *sample)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < sample->nlabels; i++)
	{
		appendStringInfoString(&json, i > 0 ? ", " : "");
		escape_json(&json, sample->labels[i].name);
		appendStringInfoString(&json, ": ");
		escape_json(&json, sample->labels[i].value);
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

static void
put_sample(void *arg, const MsgSample *sample)
{
	ReturnSetInfo *result = arg;
	Datum		values[] = {
		CStringGetTextDatum(psprintf("%s%s", sample->family, sample->suffix)),
		labels_datum(sample),
		Float8GetDatum(sample->value),
		CStringGetTextDatum(sample->type),
		CStringGetTextDatum(sample->help),
	};
	bool		nulls[lengthof(values)] = {0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
msg_stats(PG_FUNCTION_ARGS)
{
	msg_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	msg_metrics_collect(put_sample, fcinfo->resultinfo);
	return (Datum) 0;
}
