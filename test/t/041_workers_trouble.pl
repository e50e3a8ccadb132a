
# The background workers where something is wrong: with the server's
# settings, with the replication slot, with a transaction.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
my $port = PostgreSQL::Test::Cluster::get_free_port();
$node->append_conf(
	'postgresql.conf', qq{
wal_level = replica
shared_preload_libraries = ''
max_worker_processes = 16
autovacuum = off
openhr_msg.port = $port
});

my $insert = q{INSERT INTO conversations (title) VALUES ('x')};
my ($ret, $stdout, $stderr);

sub status
{
	my ($expression, $where) = @_;
	return $node->safe_psql('postgres',
		"SELECT $expression FROM openhr_msg.status() WHERE $where");
}

sub wait_for_status
{
	my ($condition, $name) = @_;
	ok( $node->poll_query_until(
			'postgres', "SELECT $condition FROM openhr_msg.status()"),
		$name);
	return;
}

my $all_run = "count(*) = 4 AND bool_and(state = 'running')";

sub epoch
{
	return $node->safe_psql('postgres', 'SELECT openhr_msg.slot_epoch()');
}

sub log_count
{
	my ($pattern, $offset) = @_;
	my $count = () =
	  substr(slurp_file($node->logfile), $offset // 0) =~ /$pattern/g;
	return $count;
}

# Insert, and wait until the streamer has passed the events on.
sub insert_arrives
{
	my ($name) = @_;
	my $before = status('events', "worker = 'streamer'");
	$node->safe_psql('postgres', $insert);
	wait_for_status(
		"bool_or(worker = 'streamer' AND events >= $before + 2)", $name);
	return;
}

# Not preloaded.

$node->start;
($ret, $stdout, $stderr) =
  $node->psql('postgres', 'CREATE EXTENSION openhr_msg');
like($stderr, qr/openhr_msg was not loaded at server start/,
	'without preloading there is no extension');
like($stderr, qr/Set "shared_preload_libraries = 'openhr_msg'"/,
	'... and a hint tells what to do');
is( $node->safe_psql(
		'postgres', "LOAD 'openhr_msg'; SHOW openhr_msg.rate_limit"),
	30,
	'the library can still be loaded, as an output plugin is');

# wal_level is too low.

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'openhr_msg'");
$node->restart;
is(log_count('WARNING:  openhr_msg delivers no messages while "wal_level"'),
	1, 'a low wal_level is told once');
$node->safe_psql('postgres', 'CREATE EXTENSION openhr_msg');
wait_for_status(
	"bool_or(worker = 'streamer' AND state = 'waiting')"
	  . " AND bool_and(state = 'running' OR worker <> 'executor')",
	'the streamer waits, the rest works');
$node->safe_psql('postgres', $insert);
my $pid = status('pid', "worker = 'streamer'");
$node->safe_psql('postgres', 'CREATE DATABASE wakes_them');
is(status('pid', "worker = 'streamer'"), $pid, '... and does not exit');

# Too few worker slots.

$node->append_conf('postgresql.conf',
	"wal_level = logical\nmax_worker_processes = 3");
$node->restart;
is( log_count('WARNING:  openhr_msg starts no workers: it needs 4, and of "max_worker_processes" 2 are left'),
	1, 'too few worker slots are told once');
is(status('count(*)', "state = 'down'"), 4, '... and status() shows it');

# As many as we need; but the server's own launcher takes one of them.
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
$node->restart;
is( log_count('it needs 4, and of "max_worker_processes" 3 are left'),
	1, 'those that others take do not count');
is(status('count(*)', "state = 'down'"), 4, '... and none is started');

# Another takes what is left while we are away: ours are reserved.
$node->append_conf('postgresql.conf', 'max_worker_processes = 6');
$node->restart;
wait_for_status($all_run, 'with enough slots they start');
my $other = $node->background_psql('postgres');
$other->query_until(qr/begun/, q{\echo begun
	SELECT set_config(name, 'on', false) FROM pg_settings
	WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
	SELECT pg_sleep(600);
});
$node->poll_query_until('postgres', q{SELECT count(*) = 1
	FROM pg_stat_activity WHERE backend_type = 'parallel worker'})
  or die 'no parallel worker is there';
$pid = status('pid', "worker = 'executor' AND number = 1");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
wait_for_status("$all_run AND bool_and(pid <> $pid)",
	'a worker comes back when there is no free slot');
$node->safe_psql('postgres',
	"INSERT INTO conversations (title) VALUES ('no month, no slot');
	 SELECT openhr_msg.send_message(id, 'hello') FROM conversations
	 WHERE title = 'no month, no slot'");
is( $node->safe_psql('postgres', q{SELECT count(*) FROM messages}),
	1, 'a message is sent when no slot is free to make its month');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid)
	FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
$other->{run}->finish;

$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
wait_for_status($all_run, 'with enough slots they start');
insert_arrives('... and events flow');

# A bad value is refused, without showing a secret.

($ret, $stdout, $stderr) = $node->psql('postgres',
	q{ALTER SYSTEM SET openhr_msg.jwt_secret = 'hunter2'});
like($stderr, qr/ERROR:  secret in parameter .* is too short/,
	'a short secret is refused');
unlike($stderr, qr/hunter2/, '... and not shown');

# The slot was dropped behind our back.

my $epoch = epoch();
$node->safe_psql(
	'postgres', q{
	SELECT openhr_msg.stop_workers();
	SELECT pg_drop_replication_slot('openhr_msg');
	SELECT openhr_msg.start_workers()});
wait_for_status($all_run, 'a slot that is missing is made again');
is(epoch(), $epoch + 1, '... in a new epoch');
insert_arrives('... and events flow');

# The name is taken.  They try again ever more rarely.

$node->safe_psql(
	'postgres', q{
	SELECT openhr_msg.stop_workers();
	SELECT pg_drop_replication_slot('openhr_msg');
	SELECT pg_create_physical_replication_slot('openhr_msg');
	SELECT openhr_msg.start_workers()});
$node->wait_for_log('replication slot "openhr_msg" is used for something else');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('openhr_msg')});
wait_for_status($all_run, 'when the name is free again, they go on');

# Much WAL alone is no reason to give up the slot.

sub switch_wal
{
	$node->safe_psql('postgres',
		"SELECT pg_logical_emit_message(false, 'x', 'x'); SELECT pg_switch_wal()");
	return;
}

$node->safe_psql('postgres', 'ALTER SYSTEM SET openhr_msg.max_slot_lag = 40');
$node->reload;
$epoch = epoch();
for (1 .. 5)
{
	switch_wal();
	$node->safe_psql('postgres', $insert);
	$node->poll_query_until('postgres',
		'SELECT lag_bytes < 15 * 1024 * 1024 FROM openhr_msg.slot_status');
}
is(epoch(), $epoch, 'a slot that follows is kept, however much WAL passes');

# An open transaction holds back WAL, more than the slot may.

$node->safe_psql('postgres', 'ALTER SYSTEM SET openhr_msg.max_slot_lag = 4');
$node->reload;
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; $insert");
$epoch = epoch();
for (1 .. 3)
{
	switch_wal();
	$node->safe_psql('postgres', 'CHECKPOINT');
}
ok( $node->poll_query_until(
		'postgres', "SELECT openhr_msg.slot_epoch() > $epoch"),
	'a slot that lags is dropped');
is( log_count('because it holds back more WAL than "openhr_msg.max_slot_lag"') > 0,
	1, '... which the log tells');
$session->query_safe('COMMIT');
$session->quit;
wait_for_status($all_run, '... and made again');
insert_arrives('... and events flow');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET openhr_msg.max_slot_lag');
$node->reload;

# The server has invalidated the slot while the workers were away.

$node->safe_psql(
	'postgres', q{
	SELECT openhr_msg.stop_workers();
	ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'});
$node->reload;
for (1 .. 4)
{
	switch_wal();
	$node->safe_psql('postgres', 'CHECKPOINT');
}
is( $node->safe_psql(
		'postgres', 'SELECT wal_status FROM openhr_msg.slot_status'),
	'lost',
	'a slot can get lost');
$node->safe_psql(
	'postgres', q{
	ALTER SYSTEM RESET max_slot_wal_keep_size;
	SELECT openhr_msg.start_workers()});
$node->reload;
wait_for_status($all_run, 'a lost slot is made again');
is(log_count('because the server has invalidated it'), 1, '... with a word');
insert_arrives('... and events flow');

# A transaction that cannot be decoded: a label that its catalogs lack.

$node->safe_psql(
	'postgres', q{
	CREATE TYPE mood AS ENUM ('fine', 'lost');
	ALTER TABLE conversations ADD COLUMN mood mood;
	CREATE TABLE moods AS SELECT 'lost'::mood AS mood;
	DELETE FROM pg_enum WHERE enumlabel = 'lost'});
$epoch = epoch();
my $offset = -s $node->logfile;
$node->safe_psql('postgres',
	'INSERT INTO conversations (mood) SELECT mood FROM moods');
ok( $node->poll_query_until(
		'postgres', "SELECT openhr_msg.slot_epoch() > $epoch"),
	'a transaction that cannot be decoded is given up');
is(log_count('decoding failed at [0-9A-F]+/[0-9A-F]+, attempt \d of 5', $offset),
	5, '... after five attempts');
is( log_count('because the WAL that it stands at cannot be decoded', $offset),
	1, '... with a word');
wait_for_status($all_run, 'the workers run');
insert_arrives('... and events flow');

$node->stop;
done_testing();
