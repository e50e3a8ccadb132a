# What is counted and measured, as Prometheus and as SQL see it, who may see
# it, and whether the service works.

use strict;
use warnings;

use GatewayCluster;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

my $node = GatewayCluster->new('main',
	'openhr_msg.gateways' => 2,
	'openhr_msg.executors' => 1,
	'openhr_msg.region' => q('eu "1\\\\'),
	'openhr_msg.max_connections' => 7,
	'openhr_msg.max_queue_bytes' => "'64kB'",
	'openhr_msg.max_message_bytes' => "'16MB'")->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);

sub call
{
	my ($path, %args) = @_;
	my $client = WebSocket->dial(port => $node->gateway_port);
	my %headers = (Host => 'localhost', %{ $args{headers} // {} });

	$client->send_bytes(join "\r\n", ($args{method} // 'GET') . " $path HTTP/1.1",
		(map { "$_: $headers{$_}" } sort keys %headers), '', '');
	$client->{status} = $client->read_answer;
	return $client;
}

# All numbers, by "name{labels}".
sub scrape
{
	my $answer = call('/metrics');

	die "scrape: $answer->{status}\n" if $answer->{status} != 200;
	return { map { /^(.*) (\S+)$/ ? ($1 => $2) : () }
		grep { !/^#/ } split /\n/, $answer->{body} };
}

sub number { return scrape()->{ $_[0] } }

# A gateway shows its numbers at the end of a turn, a little after clients can
# see what it did.
sub becomes
{
	my ($name, $wanted, $text) = @_;
	my $got;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	do
	{
		sleep 0.05 if defined $got;
		$got = number($name) // 'nothing';
	} until $got eq $wanted || time > $deadline;
	is($got, $wanted, $text);
	return;
}

# In the form of Prometheus

my $answer = call('/metrics');
is($answer->{status}, 200, 'the metrics are there');
like($answer->{head}, qr{^Content-Type: text/plain; version=0\.0\.4; charset=utf-8\r$}m,
	'... of the type that Prometheus wants');
is(call('/metrics', method => 'HEAD')->{body}, '', '... for HEAD without them');
is(call('/metrics', method => 'POST', headers => { 'Content-Length' => 0 })->{status},
	405, '... and not for POST');

my ($promtool_said, $promtool_complains);
ok( IPC::Run::run(
		[ 'promtool', 'check', 'metrics' ],
		'<' => \$answer->{body},
		'>' => \$promtool_said,
		'2>' => \$promtool_complains),
	'promtool has nothing against them')
  or diag "$promtool_said$promtool_complains";

my %document = map { $_ => 1 } $answer->{body} =~ /^# TYPE (.*)$/mg;
ok($document{$_}, "there is $_")
  foreach 'realtime_messages_total counter', 'realtime_latency_seconds histogram',
  'realtime_connections gauge', 'message_spam_reports_total counter';
my @buckets = $answer->{body} =~ /^realtime_latency_seconds_bucket\{le="(.*?)"\}/mg;
is("@buckets", '0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.3 0.5 1 2 5 +Inf',
	'buckets of the latency');
ok(exists scrape()->{'realtime_connections{region="eu \\"1\\\\"}'},
	'a label is escaped');

# What happens is counted

my $before = scrape();
my @readers = map { $node->subscribe($ben, pongs => 1) } 1 .. 2;
becomes('realtime_connections{region="eu \\"1\\\\"}', 2, 'two are connected');
$node->wait_until(
	sub {
		my $now = scrape();
		my $sum = 0;
		$sum += $now->{"openhr_msg_gateway_channels{gateway=\"$_\"}"} foreach 0, 1;
		return $sum == 2;
	},
	'two channels are shown');
pass('... and have joined');

$node->say($talk, $ana, "message $_") foreach 1 .. 5;
foreach my $reader (@readers)
{
	$reader->next_event('postgres_changes') foreach 1 .. 5;
}
my $sent = $before->{'realtime_messages_total{status="sent"}'} + 5;
becomes('realtime_messages_total{status="sent"}', $sent, 'five were sent');

# Their pings come within a second; to answer, they must read.
my $asked = 0;
my $arrived;
do
{
	$_->heartbeat foreach @readers;
	sleep 0.1;
	$arrived = number('realtime_messages_total{status="delivered"}');
} until $arrived >= 5 || $asked++ > 300;
cmp_ok($arrived, '>=', 5, 'and have arrived');

foreach ([ 'decoded', 5 ], [ 'queued', 10 ], [ 'written', 10 ])
{
	my $name = "openhr_msg_stage_seconds_count{stage=\"$_->[0]\"}";

	becomes($name, $before->{$name} + $_->[1], "times until they were $_->[0]");
}
becomes('realtime_latency_seconds_count',
	$before->{realtime_latency_seconds_count} + 10,
	'the latency is that of all deliveries');
$node->wait_until(
	sub { number('openhr_msg_calls_total{call="receipts"}') > 0 },
	'receipts are written');
my $now = scrape();
cmp_ok($now->{'openhr_msg_stage_seconds_count{stage="acknowledged"}'},
	'>', 0, 'times until they have arrived');
cmp_ok($now->{realtime_latency_seconds_sum}, '>', 0, 'it takes a time');
cmp_ok($now->{realtime_latency_seconds_sum}, '<', 100, '... but not long');
cmp_ok($now->{'openhr_msg_calls_total{call="load_user"}'}, '>', 0, 'calls');
cmp_ok($now->{openhr_msg_call_answer_seconds_count}, '>=',
	$now->{openhr_msg_call_seconds_count} - 5, '... and their times');
is($now->{'openhr_msg_workers{worker="executor",state="running"}'}, 2, 'workers');
is($now->{openhr_msg_max_connections}, 7, 'the limit');
cmp_ok($now->{openhr_msg_slot_lag_bytes}, '<', 1 << 28, 'the slot');
is($now->{openhr_msg_slot_max_lag_bytes}, 1 << 30, '... and its limit');
cmp_ok($now->{'openhr_msg_wakeups_total{worker="streamer"}'}, '>', 0, 'wake-ups');

# A rollback is no message.
$node->value("BEGIN; INSERT INTO messages (conversation_id, content)
	VALUES ('$talk', 'never'); ROLLBACK");
$node->say($talk, $ana, 'one more');
becomes('realtime_messages_total{status="sent"}', $sent + 1,
	'what was rolled back was not sent');

# Reports, once they are committed, and once each

my $message = $node->value("SELECT id FROM messages
	WHERE conversation_id = '$talk' AND seq = 1");
my $token = $node->token($ben);
my $report = "SELECT FROM openhr_msg.authenticate('$token');
	SET ROLE authenticated;
	SELECT FROM openhr_msg.report_message('$message', 'spam', ";
$node->value("BEGIN; $report 'high'); ROLLBACK");
$node->value("$report 'low')");
$node->value("$report 'medium')");
$now = scrape();
is($now->{"message_spam_reports_total{severity=\"$_->[0]\"}"}, $_->[1],
	"reports: $_->[0]")
  foreach [ 'low', 1 ], [ 'medium', 0 ], [ 'high', 0 ];
is($now->{'message_spam_reports{severity="low"}'}, 1, '... under both names');

# Answers over HTTP

call('/nowhere');
my $name = 'openhr_msg_http_responses_total{status="4xx"}';
my $answers = number($name);
call('/nowhere');
becomes($name, $answers + 1, 'answers are counted');

# Refusals, by reason

foreach (
	[ 'token', sub { call('/realtime/v1/websocket', headers => {
		'Upgrade' => 'websocket', 'Connection' => 'Upgrade',
		'Sec-WebSocket-Version' => 13,
		'Sec-WebSocket-Key' => 'c2l4dGVlbiBieXRlcyBvaw==' }) } ],
	[ 'malformed', sub { call('/metrics', headers => { 'Bad Name' => 1 }) } ],
	[ 'token', sub { call('/realtime/v1/api/broadcast', method => 'POST',
		headers => { 'Content-Length' => 2 }) } ])
{
	my ($reason, $do) = @$_;
	my $name = "openhr_msg_refused_total{reason=\"$reason\"}";
	my $count = number($name);

	$do->();
	becomes($name, $count + 1, "refused: $reason");
}
my $refused = sub { my $n = scrape(); my $all = 0;
	$all += $n->{$_} foreach grep { /^openhr_msg_refused_total/ } keys %$n;
	return $all };
my $all = $refused->();
call('/nowhere');
is($refused->(), $all, 'who asks for another path was refused nothing');

# Whom a slow reader's messages do not reach

my $slow = $node->subscribe($ben, receive_buffer => 4096);
$node->value("INSERT INTO messages (conversation_id, content)
	SELECT '$talk', repeat('x', 100000) FROM generate_series(1, 40)");
becomes('openhr_msg_slow_readers_total', 3, 'slow readers are cut');
cmp_ok(number('realtime_messages_total{status="failed"}'), '>', 0,
	'... before they have got their messages');
$_->close foreach $slow, @readers;
becomes('realtime_connections{region="eu \\"1\\\\"}', 0, 'all are gone');
becomes("openhr_msg_gateway_queue_bytes{gateway=\"$_\"}", 0,
	"... and so is what was to be written to them by gateway $_")
  foreach 0, 1;

# SQL sees the same

my %in_sql = map { /^(.*)\t(\S+)$/ } split /\n/, $node->safe_psql('postgres',
	"SELECT metric || coalesce('{' || string_agg(key || '=' || to_json(l.value),
			',' ORDER BY place) || '}', ''), min(s.value::text)
	 FROM openhr_msg.stats s
		LEFT JOIN jsonb_each_text(labels) WITH ORDINALITY
			AS l (key, value, place) ON true
	 WHERE metric ~ '^(realtime_messages|realtime_conn|openhr_msg_workers|openhr_msg_frames)'
	 GROUP BY metric, labels ORDER BY 1", extra_params => [ '-F', "\t" ]);
$now = scrape();
is($in_sql{$_}, $now->{$_}, "SQL: $_")
  foreach grep { /^(realtime_messages|realtime_conn|openhr_msg_frames)/ }
  sort keys %$now;
is($node->value("SELECT count(*) FROM openhr_msg.stats
		WHERE type IS NULL OR help IS NULL OR value IS NULL OR labels IS NULL"),
	0, 'all that belongs to it is told');
$node->value('CREATE ROLE nobody; CREATE ROLE watcher IN ROLE pg_monitor');
isnt($node->psql('postgres', 'SET ROLE nobody; TABLE openhr_msg.stats'), 0,
	'not everybody may look');
is($node->psql('postgres', 'SET ROLE watcher; TABLE openhr_msg.stats'), 0,
	'... but members of pg_monitor may');

# Totals go on when workers are restarted.

my @totals = ('realtime_messages_total{status="sent"}',
	'realtime_messages_total{status="delivered"}',
	'realtime_messages_total{status="failed"}',
	'openhr_msg_frames_total', 'realtime_latency_seconds_count');
$before = scrape();
$node->terminate($_) foreach qw(streamer gateway executor);
$node->wait_until(sub { $node->is_listening }, 'the gateway listens');
$now = scrape();
is($now->{$_}, $before->{$_}, "after a restart: $_") foreach @totals;

# Who may look

is(call('/metrics', headers => { 'X-Forwarded-For' => '10.0.0.1' })->{status},
	403, 'who comes through a proxy may not see the metrics');
my $service = $node->token(undef, role => 'service_role');
is( call('/metrics', headers => {
		'X-Forwarded-For' => '10.0.0.1', Authorization => "Bearer $service" })->{status},
	200, '... unless by a token of service_role');
$node->append_conf('postgresql.conf',
	"openhr_msg.metrics_clients = '10.0.0.0/8, ::/0'");
$node->reload;
$node->wait_until(sub { call('/metrics')->{status} == 403 },
	'other addresses may look, this one may not');
pass('addresses follow a reload');
is( call('/metrics', headers => {
		Authorization => 'Bearer ' . $node->token($ana) })->{status},
	403, 'an ordinary token is not enough');
is(call('/healthz')->{status}, 200, 'the health is for all');
my ($status, undef, $error) = $node->psql('postgres',
	"ALTER SYSTEM SET openhr_msg.metrics_clients = 'localhost'");
like($error, qr/Entries are numeric addresses/, 'names are no addresses');

# Health

my $health = call('/healthz');
is_deeply(
	{ %{ decode_json($health->{body}) }, gateway => 0 },
	{
		status => 'ok', gateway => 0, streamer => 'running', slot => 'ready',
		executors => { running => 1, wanted => 1 } },
	'all is well');
is(call('/healthz', method => 'HEAD')->{body}, '', '... told by HEAD, too');

sub health_of
{
	my ($wanted, $text) = @_;
	my ($health, $body);

	$node->wait_until(
		sub {
			$health = call('/healthz');
			$body = $health->{body};
			return $body =~ $wanted;
		},
		$text);
	return $health->{status};
}

# The one executor of the gateway that answers ends, and comes back.
$node->value("SELECT pg_terminate_backend(pid, 10000) FROM openhr_msg.status()
	WHERE worker = 'executor'");
is(health_of(qr/"running":0,/, 'no executor'), 503, 'without an executor');
is(health_of(qr/"status":"ok"/, 'it is back'), 200, '... until it is back');

# A streamer that stands still
my $streamer = $node->status('pid', 'streamer');
$node->append_conf('postgresql.conf',
	"openhr_msg.max_slot_lag = '1MB'\nopenhr_msg.metrics_clients = '*'");
$node->reload;
$node->wait_until(sub { call('/metrics')->{status} == 200 }, 'all may look');
my $resets = number('openhr_msg_slot_resets_total');
kill STOP => $streamer;
$node->value("SELECT pg_logical_emit_message(false, 'x', repeat('x', 3000000))");
is(health_of(qr/"slot":"lagging"/, 'the slot lags'), 503,
	'with a slot that lags');
cmp_ok(number('openhr_msg_slot_lag_bytes'), '>', 1 << 20, '... by as much');
kill CONT => $streamer;
is(health_of(qr/"status":"ok"/, 'the slot is made anew'), 200,
	'... until it is made anew');
cmp_ok(number('openhr_msg_slot_resets_total'), '>', $resets,
	'... which is counted');

$node->value('DROP EXTENSION openhr_msg');
is(health_of(qr/"streamer":"waiting","slot":"missing"/,
		'no extension: nothing to stream'), 503, 'without the extension');
like(call('/healthz')->{body}, qr/"status":"unavailable"/, '... it says so');
$node->value('CREATE EXTENSION openhr_msg');
is(health_of(qr/"status":"ok"/, 'it works again'), 200, 'and with it again');

$node->stop;

done_testing();
