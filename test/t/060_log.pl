# No text of a message, no title, no token and no secret gets out where nobody
# asked for it: into the server's log in any of its forms, pg_stat_activity,
# pg_stat_statements, the words of an error, frames to others.
#
# Each route by which text comes in brings a marker of its own, so that what
# is found tells where it came from.  The server logs all it can but the
# statements themselves, of which the gaps are made: what PostgreSQL shows
# whatever an extension does.  Each of them is shown to be there, and to be
# told by check_log_settings(); docs/security.md lists them.

use strict;
use warnings;

use GatewayCluster;
use IPC::Run;
use PostgreSQL::Test::Utils;
use PsqlSession;
use Test::More;
use WebSocket;

my $long = "repeat('x', 20000)";
my $nothing = '00000000-0000-0000-0000-000000000000';

my $node = GatewayCluster->new('log',
	'shared_preload_libraries' =>
	  "'openhr_msg, pg_stat_statements, auto_explain'",
	'logging_collector' => 'on',
	'log_destination' => "'stderr, csvlog, jsonlog'",
	'log_rotation_size' => 0,
	'log_min_messages' => 'debug5',
	'log_error_verbosity' => 'verbose',
	'log_connections' => 'on',
	'log_duration' => 'on',
	'log_lock_waits' => 'on',
	'log_temp_files' => 0,
	'log_replication_commands' => 'on',
	'log_autovacuum_min_duration' => 0,
	'deadlock_timeout' => '50ms',
	'restart_after_crash' => 'on',
	'pg_stat_statements.track' => 'all',
	'pg_stat_statements.track_utility' => 'off');
$node->serve;
$node->value('CREATE EXTENSION pg_stat_statements');

my ($ann, $bob, $eve) = map { $node->person($_) } qw(Ann Bob Eve);
my $talk = $node->conversation($ann, $bob);
my $other = $node->conversation($bob);
my $managed = $node->conversation($ann);
my $archived = $node->conversation($ann);
my $muted = $node->conversation($ann);
$node->say($talk, $ann, 'own');
$node->say($talk, $bob, 'others');
$node->say($talk, $ann, 'forgotten');
my %message = map { $_ => $node->value(
		"SELECT id FROM messages WHERE content = '$_'") }
  qw(own others forgotten);
$node->value(qq{
	UPDATE conversations SET is_archived = true WHERE id = '$archived';
	UPDATE conversation_participants SET is_muted = true
		WHERE conversation_id = '$muted';
	UPDATE conversation_participants SET role = 'admin'
		WHERE conversation_id = '$managed';
	UPDATE messages SET is_deleted = true WHERE id = '$message{forgotten}';
	ALTER TABLE messages ADD CONSTRAINT polite CHECK (content !~ 'rude');
	ALTER TABLE conversations ADD CONSTRAINT polite CHECK (title !~ 'rude');
	CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM 1 / (1 - NEW.seq / NEW.seq); RETURN NULL; END';
	CREATE TRIGGER broken AFTER INSERT ON messages FOR EACH ROW
		WHEN (NEW.content ~ 'broken') EXECUTE FUNCTION broken();
	CREATE FUNCTION say(text) RETURNS uuid LANGUAGE plpgsql AS
		'BEGIN RETURN (openhr_msg.send_message(''$talk'', \$1, ''html'')).id; END';
	CREATE FUNCTION say_sql(text) RETURNS messages LANGUAGE sql AS
		'SELECT openhr_msg.send_message(''$talk'', \$1, ''html'')';
	GRANT EXECUTE ON FUNCTION say, say_sql TO authenticated;
	CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats, pg_read_all_data;
});

my $ann_speaks = qq{SET request.jwt.claims =
	'{"role": "authenticated", "sub": "$ann"}'; SET ROLE authenticated;};

# Markers
my %routes;

sub marker
{
	my ($route) = @_;
	my $marker = sprintf 'marker%04dtext', scalar(keys %routes) + 1;

	$routes{$marker} = $route;
	return $marker;
}

# The routes whose markers are in a text.
sub found
{
	my ($text) = @_;
	my %seen;

	$seen{$_} = 1 for $text =~ /(marker\d{4}text)/g;
	return map { $routes{$_} } sort keys %seen;
}

# All that was logged until now, in all forms.  What processes have written
# may still be in the logging collector's pipe, so a mark is sent after it.
my $marks = 0;

sub logs
{
	my $dir = $node->data_dir . '/log';
	my $mark = 'mark ' . ++$marks . '.';
	my @texts;

	$node->value("DO \$\$ BEGIN RAISE LOG '$mark'; END \$\$");
	$node->wait_until(
		sub {
			@texts = map { slurp_file($_) } glob "$dir/*";
			return 3 == grep { /\Q$mark\E/ } @texts;
		},
		'the log is written');
	return join '', slurp_file($node->logfile), @texts;
}

# Nothing may be in the log, nor in the statistics of statements.
sub is_silent
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_deeply([ found(logs()) ], [], "$what: nothing in the log");
	is_deeply(
		[ found($node->value('SELECT query FROM pg_stat_statements')) ],
		[], "$what: nothing in pg_stat_statements");
	return;
}

# SQL, in the place of whose MARKER each route has its own: what to say before
# all of them, and pairs of an SQLSTATE, or none, and a statement.
sub run_routes
{
	my ($who, $before, @statements) = @_;
	my $script = "\\set VERBOSITY verbose\n$before\n";
	my @expected;
	my $errors;

	while (my ($sqlstate, $statement) = splice @statements, 0, 2)
	{
		my $route = "$who: $statement" =~ s/\s+/ /gr;
		my $marker = marker($route);

		push @expected, [ $route, $sqlstate ];
		$script .= "\\warn === \n" . $statement =~ s/MARKER/$marker/gr;
		$script .= ";\n" unless $statement =~ /\n\\\.\n\z/;
	}

	$node->psql('postgres', $script, stderr => \$errors, on_error_stop => 0);
	(undef, my @answers) = split /^=== *\n/m, $errors;
	foreach my $i (0 .. $#expected)
	{
		my ($route, $sqlstate) = @{ $expected[$i] };
		my $answer = $answers[$i] // 'no answer';
		my ($got) = $answer =~ /(?:ERROR|FATAL):  (\w{5}):/;
		my @words = $answer =~ /(?:ERROR|DETAIL|HINT): .*/g;

		is($got // 'ok', $sqlstate, $route);
		@words = grep { !/Failing row contains|already exists/ } @words;
		is_deeply([ found("@words") ], [], 'and its words quote nothing')
		  if @words;
	}
	return;
}

run_routes('a profile', "SET openhr_msg.rate_limit = 0; $ann_speaks",
	'ok', "SELECT openhr_msg.send_message('$talk', 'MARKER')",
	'ok', "SELECT openhr_msg.send_message('$talk', 'x', metadata => '{\"MARKER\": \"MARKER\"}')",
	'22023', "SELECT openhr_msg.send_message('$talk', 'MARKER', 'html')",
	'22023', "SELECT openhr_msg.send_message('$talk', 'x', 'MARKER')",
	'42501', "SELECT openhr_msg.send_message('$talk', 'MARKER', 'system')",
	'22004', "SELECT openhr_msg.send_message(NULL, 'MARKER')",
	'42501', "SELECT openhr_msg.send_message('$nothing', 'MARKER')",
	'42501', "SELECT openhr_msg.send_message('$other', 'MARKER')",
	'42501', "SELECT openhr_msg.send_message('$muted', 'MARKER')",
	'PT409', "SELECT openhr_msg.send_message('$archived', 'MARKER')",
	'22001', "SELECT openhr_msg.send_message('$talk', 'MARKER' || $long)",
	'22023', "SELECT openhr_msg.send_message('$talk', ' ', metadata => '{\"MARKER\": 1}')",
	'22023', "SELECT openhr_msg.send_message('$talk', 'x', metadata => '[\"MARKER\"]')",
	'22001', "SELECT openhr_msg.send_message('$talk', 'x', metadata => jsonb_build_object('MARKER', $long))",
	'22023', "SELECT openhr_msg.send_message('$talk', 'x', metadata => (repeat('{\"MARKER\": ', 200) || '1' || repeat('}', 200))::jsonb)",
	'22023', "SELECT openhr_msg.send_message('$talk', 'x', client_message_id => 'MARKER MARKER')",
	'ok', "SELECT openhr_msg.send_message('$talk', 'MARKER', client_message_id => 'key')",
	'PT409', "SELECT openhr_msg.send_message('$talk', 'MARKER', client_message_id => 'key')",
	'PT409', "INSERT INTO messages (conversation_id, content, client_message_id) VALUES ('$talk', 'MARKER', 'key')",
	'23503', "SELECT openhr_msg.send_message('$talk', 'MARKER', reply_to_message_id => '$nothing')",
	'23514', "SELECT openhr_msg.send_message('$talk', 'MARKER is rude')",
	'22012', "SELECT openhr_msg.send_message('$talk', 'MARKER is broken')",
	'ok', "SELECT openhr_msg.edit_message('$message{own}', 'MARKER')",
	'42501', "SELECT openhr_msg.edit_message('$message{others}', 'MARKER')",
	'PT409', "SELECT openhr_msg.edit_message('$message{forgotten}', 'MARKER')",
	'PT404', "SELECT openhr_msg.edit_message('$nothing', 'MARKER')",
	'22004', "SELECT openhr_msg.edit_message(NULL, 'MARKER')",
	'22001', "SELECT openhr_msg.edit_message('$message{own}', 'MARKER' || $long)",
	'23514', "SELECT openhr_msg.edit_message('$message{own}', 'MARKER is rude')",
	'ok', "SELECT openhr_msg.create_conversation(ARRAY['$bob']::uuid[], 'MARKER', 'group')",
	'22023', "SELECT openhr_msg.create_conversation(ARRAY['$bob']::uuid[], 'MARKER', 'crowd')",
	'22001', "SELECT openhr_msg.create_conversation(ARRAY['$bob']::uuid[], 'MARKER' || $long)",
	'22023', "SELECT openhr_msg.create_conversation(ARRAY['$bob']::uuid[], ' ', 'MARKER')",
	'22004', "SELECT openhr_msg.create_conversation(NULL, 'MARKER')",
	'23514', "SELECT openhr_msg.create_conversation(ARRAY['$bob']::uuid[], 'MARKER is rude', 'group')",
	'28000', "SELECT openhr_msg.authenticate('MARKER')",
	'28000', "SELECT openhr_msg.authenticate('MARKER.MARKER.MARKER')",
	'ok', "SELECT openhr_msg.broadcast('room:$talk', 'MARKER', '{\"MARKER\": \"MARKER\"}')",
	'42501', "SELECT openhr_msg.broadcast('MARKER', 'MARKER')",
	'42501', "SELECT openhr_msg.broadcast('room:$other', 'MARKER', '{\"MARKER\": \"MARKER\"}')",
	'22023', "SELECT openhr_msg.broadcast('MARKER' || $long, 'MARKER')",
	'22023', "SELECT openhr_msg.broadcast('room:$talk', 'MARKER' || $long)",
	'22023', "SELECT openhr_msg.broadcast('room:$talk', 'MARKER', '[\"MARKER\"]')",
	'22004', "SELECT openhr_msg.broadcast(NULL, 'MARKER', NULL)",

	'ok', "INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'MARKER')",
	'22023', "INSERT INTO messages (conversation_id, content, content_type) VALUES ('$talk', 'MARKER', 'html')",
	'22023', "INSERT INTO messages (conversation_id, content, metadata) VALUES ('$talk', 'MARKER', '[]')",
	'42501', "INSERT INTO messages (conversation_id, content) VALUES ('$nothing', 'MARKER')",
	'42501', "INSERT INTO messages (conversation_id, sender_profile_id, content) VALUES ('$talk', '$bob', 'MARKER')",
	'23502', "INSERT INTO messages (content) VALUES ('MARKER')",
	'23514', "INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'MARKER is rude')",
	'22012', "INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'MARKER is broken')",
	'42501', "WITH x AS (INSERT INTO messages (conversation_id, content) VALUES ('$other', 'MARKER') RETURNING *) SELECT * FROM x",
	'ok', "UPDATE messages SET content = 'MARKER' WHERE id = '$message{own}'",
	'22001', "UPDATE messages SET content = 'MARKER' || $long WHERE id = '$message{own}'",
	'23514', "UPDATE messages SET content = 'MARKER is rude' WHERE id = '$message{own}'",
	'42501', "UPDATE messages SET content = 'MARKER' WHERE id = '$message{others}'",
	'PT409', "UPDATE messages SET content = 'MARKER' WHERE id = '$message{forgotten}'",
	'22012', "SELECT 1 / (seq - seq) FROM messages WHERE content = 'MARKER' OR true",
	'22023', "INSERT INTO conversations (title, type, created_by) VALUES ('MARKER', 'crowd', '$ann')",
	'42501', "INSERT INTO conversations (title, created_by) VALUES ('MARKER', '$bob')",
	'23514', "UPDATE conversations SET title = 'MARKER is rude' WHERE id = '$managed'",
	'42501', "UPDATE conversations SET title = 'MARKER' WHERE id = '$talk'",

	'22023', "DO \$\$ BEGIN PERFORM openhr_msg.send_message('$talk', 'MARKER', 'html'); END \$\$",
	'22012', "DO \$\$ BEGIN PERFORM openhr_msg.send_message('$talk', 'MARKER'); PERFORM 1 / 0; END \$\$",
	'42601', "DO \$\$ BEGIN PERFORM openhr_msg.send_message('$talk', 'x'); EXECUTE 'SELEC ''MARKER'''; END \$\$",
	'ok', "DO \$\$ BEGIN PERFORM openhr_msg.send_message('$talk', 'MARKER', 'html'); EXCEPTION WHEN others THEN NULL; END \$\$",
	'22023', "SELECT say('MARKER')",
	'22023', "SELECT say_sql('MARKER')",
	'ok', "PREPARE send AS SELECT openhr_msg.send_message('$talk', \$1, \$2)",
	'ok', "EXECUTE send('MARKER', 'text')",
	'22023', "EXECUTE send('MARKER', 'html')",
	'ok', "BEGIN; DECLARE c CURSOR FOR SELECT openhr_msg.send_message('$talk', 'MARKER', 'html')",
	'22023', 'FETCH c',
	'ok', 'ROLLBACK',
	'22023', "CREATE TEMP TABLE t AS SELECT openhr_msg.send_message('$talk', 'MARKER', 'html')",
	'22023', "COPY (SELECT openhr_msg.send_message('$talk', 'MARKER', 'html')) TO STDOUT",
	'22023', "EXPLAIN ANALYZE SELECT openhr_msg.send_message('$talk', 'MARKER', 'html')",
	'57014', "SET statement_timeout = '100ms'; SELECT openhr_msg.send_message('$talk', 'MARKER'), pg_sleep(100)",
);

run_routes('a profile at its limit', "SET openhr_msg.rate_limit = 1; $ann_speaks",
	'ok', "SELECT openhr_msg.send_message('$talk', 'MARKER')",
	'PT429', "SELECT openhr_msg.send_message('$talk', 'MARKER')",
	'PT429', "INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'MARKER')");

run_routes('nobody', 'SET ROLE authenticated;',
	'28000', "SELECT openhr_msg.send_message('$talk', 'MARKER')",
	'28000', "INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'MARKER')");

run_routes('a service', '',
	'ok', "SELECT openhr_msg.send_message('$talk', 'MARKER', 'system')",
	'PT404', "SELECT openhr_msg.send_message('$nothing', 'MARKER')",
	'23514', "SELECT openhr_msg.send_message('$talk', 'MARKER is rude')",
	'PT404', "INSERT INTO messages (conversation_id, content) VALUES ('$nothing', 'MARKER')",
	'23514', "INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'MARKER is rude')",
	'23505', "INSERT INTO messages (id, conversation_id, content, seq, version) SELECT id, conversation_id, 'MARKER', seq, version FROM messages WHERE id = '$message{own}'",
	'23514', "UPDATE messages SET content = 'MARKER is rude' WHERE id = '$message{own}'",
	'23514', "INSERT INTO conversations (title) VALUES ('MARKER is rude')",
	'22023', "COPY messages (conversation_id, content, content_type) FROM STDIN;\n$talk\tMARKER\thtml\n\\.\n",
	'23514', "COPY messages (conversation_id, content) FROM STDIN;\n$talk\tMARKER is rude\n\\.\n",
	'22P04', "COPY messages (conversation_id, content) FROM STDIN;\n$talk\tx\n$talk\tMARKER\ttoo much\n\\.\n");

is_silent('routes');

# Waiting for a lock, which somebody holds, and each end that it may have.

my $watcher = PsqlSession->new($node, 'watcher');
my $locker = PsqlSession->new($node, 'postgres');
my @waiting = (
	"SELECT openhr_msg.send_message('$talk', 'MARKER')",
	"SELECT openhr_msg.edit_message('$message{own}', 'MARKER')",
	"INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'MARKER')",
	"UPDATE messages SET content = 'MARKER' WHERE id = '$message{own}'",
	"UPDATE conversations SET title = 'MARKER' WHERE id = '$managed'");

$locker->ask('BEGIN; SELECT count(*) FROM (SELECT FROM conversations FOR UPDATE) x');
foreach my $setting ('statement_timeout', 'lock_timeout')
{
	my $sqlstate = $setting eq 'lock_timeout' ? '55P03' : '57014';

	run_routes($setting,
		"$ann_speaks SET openhr_msg.rate_limit = 0; SET $setting = '200ms';",
		map { $sqlstate => $_ } @waiting);
}
wait_and_end('pg_cancel_backend', $_) foreach @waiting;
wait_and_end('pg_terminate_backend', $_) foreach @waiting;
is_silent('waits');
ok(logs() =~ /still waiting for \w+/, 'though waits are logged');

# What a session did last is seen as long as it is idle.
my $idle = PsqlSession->new($node, 'postgres');
my $last = marker('the last statement of a session');
$idle->ask($ann_speaks);
$idle->ask("SELECT openhr_msg.send_message('$other', '$last')");
is_unseen('an idle session');

# A deadlock shows the statements of all who are in it.
my @tied = (PsqlSession->new($node, 'postgres'), PsqlSession->new($node, 'postgres'));
my @talks = ($node->conversation($ann), $node->conversation($ann));
foreach my $i (0, 1)
{
	$tied[$i]->ask($ann_speaks);
	$tied[$i]->ask("BEGIN; SELECT openhr_msg.send_message('$talks[$i]', 'x')");
}
foreach my $i (0, 1)
{
	my $marker = marker('a deadlock');

	$tied[$i]->enter("SELECT openhr_msg.send_message('$talks[1 - $i]', '$marker'); COMMIT;");
}
$_->finish foreach @tied;
ok(logs() =~ /deadlock detected/, 'a deadlock is logged');
is_silent('deadlock');

# What the server says of a process that crashed.
my $before_crash = $node->value('SELECT pg_postmaster_start_time()');
wait_and_end('kill', $waiting[0]);
$node->wait_until(
	sub {
		my ($status) = $node->psql('postgres', 'SELECT', on_error_die => 0);
		return $status == 0;
	},
	'the server is back');
ok(logs() =~ /Failed process was running: <hidden by openhr_msg>/,
	'a crash is logged');
is_silent('crash');

# Text that comes as a parameter, and every setting that there is.
{
	my $most = join ' ', map { "-c $_" } (
		'log_statement=all', 'log_min_duration_statement=0',
		'log_parameter_max_length=0', 'log_transaction_sample_rate=1',
		'log_parser_stats=on', 'log_planner_stats=on', 'log_executor_stats=on',
		'log_min_error_statement=debug5', 'auto_explain.log_min_duration=0',
		'auto_explain.log_analyze=on', 'auto_explain.log_nested_statements=on',
		has_setting('auto_explain.log_parameter_max_length')
		? 'auto_explain.log_parameter_max_length=0' : (),
		'pg_stat_statements.track_utility=on');

	foreach my $statement (
		'SELECT openhr_msg.send_message(:talk, :text)',
		'SELECT openhr_msg.send_message(:talk, :text, :text)',
		'SELECT openhr_msg.send_message(:talk, :text, client_message_id => :text)',
		'SELECT openhr_msg.edit_message(:own, :text)',
		'SELECT openhr_msg.broadcast(:text, :text, jsonb_build_object(:text, 1))',
		'SELECT openhr_msg.authenticate(:text)',
		'INSERT INTO messages (conversation_id, content) VALUES (:talk, :text)',
		'INSERT INTO messages (conversation_id, content) VALUES (:talk, concat(:text, $$rude$$))',
		'INSERT INTO messages (conversation_id, content) VALUES (:talk, concat(:text, $$broken$$))',
		'UPDATE messages SET content = :text WHERE id = :own',
		'UPDATE messages SET content = :text WHERE id = :others')
	{
		foreach my $mode ('extended', 'prepared')
		{
			send_parameters($most, $mode, $statement);
		}
	}
	is_silent('parameters');
	ok(logs() =~ /STATEMENT:  SELECT openhr_msg.send_message\(\$1, \$2, \$3\)/,
		'a statement that failed is logged when it holds no text');
}

# Sockets.

my $listener = $node->subscribe($bob);
$listener->join('db', { postgres_changes =>
		[ { event => '*', schema => 'public', table => 'conversations' } ] });

foreach my $request (
	'MARKER', 'MARKER / HTTP/1.1', 'GET /MARKER HTTP/1.1',
	"GET /realtime/v1/websocket?apikey=MARKER HTTP/1.1\r\nMARKER: MARKER",
	"POST /realtime/v1/websocket HTTP/1.1\r\nContent-Length: 10\r\n\r\nMARKER",
	"GET / HTTP/1.1\r\nMARKER: " . 'MARKER' x 5000,
	"GET /" . 'MARKER' x 5000 . ' HTTP/1.1',
	"GET / HTTP/1.1\r\n MARKER\r\n\tMARKER", "\x00MARKER", "\x16\x03\x01MARKER")
{
	my $marker = marker('HTTP: ' . substr($request =~ s/\s+/ /gr, 0, 60));
	my $ws = WebSocket->dial(port => $node->gateway_port);

	$ws->send_bytes($request =~ s/MARKER/$marker/gr . "\r\n\r\n");
	$ws->half_close;
	$ws->is_gone;
}
foreach my $header (
	'Origin', 'Authorization', 'Sec-WebSocket-Key', 'Sec-WebSocket-Version',
	'Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions', 'Upgrade',
	'Connection', 'Host', 'User-Agent', 'Cookie', 'X-Client-Info')
{
	my $marker = marker("HTTP header $header");
	my $ws = WebSocket->dial(port => $node->gateway_port);

	$ws->handshake(token => $node->token($ann), headers => { $header => $marker });
	$ws->close;
}
foreach my $token ('MARKER', 'MARKER.MARKER.MARKER', $node->token($ann) . 'MARKER',
	WebSocket::token('another secret than that of the cluster', sub => 'MARKER'),
	$node->token($ann, exp => 1, name => 'MARKER'),
	$node->token($ann, role => 'MARKER'), $node->token('MARKER'))
{
	my $marker = marker('token ' . substr $token, 0, 20);
	my $ws = WebSocket->dial(port => $node->gateway_port);

	$ws->handshake(token => $token =~ s/MARKER/$marker/gr);
	$ws->close;
}

my @changes = (event => '*', schema => 'public', table => 'messages');
my @frames = (
	[ 1, 'MARKER' ], [ 1, '{"MARKER": ' ], [ 1, '"MARKER"' ],
	[ 1, '["1","1","MARKER","phx_join",{}]' ],
	[ 1, '["1","1","realtime:MARKER","MARKER",{"MARKER":"MARKER"}]' ],
	[ 1, '[null,"1","phoenix","MARKER",{}]' ],
	[ 1, '["1","1","realtime:MARKER","phx_join",{"access_token":"MARKER"}]' ],
	[ 1, '["1","1","realtime:MARKER","phx_join",{"config":"MARKER"}]' ],
	[ 1, '["1","1","realtime:x","broadcast",{"event":"MARKER","payload":{}}]' ],
	(map { [ 1, qq(["1","1","realtime:x","phx_join",{"config":{"postgres_changes":[$_]}}]) ] }
		'"MARKER"', '{"event":"MARKER"}',
		'{"event":"*","schema":"MARKER","table":"messages"}',
		'{"event":"*","schema":"public","table":"MARKER"}',
		map { qq({"event":"*","schema":"public","table":"messages","filter":"$_"}) }
		  'MARKER', 'MARKER=eq.1', 'seq=eq.MARKER', 'content=MARKER.1',
		'content=match.(MARKER', 'content=in.(MARKER', 'content=eq.MARKER'),
	[ 1, "MARKER\xff\xfe" ], [ 1, '["MARKER' . 'x' x 100_000 . '"]' ],
	[ 2, 'MARKER' ], [ 2, "\x03\x00\x00\x00\x00\x00MARKER" ], [ 3, 'MARKER' ],
	[ 8, pack('n', 1000) . 'MARKER' ], [ 8, pack('n', 1) . 'MARKER' ],
	[ 9, 'MARKER' ], [ 9, 'MARKER' x 100 ], [ 10, 'MARKER' ],
	[ 1, 'MARKER', 0 ], [ 0, 'MARKER' ]);

foreach my $frame (@frames)
{
	my ($opcode, $payload, $final) = @$frame;
	my $marker = marker("frame $opcode " . substr $payload, 0, 100);
	my $ws = $node->connect($ann);

	$ws->send_frame($opcode, $payload =~ s/MARKER/$marker/gr, $final);
	eval { $ws->heartbeat };
	$ws->close;
}
{
	my $marker = marker('an unmasked frame');
	my $ws = $node->connect($ann);

	$ws->send_bytes(pack('CC', 0x81, length $marker) . $marker);
	$ws->is_gone;
}

$node->say($talk, $ann, 'the end');
my @heard;
do
{
	my ($opcode, $payload) = $listener->read_frame or die "connection closed\n";

	push @heard, $payload;
} until $heard[-1] =~ /the end/;
is_deeply([ found("@heard @{ $listener->{events} }") ], [],
	'sockets: nothing for another client');
is_silent('sockets');
is( $node->value(
		"SELECT query FROM pg_stat_activity
		 WHERE backend_type LIKE 'openhr_msg %' AND query !~
		 '^(|serving WebSocket clients|loading memberships|describing tables|making months ahead|removing old keys|looking at .*)\$'"),
	'', 'what workers do is told in words of theirs');

# Tokens and keys.

my $new_secret = 'another secret of the test cluster, long enough';
my $short_secret = 'not so long';
run_routes('a token', "\\set token '" . $node->token($ann, name => 'MARKER') . "'",
	'ok', "SELECT openhr_msg.authenticate('" . $node->token($ann) . "')",
	'28000', "SELECT openhr_msg.authenticate('" . $node->token($ann, exp => 1) . "')",
	'28000', "SELECT openhr_msg.authenticate('" . $node->token($ann) . "MARKER')");
run_routes('a watcher', 'SET SESSION AUTHORIZATION watcher;',
	'42501', 'SHOW openhr_msg.jwt_secret',
	'42501', "SELECT current_setting('openhr_msg.jwt_secret', true)",
	'42501', 'SELECT * FROM pg_file_settings',
	'55P02', "SET openhr_msg.jwt_secret = ''");
is( $node->value(
		"SET SESSION AUTHORIZATION watcher; SELECT count(*) FROM pg_settings
		 WHERE name IN ('openhr_msg.jwt_secret', 'openhr_msg.jwt_secret_file')"),
	0, 'the secret is in no list of settings');

foreach my $secret ($short_secret, $new_secret)
{
	$node->append_conf('postgresql.conf', "openhr_msg.jwt_secret = '$secret'");
	$node->reload;
	$node->wait_until(sub { logs() =~ /jwt_secret" (?:changed|is too short)/ },
		'the server has read its settings');
}
$node->wait_until(sub { logs() =~ /parameter "openhr_msg.jwt_secret" changed/ },
	'the secret has changed');
ok(logs() !~ /\Q$_\E/, 'no secret in the log')
  foreach $GatewayCluster::SECRET, $new_secret, $short_secret;
ok(logs() !~ /eyJ\w/, 'no token in the log');
unlike($node->value('SELECT query FROM pg_stat_statements'), qr/eyJ\w/,
	'and none in pg_stat_statements');

# Statistics about the values of a column are text of messages, too.
{
	my $marker = marker('statistics');

	$node->value("ALTER TABLE messages DISABLE TRIGGER broken;
		INSERT INTO messages (conversation_id, content)
		SELECT '$talk', '$marker' FROM generate_series(1, 1000);
		ANALYZE messages");
	is_deeply([ found($node->value("SET SESSION AUTHORIZATION watcher;
		SELECT * FROM pg_stats WHERE tablename ~ '^messages'")) ], [],
		'statistics: nothing for who sees no rows');
	is_silent('statistics');
}

# The gaps: how the statement is sent (a literal, or a parameter of the
# extended protocol), with which settings, and which of them is to blame.
my $send = "SELECT openhr_msg.send_message('$talk', 'MARKER')";
my $send_parameter = 'SELECT openhr_msg.send_message(:talk, :text)';
my @gaps = (
	[ $send, 'log_statement', 'all' ],
	[ $send_parameter, 'log_parameter_max_length', '-1', 'log_statement', 'all' ],
	[ $send, 'log_min_duration_statement', '0' ],
	[ $send_parameter, 'log_parameter_max_length', '-1', 'log_min_duration_statement', '0' ],
	[ $send, 'log_min_duration_sample', '0' ],
	[ $send, 'log_transaction_sample_rate', '1' ],
	[ $send, 'log_parser_stats', 'on' ],
	[ $send, 'log_planner_stats', 'on' ],
	[ $send, 'auto_explain.log_min_duration', '0' ],
	has_setting('auto_explain.log_parameter_max_length')
	? [ $send_parameter, 'auto_explain.log_parameter_max_length', '-1', 'auto_explain.log_min_duration', '0' ] : (),
	[ $send, 'debug_print_parse', 'on' ],
	[ $send, 'debug_print_rewritten', 'on' ],
	[ $send, 'debug_print_plan', 'on' ],
	has_setting('debug_print_raw_parse') ? [ $send, 'debug_print_raw_parse', 'on' ] : (),
	[ "INSERT INTO messages (conversation_id, content, seq) VALUES (:talk, :text, 1)",
		'log_parameter_max_length_on_error', '-1' ],
	# As a literal, but by the extended protocol.
	[ "SELECT openhr_msg.send_message(:talk, 'MARKER')", 'log_min_messages', 'debug2' ],
	# What is refused before it reaches us is logged by default.
	map({ [ $_, 'log_min_error_statement', 'error' ] }
		"SELECT openhr_msg.send_message('$talk', 'MARKER'",
		"SELECT openhr_msg.send_message('$talk', 'MARKER', no_such_argument => 1)",
		"INSERT INTO messages (conversation_id, content, seq) VALUES ('$talk', 'MARKER', 1)",
		"DELETE FROM messages WHERE content = 'MARKER'"),
	# Commands that are no queries are kept as they are.
	[ "DO \$\$ BEGIN PERFORM openhr_msg.send_message('$talk', 'MARKER'); END \$\$",
		'pg_stat_statements.track_utility', 'on' ],
	# No setting helps against a value of which PostgreSQL says that it is not
	# of the type.
	[ 'SELECT openhr_msg.send_message(:text, :text)' ],
	[ 'SELECT openhr_msg.send_message(:talk, $$x$$, metadata => :text)' ],
);

foreach my $gap (@gaps)
{
	my ($statement, @settings) = @$gap;
	my ($blamed, $value) = @settings;
	my %settings = @settings;
	my $options = join ' ', map { "-c $_=$settings{$_}" } sort keys %settings;
	my $marker;

	$marker = send_parameters($options, 'extended', $statement)
	  if $statement =~ /:t/;
	$marker //= send_literal($options, $statement);
	ok(leaks($marker), "a gap: $options $statement");
	next unless defined $blamed;
	is(with_options($options, "SELECT count(*) FROM openhr_msg.check_log_settings()
			WHERE setting = '$blamed' AND value = '$value'"),
		1, 'is told');
}

is(with_options('-c log_min_messages=warning -c log_min_error_statement=fatal',
		"SELECT count(*) FROM openhr_msg.check_log_settings()
		 WHERE setting !~ '^pg_stat'"),
	0, 'nothing is told when there is none');
$node->value("ALTER ROLE authenticated SET log_statement = 'mod'");
is($node->value(q{SELECT "where" FROM openhr_msg.check_log_settings()
		WHERE setting = 'log_statement'}),
	'role authenticated', 'settings of roles are told, too');
ok(logs() =~ /the text of messages may get into the server's log, because of log_min_messages/,
	'an executor warns of it');

$node->stop;
done_testing();

# Nobody sees it who sees what others do.
sub is_unseen
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_deeply([ found($watcher->ask('SELECT query FROM pg_stat_activity')) ],
		[], "$what: nothing in pg_stat_activity");
	return;
}

# Have a statement wait, look at it, and end it by calling a function, or a
# signal to its process.
sub wait_and_end
{
	my ($end, $statement) = @_;
	my $marker = marker("$end: $statement");
	my $session = PsqlSession->new($node, 'postgres');
	my $pid = $session->pid;

	$session->ask("SET openhr_msg.rate_limit = 0; $ann_speaks");
	$session->enter($statement =~ s/MARKER/$marker/r . ';');
	$node->wait_until(
		sub {
			$session->pump;
			$watcher->ask("SELECT wait_event_type FROM pg_stat_activity
				WHERE pid = $pid") eq 'Lock';
		},
		'the statement waits');
	is_unseen("$end: $statement");
	if ($end eq 'kill')
	{
		kill 'KILL', $pid;
	}
	else
	{
		$node->value("SELECT $end($pid)");
	}
	$session->finish;
	return;
}

# Does one get out?  Trees of statements show the bytes of a string.
sub leaks
{
	my ($marker) = @_;
	my $bytes = join ' ', unpack 'C*', $marker;
	my $all = logs() . $node->value('SELECT query FROM pg_stat_statements');

	return $all =~ /$marker/ || $all =~ s/\s+/ /gr =~ /$bytes/;
}

# Send one, as ann with some settings; returns the marker.
sub with_options
{
	my ($options, $statement) = @_;
	my $out;

	local $ENV{PGOPTIONS} = $options;
	$node->psql('postgres', $statement, stdout => \$out);
	return $out;
}

sub as_ann
{
	return "-c role=authenticated -c openhr_msg.rate_limit=0"
	  . " -c request.jwt.claims={\"role\":\"authenticated\",\"sub\":\"$ann\"}";
}

sub send_literal
{
	my ($options, $statement) = @_;
	my $marker = marker("$options: $statement");

	with_options(as_ann() . " $options", $statement =~ s/MARKER/$marker/r);
	return $marker;
}

# The same by the extended protocol; what :text stands for is the marker.
sub send_parameters
{
	my ($options, $mode, $statement) = @_;
	my $marker = marker("$mode, $options: $statement");
	my $script = PostgreSQL::Test::Utils::tempdir() . '/script';
	my $output;

	append_to_file($script, $statement =~ s/MARKER/$marker/r . ";\n");
	local $ENV{PGOPTIONS} = as_ann() . " $options";
	IPC::Run::run(
		[ 'pgbench', '-n', '-t', 1, '-M', $mode, '-f', $script,
			'-D', "text=$marker", '-D', "talk=$talk",
			(map { ('-D', "$_=$message{$_}") } qw(own others)),
			'-d', $node->connstr('postgres') ],
		'>&', \$output);
	unlink $script;
	return $marker;
}

sub has_setting
{
	my ($name) = @_;

	return $node->value("SELECT count(*) FROM pg_settings WHERE name = '$name'");
}
