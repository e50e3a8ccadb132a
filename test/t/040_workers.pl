
# The background workers: start, restart, and the ways in which the database
# and the extension come and go under them.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# Two databases: the workers serve "chat"; from "other" they are looked at
# and sent away while "chat" does not exist.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
my $port = PostgreSQL::Test::Cluster::get_free_port();
$node->append_conf(
	'postgresql.conf', qq{
wal_level = logical
shared_preload_libraries = 'openhr_msg'
max_worker_processes = 16
autovacuum = off
wal_writer_delay = 10s
max_wal_senders = 1
synchronous_commit = local
synchronous_standby_names = 'nobody'
openhr_msg.database = 'chat'
openhr_msg.port = $port
});

my $insert = q{INSERT INTO conversations (title) VALUES ('x')};

sub status
{
	my ($expression, $where) = @_;
	return $node->safe_psql('other',
		"SELECT $expression FROM openhr_msg.status() WHERE $where");
}

sub wait_for_status
{
	my ($condition, $name) = @_;
	ok( $node->poll_query_until(
			'other', "SELECT $condition FROM openhr_msg.status()"),
		$name);
	return;
}

sub all_are
{
	my ($state) = @_;
	return "count(*) = 4 AND bool_and(state = '$state')";
}

# Events that were given to the gateway since the streamer's start.
sub streamed
{
	return status('events', "worker = 'streamer'");
}

sub epoch
{
	return $node->safe_psql('other', 'SELECT openhr_msg.slot_epoch()');
}

# Insert, and wait until the streamer has passed it on; how many events?
sub events_of_insert
{
	my $before = streamed();
	$node->safe_psql('chat', $insert);
	my $lsn = $node->safe_psql('chat', 'SELECT pg_current_wal_flush_lsn()');
	$node->poll_query_until('other',
		"SELECT position >= '$lsn' FROM openhr_msg.status()"
		  . " WHERE worker = 'streamer'")
	  or return -1;
	return streamed() - $before;
}

sub log_count
{
	my ($pattern) = @_;
	my $count = () = slurp_file($node->logfile) =~ /$pattern/g;
	return $count;
}

# The database is missing.  Nobody else has connected since the start, so that
# no description of a catalog's index is around.

$node->start;
$node->wait_for_log('waits for database "chat"');
$node->safe_psql('postgres', 'CREATE DATABASE other');
my ($ret, $stdout, $stderr) =
  $node->psql('other', 'CREATE EXTENSION openhr_msg');
is($ret, 0, 'the extension can be made in a database that is not served');
like($stderr, qr/serve database "chat", not "other"/, '... with a warning');

ok( $node->poll_query_until(
		'other',
		q{SELECT state = 'waiting' FROM openhr_msg.status()
		  WHERE worker = 'streamer'}),
	'the streamer waits for the database');
my $watcher = status('pid', "worker = 'streamer'");
is(log_count('FATAL:  database "chat" does not exist'),
	1, 'one attempt is in the log');
is(log_count('waits for database "chat"'), 1, 'one explanation is, too');

# It comes, then the extension.

$node->safe_psql('postgres', 'CREATE DATABASE chat');
wait_for_status("bool_and(state = 'waiting' OR worker = 'gateway')",
	'the workers connect and wait for the extension');
is(status('count(DISTINCT pid)', 'true'), 4, 'there are four processes');

$node->safe_psql('chat', 'CREATE EXTENSION openhr_msg');
wait_for_status(all_are('running'), 'CREATE EXTENSION sets them to work');
is(events_of_insert(), 2, 'an insert makes two events, row and commit');
is( $node->safe_psql(
		'chat',
		'SELECT database, active_pid = pid, epoch > 0'
		  . ' FROM openhr_msg.slot_status, openhr_msg.status()'
		  . " WHERE worker = 'streamer'"),
	'chat|t|t',
	'slot_status shows the slot');

# Transactions: nothing before the commit, nothing of a rollback.

my $before = streamed();
my $session = $node->background_psql('chat');
$session->query_safe("BEGIN; $insert");
is(events_of_insert(), 2, 'an open transaction holds up nobody');
$session->query_safe('ROLLBACK');
is(streamed() - $before, 2, 'a rollback is silent');

# The commit is in the WAL, but a standby that does not answer keeps it from
# being visible.  The streamer looks again and again meanwhile.

$before = streamed();
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_until(qr/begun/,
	"SET synchronous_commit = on;\n\\echo begun\n$insert;\n");
$node->poll_query_until('chat',
	"SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $pid")
  or die 'the commit does not wait for a standby';
my $wakeups = status('wakeups', "worker = 'streamer'");
wait_for_status("bool_or(worker = 'streamer' AND wakeups > $wakeups + 5)",
	'the streamer waits for a commit to become visible');
is(streamed(), $before, 'an event is not sent before its row can be seen');
$node->safe_psql('chat', "SELECT pg_cancel_backend($pid)");
wait_for_status("bool_or(worker = 'streamer' AND events = $before + 2)",
	'... and is sent then');
$session->quit;

# The WAL writer sleeps; the streamer flushes asynchronous commits by itself.

$before = streamed();
my $since = time;
$node->safe_psql('chat', "SET synchronous_commit = off; $insert");
wait_for_status("bool_or(worker = 'streamer' AND events = $before + 2)",
	'an asynchronous commit arrives');
cmp_ok(time - $since, '<', 8, '... before the WAL writer wakes up');

# Idle.

my $sum = status('sum(wakeups)', 'true');
$since = time;
sleep 5;
cmp_ok((status('sum(wakeups)', 'true') - $sum) / (time - $since),
	'<', 2, 'idle workers wake up less than twice a second');

# Other people's databases.

my $epoch = epoch();
$since = time;
$node->safe_psql('postgres', 'CREATE DATABASE scratch');
$node->safe_psql('scratch',
	'CREATE EXTENSION openhr_msg; DROP EXTENSION openhr_msg');
$node->safe_psql('postgres', 'DROP DATABASE scratch');
cmp_ok(time - $since, '<', 10, 'no worker holds up CREATE DATABASE');
is(events_of_insert(), 2, '... and none is disturbed');
is(epoch(), $epoch, '... by an extension there');

# Restarts.  The streamer goes on where it was, so nothing comes twice.

for my $worker (qw(streamer gateway executor))
{
	my $pid = status('pid', "worker = '$worker' ORDER BY number LIMIT 1");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	wait_for_status(
		all_are('running') . " AND bool_and(pid <> $pid)",
		"the $worker comes back");
	is(events_of_insert(), 2, '... and events flow');
}
my $total = streamed();
$pid = status('pid', "worker = 'streamer'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$node->safe_psql('chat', $insert);
wait_for_status(
	all_are('running')
	  . " AND bool_and(pid <> $pid)"
	  . " AND bool_or(worker = 'streamer' AND events = 2)",
	'what was committed meanwhile comes once, and nothing else');

$node->restart;
wait_for_status(all_are('running'), 'all are there after a restart');
is(streamed(), 0, 'a clean restart repeats nothing');

$node->stop('immediate');
$node->start;
wait_for_status(all_are('running'), 'all are there after a crash');
is(events_of_insert() >= 2, 1, '... and events flow');

# The extension goes and comes.

$epoch = epoch();
$node->safe_psql('chat', 'DROP EXTENSION openhr_msg');
ok( $node->poll_query_until(
		'other', 'SELECT count(*) = 0 FROM pg_replication_slots'),
	'DROP EXTENSION drops the slot');
cmp_ok(epoch(), '>', $epoch, '... which ends an epoch');
$epoch = epoch();
$node->safe_psql('chat', 'CREATE EXTENSION openhr_msg');
wait_for_status(all_are('running'), 'CREATE EXTENSION works again');
cmp_ok(epoch(), '>', $epoch, '... in a new epoch');
is(events_of_insert(), 2, '... and events flow');

# Out of the database, and back.

($ret, $stdout, $stderr) = $node->psql('postgres', 'DROP DATABASE chat');
like($stderr, qr/active logical replication slot/,
	'the database cannot be dropped while it is served');
$node->safe_psql('other',
	'BEGIN; SELECT openhr_msg.stop_workers(); ROLLBACK');
$node->safe_psql('postgres', 'DROP DATABASE chat');
pass('after stop_workers(), rolled back or not, it can');
$node->safe_psql('other', 'SELECT openhr_msg.stop_workers()');
wait_for_status(all_are('stopped'), 'the workers are stopped');

$node->safe_psql('other', 'SELECT openhr_msg.start_workers()');
wait_for_status("bool_or(worker = 'streamer' AND state = 'waiting')",
	'start_workers() makes them look for the database');
$node->safe_psql('postgres', 'CREATE DATABASE chat');
$node->safe_psql('chat', 'CREATE EXTENSION openhr_msg');
wait_for_status(all_are('running'), 'they serve a database of that name');
is(events_of_insert(), 2, '... and events flow');

($ret, $stdout, $stderr) = $node->psql('chat',
	'CREATE ROLE nobody; SET ROLE nobody; SELECT openhr_msg.stop_workers()');
like($stderr, qr/permission denied/, 'not everybody may stop the workers');

$node->stop;
done_testing();
