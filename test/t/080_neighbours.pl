# The workers stand in nobody's way: whatever others do to databases,
# tablespaces, tables and indexes is not held up by them, nor by what they
# wait for themselves.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A commit with synchronous_commit = on waits until it is cancelled.
my $node = GatewayCluster->new('main',
	'openhr_msg.executors' => 1,
	'openhr_msg.max_queue_bytes' => "'16MB'",
	'max_wal_senders' => 1,
	'synchronous_standby_names' => "'nobody'",
	'synchronous_commit' => 'local')->serve;
my $ana = $node->person('Ana');
my $talk = $node->conversation($ana);
my $elsewhere = $node->conversation($ana);
my $reader = $node->subscribe($ana);
my $space = PostgreSQL::Test::Utils::tempdir;
my $said = 0;

$node->value('CREATE TABLE neighbour (n int PRIMARY KEY)');

# What they do; each ends in time.  Every process of the server must agree to
# those with a barrier: it closes the files that it has open.
my @barriers = (
	[ 'CREATE DATABASE', 'CREATE DATABASE other' ],
	[ 'CREATE DATABASE by copying files',
		'CREATE DATABASE copied TEMPLATE template0 STRATEGY file_copy' ],
	[ 'CREATE TABLESPACE', "CREATE TABLESPACE room LOCATION '$space'" ],
	[ 'ALTER DATABASE SET TABLESPACE',
		'ALTER DATABASE other SET TABLESPACE room' ],
	[ 'ALTER DATABASE RENAME', 'ALTER DATABASE other RENAME TO another' ],
	[ 'DROP DATABASE', 'DROP DATABASE another' ],
	[ 'DROP DATABASE WITH FORCE', 'DROP DATABASE copied WITH (FORCE)' ],
	[ 'DROP TABLESPACE', 'DROP TABLESPACE room' ]);

# These wait for whoever holds an old snapshot ...
my @snapshots = (
	[ 'CREATE INDEX CONCURRENTLY',
		'CREATE INDEX CONCURRENTLY neighbour_n ON neighbour (n)' ],
	[ 'REINDEX CONCURRENTLY', 'REINDEX TABLE CONCURRENTLY neighbour' ],
	[ 'DROP INDEX CONCURRENTLY', 'DROP INDEX CONCURRENTLY neighbour_n' ]);

# ... or a lock.
my @locks = (
	[ 'VACUUM FULL', 'VACUUM FULL neighbour' ],
	[ 'CLUSTER', 'CLUSTER neighbour USING neighbour_pkey' ],
	[ 'VACUUM FULL of a catalog', 'VACUUM FULL pg_class' ],
	[ 'REINDEX of a catalog', 'REINDEX TABLE pg_attribute' ],
	[ 'CHECKPOINT', 'CHECKPOINT' ]);

# And these touch tables of ours.
my @ours = (
	[ 'an exclusive lock on messages', 'BEGIN; LOCK messages; COMMIT' ],
	[ 'CREATE INDEX CONCURRENTLY on conversations',
		'CREATE INDEX CONCURRENTLY ours ON conversations (title)' ],
	[ 'DROP INDEX CONCURRENTLY on conversations',
		'DROP INDEX CONCURRENTLY ours' ],
	[ 'CLUSTER on conversations',
		'CLUSTER conversations USING conversations_pkey' ],
	[ 'VACUUM FULL of participants',
		'VACUUM FULL conversation_participants' ],
	[ 'REINDEX of everything', 'REINDEX DATABASE postgres' ]);

# No time limit of the server's ends these by itself.
sub holds
{
	my ($while, @deeds) = @_;
	my $limit = $PostgreSQL::Test::Utils::timeout_default . 's';

	foreach my $deed (@deeds)
	{
		my ($name, @commands) = @$deed;
		my ($ret, undef, $stderr) = $node->psql('postgres', join "\n",
			"SET statement_timeout = '$limit';", map { "$_;" } @commands);

		is($stderr, '', "$while: $name");
	}
	return;
}

# The reader gets what was said, and each once.
sub is_heard
{
	my ($name) = @_;
	my %ids;

	$ids{ $reader->next_event('postgres_changes')->{data}{record}{id} }++
	  foreach 1 .. $said;
	$reader->heartbeat;
	is(scalar(keys %ids), $said, $name);
	is(scalar(grep { $_->[3] eq 'postgres_changes' } @{ $reader->{events} }),
		0, '... and nothing else');
	$said = 0;
	return;
}

sub send_to
{
	my ($conversation, $n, $size) = @_;

	$n //= 1;
	$size //= 200;
	return "INSERT INTO messages (conversation_id, sender_profile_id, content)
		SELECT '$conversation', '$ana', repeat('x', $size)
		FROM generate_series(1, $n);\n";
}

sub says
{
	$node->value(send_to($talk));
	$said++;
	return;
}

# The streamer waits in vain, again and again, for something that holds it up.
sub streamer_waits
{
	my $wakeups = $node->status('wakeups', 'streamer');
	my $events = $node->status('events', 'streamer');

	$node->wait_until(
		sub {
			$node->status("wakeups > $wakeups + 1 AND events = $events",
				'streamer') eq 't';
		},
		'the streamer waits');
	return;
}

# A process that heeds the server's signals tells of its memory when asked.
sub answers
{
	my ($worker) = @_;
	my $pid = $node->status('pid', $worker);
	my $offset = -s $node->logfile;

	$node->value("SELECT pg_log_backend_memory_contexts($pid)");
	ok($node->wait_for_log(qr/logging memory contexts of PID $pid/, $offset),
		"the $worker heeds signals");
	return;
}

# Wait for something of a process.
sub waits_for
{
	my ($where, $event) = @_;

	$node->wait_until(
		sub {
			$node->value("SELECT count(*) > 0 FROM pg_stat_activity
				WHERE $where AND wait_event = '$event'") eq 't';
		},
		"$where waits for $event");
	return;
}

says();
is_heard('a message');

# Idle workers

holds('idle', @barriers, @snapshots, @locks, @ours);
answers($_) foreach qw(streamer gateway executor);
says();
is_heard('... and messages flow');

# The streamer waits for a commit to become visible, in the middle of a
# transaction.  (That session itself holds up barriers and snapshots.)

my $session = $node->background_psql('postgres');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_until(qr/begun/,
	"SET synchronous_commit = on;\n\\echo begun\n" . send_to($elsewhere));
waits_for("pid = $pid", 'SyncRep');
streamer_waits();
holds('a commit waits', @locks);
answers('streamer');
says();
$node->value("SELECT pg_cancel_backend($pid)");
$session->quit;
$said++;
is_heard('... and messages flow afterwards');

# The streamer waits for room in the queue of a gateway that does not move.
# (That cannot take part in a barrier.)

my $gateway = $node->status('pid', 'gateway');
kill 'STOP', $gateway;
$node->value(send_to($talk, 200, 10000));
streamer_waits();
holds('a gateway is stuck', @snapshots, @locks);
answers('streamer');
$pid = $node->status('pid', 'streamer');
is($node->value("SELECT pg_terminate_backend($pid, 60000)"),
	't', 'a gateway is stuck: ending the streamer');
kill 'CONT', $gateway;

# It may have been left behind meanwhile, and has much to do.
$reader = $node->subscribe($ana);
$node->say($talk, $ana, 'the last');
1 until $reader->next_event('postgres_changes')->{data}{record}{content} eq
  'the last';
says();
is_heard('... and messages flow afterwards');

# An executor waits for a lock, on behalf of one who joins.

my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK conversation_participants');
foreach my $deed (@barriers, @snapshots)
{
	my $ws = $node->connect($node->person('Joiner'));

	$ws->push_event('realtime:x', 'phx_join',
		{ config => { postgres_changes =>
			[ { event => '*', schema => 'public', table => 'messages' } ] } },
		'1');
	waits_for("backend_type = 'openhr_msg executor'", 'relation');
	holds('an executor waits', $deed);
}
$locker->query_safe('COMMIT');
$locker->quit;
says();
is_heard('... and messages flow afterwards');

# A database that is in use is no template.

my (undef, undef, $stderr) =
  $node->psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
like($stderr, qr/source database "postgres" is being accessed by other users/,
	'the database that is served is no template');
like($stderr, qr/There are 3 other sessions/, '... as for any session');
says();
is_heard('... and messages flow');

$node->stop;
done_testing();
