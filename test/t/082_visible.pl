# A message is pushed once it can be selected, however it was committed: on the
# primary, and with synchronous_commit = remote_apply on the standby, too.  So
# none is pushed that a failover or a crash could lose.  And the standby, which
# does nothing of ours until then, serves clients when it is promoted.

use strict;
use warnings;

use GatewayCluster;
use IPC::Open2;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = GatewayCluster->new('primary',
	'openhr_msg.executors' => 1,
	'openhr_msg.max_queue_bytes' => "'64MB'",
	'max_wal_senders' => 4,
	'max_prepared_transactions' => 8,
	'synchronous_commit' => 'remote_apply',
	'hot_standby_feedback' => 'on')->serve;
my $ana = $primary->person('Ana');
my @talks = map { $primary->conversation($ana) } 1 .. 3;

# A node made from a backup of another, with a gateway of its own.
sub node_from
{
	my ($name, $from, %how) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	bless $node, 'GatewayCluster';
	$node->init_from_backup($from, $name, %how);
	$node->{gateway_port} = PostgreSQL::Test::Cluster::get_free_port();
	$node->append_conf('postgresql.conf',
		"openhr_msg.port = $node->{gateway_port}");
	$node->start;
	return $node;
}

sub runs
{
	my ($node) = @_;

	$node->wait_until(
		sub {
			$node->value(
				"SELECT bool_and(state = 'running') FROM openhr_msg.status()")
			  eq 't';
		},
		'all workers run');
	return;
}

# A session that answers questions with a word each.
sub session
{
	my ($node) = @_;
	my ($in, $out);

	open2($out, $in, 'psql', qw(-X -q -A -t -d), $node->connstr('postgres'));
	$in->autoflush;
	return sub {
		print $in "$_[0];\n";
		my $answer = <$out> // die 'the session has ended';
		chomp $answer;
		return $answer;
	};
}

# The next change, as (id, conversation, version, content).
sub next_change
{
	my ($ws) = @_;

	return @{ $ws->next_event('postgres_changes')->{data}{record} }
	  {qw(id conversation_id version content)};
}

# The standby

$primary->backup('standby');
my $standby = node_from('standby', $primary, has_streaming => 1);
my $standby_log = slurp_file($standby->logfile);
is( $standby->value("SELECT count(*) FROM openhr_msg.status()
		WHERE state = 'down'"),
	3, 'no worker runs on a standby');
ok(!$standby->is_listening, '... nor does it listen');
unlike($standby_log, qr/\] openhr_msg |background worker/, '... nor flood the log');
is($standby->psql('postgres', 'SELECT openhr_msg.start_workers()'),
	0, 'start_workers() does no harm there');

$primary->append_conf('postgresql.conf',
	"synchronous_standby_names = 'standby'");
$primary->reload;
$primary->poll_query_until('postgres',
	"SELECT sync_state = 'sync' FROM pg_stat_replication")
  or die 'the standby is not synchronous';

# Ways to send.  What says "never" is rolled back; who says "async" does not
# wait for the standby.
my $insert = 'INSERT INTO messages (conversation_id, sender_profile_id, content)
	SELECT id, created_by, %s FROM conversations
	WHERE title = (\'talk\' || :talk);';
my %send = map { $_ => sprintf $insert, "'$_'" } qw(plain never async);
my %ways = (
	plain => $send{plain},
	async => "BEGIN; SET LOCAL synchronous_commit = off; $send{async} COMMIT;",
	savepoints => "BEGIN; $send{plain} SAVEPOINT a; $send{never}
		ROLLBACK TO a; SAVEPOINT b; $send{plain} SAVEPOINT c; $send{plain}
		RELEASE b; COMMIT;",
	'rolled back' => "BEGIN; $send{never} ROLLBACK;",
	prepared => "BEGIN; SAVEPOINT a; $send{plain} RELEASE a;
		PREPARE TRANSACTION 'p:client_id'; COMMIT PREPARED 'p:client_id';",
	'rollback prepared' => "BEGIN; $send{never}
		PREPARE TRANSACTION 'p:client_id'; ROLLBACK PREPARED 'p:client_id';",
	serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE; $send{plain} COMMIT;",
	'repeatable read' =>
	  "BEGIN ISOLATION LEVEL REPEATABLE READ; $send{plain} COMMIT;",
	edit => "UPDATE messages SET content = 'plain' || random()
		WHERE conversation_id = (SELECT id FROM conversations
			WHERE title = 'talk' || :talk) AND seq = 1;",
	in_function => "SELECT openhr_msg.send_message(id, 'plain')
		FROM conversations WHERE title = 'talk' || :talk;");
my $seed = $ENV{TEST_SEED} // int rand 2**31;

diag "TEST_SEED=$seed";
$primary->value("UPDATE conversations SET title = 'talk$_'
	WHERE id = '$talks[$_ - 1]'") foreach 1 .. 3;

# Start to send in some ways at the same time; each way has a file.  When they
# have all been sent, every conversation gets a last message.
sub start_sending
{
	my ($node, $options, @ways) = @_;
	my $ends = "INSERT INTO messages (conversation_id, content)
		SELECT id, 'the end' FROM conversations WHERE title LIKE 'talk_'";
	my @files;

	foreach my $way (@ways)
	{
		my $path = $node->basedir . "/$way.sql";

		unlink $path;
		append_to_file($path, "\\set talk random(1, 3)\n$ways{$way}\n");
		push @files, '-f', $path;
	}
	local $ENV{ENDS} = $ends;
	return IPC::Run::start(
		[
			'sh', '-c', '"$@" && exec psql -X -q -d "$0" -c "$ENDS"',
			$node->connstr('postgres'),
			'pgbench', '-n', "--random-seed=$seed", '--max-tries=1000',
			'-h', $node->host, '-p', $node->port, @$options, @files,
			'postgres'
		],
		'>', \my $out, '2>', \my $err);
}

my $ws = $primary->subscribe($ana);
my $ask = session($primary);
my $ask_standby = session($standby);
my %version;
my $pgbench = start_sending($primary, [ '-c', 5, '-t', 60 ], sort keys %ways);
my (@hidden, @disorder);
my ($count, $ends) = (0, 0);

sub check_change
{
	my ($id, $talk, $version, $content) = next_change($ws);
	my $visible = "SELECT count(*) FROM messages
		WHERE id = '$id' AND version >= $version";

	push @hidden, "$content on the primary" if $ask->($visible) != 1;
	push @hidden, "$content on the standby"
	  if $content ne 'async' && $ask_standby->($visible) != 1;
	push @disorder, "$version after $version{$talk}: $content"
	  if $version != ($version{$talk} //= 0) + 1;
	push @disorder, $content if $content eq 'never';
	$version{$talk} = $version;
	$count++;
	$ends++ if $content eq 'the end';
	return;
}

check_change() while $ends < @talks;
$pgbench->finish or die 'pgbench failed';
is_deeply(\@hidden, [], 'whoever selects upon an event never misses the row');
is_deeply(\@disorder, [], 'events come in order, and none that was rolled back');
cmp_ok($count, '>=', 150, "... in $count events");

# Commits that wait for the standby

$primary->value("BEGIN; INSERT INTO messages (conversation_id, content)
	VALUES ('$talks[0]', 'prepared'); PREPARE TRANSACTION 'waits'");
foreach my $waits (
	[ 'COMMIT', "INSERT INTO messages (conversation_id, content)
		VALUES ('$talks[1]', 'waits')", 'waits' ],
	[ 'COMMIT PREPARED', "COMMIT PREPARED 'waits'", 'prepared' ])
{
	my ($name, $sql, $content) = @$waits;
	my $events = $primary->status('events', 'streamer');
	my $session = $primary->background_psql('postgres');
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	$standby->value('SELECT pg_wal_replay_pause()');
	$session->query_until(qr/begun/, "\\echo begun\n$sql;\n");
	$primary->poll_query_until('postgres', "SELECT wait_event = 'SyncRep'
		FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the commit does not wait for the standby';
	my $wakeups = $primary->status('wakeups', 'streamer');
	$primary->wait_until(
		sub {
			$primary->status("wakeups > $wakeups + 5", 'streamer') eq 't';
		},
		'the streamer waits');
	is($primary->status('events', 'streamer'),
		$events, "$name: not pushed while it waits for the standby");
	$standby->value('SELECT pg_wal_replay_resume()');
	is((next_change($ws))[3], $content, '... but afterwards');
	$session->quit;
}

# A failover while messages are sent.  What was pushed is on the new primary.

my %pushed;
$pgbench = start_sending($primary, [ '-c', 3, '-T', 600 ], 'plain', 'prepared');
foreach (1 .. 50)
{
	my ($id) = next_change($ws);
	$pushed{$id} = 1;
}
$primary->value(q(BEGIN; INSERT INTO profiles (id) VALUES (gen_random_uuid());
	PREPARE TRANSACTION 'left over'));
$primary->stop('immediate');
while (my (undef, $frame) = eval { $ws->read_frame })
{
	$pushed{$1} = 1 if $frame =~ /"record":\{.*?"id":"([^"]+)"/;
}
$pgbench->kill_kill;
$standby->promote;
$standby->value("ALTER SYSTEM SET synchronous_commit = 'on'");
$standby->reload;

# A new slot waits for all that was under way, prepared transactions too.
$standby->value("ROLLBACK PREPARED '$_'")
  foreach split /\n/, $standby->value('SELECT gid FROM pg_prepared_xacts');
runs($standby);
pass('after its promotion workers run on the standby');
is($standby->value('SELECT openhr_msg.slot_epoch()'), 1, '... in an epoch of its own');
my %there = map { $_ => 1 } split /\n/,
  $standby->value('SELECT id FROM messages');
is_deeply([ grep { !$there{$_} } keys %pushed ],
	[], 'no message that was pushed is lost by a failover');
cmp_ok(scalar(keys %pushed), '>=', 50, '... of ' . keys %pushed);
$ws = $standby->subscribe($ana);
$standby->say($talks[0], $ana, 'on the new primary');
is((next_change($ws))[3], 'on the new primary', '... and messages flow');

# Crashes while messages are sent that wait for no flush.

foreach my $round (1 .. 3)
{
	%pushed = ();
	$pgbench = start_sending($standby, [ '-c', 3, '-T', 600 ], 'async');
	foreach (1 .. 50)
	{
		my ($id) = next_change($ws);
		$pushed{$id} = 1;
	}
	$standby->stop('immediate');
	while (my (undef, $frame) = eval { $ws->read_frame })
	{
		$pushed{$1} = 1 if $frame =~ /"record":\{.*?"id":"([^"]+)"/;
	}
	$pgbench->kill_kill;
	$standby->start;
	%there = map { $_ => 1 } split /\n/,
	  $standby->value('SELECT id FROM messages');
	is_deeply([ grep { !$there{$_} } keys %pushed ],
		[], 'no message that was pushed is lost by a crash');
	runs($standby);
	$ws = $standby->subscribe($ana);
}

# Copies: a base backup leaves the slot behind, a cold copy takes it along.

$standby->backup('backup');
my $restored = node_from('backup', $standby, standby => 0);
$standby->stop;
$standby->backup_fs_cold('cold');
my $cold = node_from('cold', $standby, standby => 0);
foreach my $node ($restored, $cold)
{
	runs($node);
	$ws = $node->subscribe($ana);
	$node->say($talks[0], $ana, 'restored');
	is((next_change($ws))[3], 'restored', $node->name . ': messages flow');
	$node->stop;
}

done_testing();
