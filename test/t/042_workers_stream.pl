
# What the streamer promises, as a client sees it: every message once and in
# order, whatever happens to the workers, and none before it can be selected.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Two gateways, so that one may hold up the other.  The WAL writer sleeps.
my $node = GatewayCluster->new('main',
	'openhr_msg.gateways' => 2,
	'openhr_msg.executors' => 1,
	'openhr_msg.max_queue_bytes' => "'64MB'",
	'wal_writer_delay' => "'10s'",
	'max_prepared_transactions' => 2)->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my @readers = map { $node->subscribe($ana) } 1 .. 4;
my $next = 1;					# seq that each reader gets next

# SQL that sends n messages.
sub sends
{
	my ($n, $size) = @_;

	$size //= 200;
	return "INSERT INTO messages (conversation_id, sender_profile_id, content)
		SELECT '$talk', '$ben', repeat('x', $size)
		FROM generate_series(1, $n);";
}

# All readers get n more messages, in order.
sub all_get
{
	my ($n, $name) = @_;
	my @wrong;

	foreach my $seq ($next .. $next + $n - 1)
	{
		foreach my $ws (@readers)
		{
			my $got =
			  $ws->next_event('postgres_changes')->{data}{record}{seq};
			push @wrong, "$got instead of $seq" if $got != $seq;
		}
	}
	is_deeply(\@wrong, [], $name);
	$next += $n;
	$_->heartbeat foreach @readers;
	return;
}

# Ways to commit

my $start = time;
$node->value(sends(1));
all_get(1, 'a message');
$node->value('SELECT openhr_msg.create_partitions()');
$node->value('SET synchronous_commit = off;' . sends(1));
all_get(1, 'a message of an asynchronous commit');
cmp_ok(time - $start, '<', 8, '... before the WAL writer wakes up');

$node->value(sends(1200));
all_get(1200, 'a transaction that fills every queue');
$node->value('BEGIN;' . sends(1) . 'SAVEPOINT s;' . sends(10)
	  . 'ROLLBACK TO s;' . sends(1) . 'COMMIT');
all_get(2, 'what a savepoint leaves');
$node->value('BEGIN;' . sends(2) . "PREPARE TRANSACTION 'two'");
$node->value("COMMIT PREPARED 'two'");
all_get(2, 'a prepared transaction');
my (undef, undef, $refused) = $node->psql('postgres',
	"BEGIN; DROP EXTENSION openhr_msg CASCADE; PREPARE TRANSACTION 'drop'");
like($refused, qr/cannot PREPARE a transaction that has created or dropped/,
	'the extension cannot go in a prepared transaction');
$node->value(sends(1));
all_get(1, 'a message after that');

# Not before it can be selected: its reader is quicker than its committer.

my $hidden = 0;
my $session = $node->background_psql('postgres');
foreach (1 .. 50)
{
	$session->query_until(qr/begun/, "\\echo begun\n" . sends(1) . "\n");
	my @ids =
	  map { $_->next_event('postgres_changes')->{data}{record}{id} } @readers;
	$hidden++
	  if $node->value("SELECT count(*) FROM messages WHERE id = '$ids[0]'") != 1;
	$next++;
}
$session->quit;
is($hidden, 0, 'a message that was pushed can be selected');

# Workers come and go while messages are sent.

my $sends = 300;
my $script = $node->basedir . '/send.sql';
append_to_file($script, sends(1));
my $pgbench = IPC::Run::start(
	[
		'pgbench', '-n', '-c', 1, '-t', $sends, '-R', 40,
		'-h', $node->host, '-p', $node->port, '-f', $script, 'postgres'
	],
	'>', \my $out, '2>', \my $err);
foreach my $worker (qw(streamer executor streamer streamer))
{
	$node->terminate($worker);
}
$pgbench->finish or die "pgbench failed: $err";
all_get($sends, 'messages sent while workers were restarted');
is($readers[0]->heartbeat, 'ok', '... and nothing but these');
is(scalar(grep { $_->[3] eq 'postgres_changes' } map { @{ $_->{events} } } @readers),
	0, '... to anybody');

# A gateway that does not move holds up the others for a while; then they go
# on, and it gives its clients what they missed when it moves again.

sub connections
{
	return split /\n/, $node->value("SELECT connections
		FROM openhr_msg.status() WHERE worker = 'gateway' ORDER BY gateway");
}

# Readers by their gateway; the kernel chooses one.
my @of = ([], []);
$_->close foreach @readers;
$node->wait_until(sub { !grep { $_ } connections() }, 'nobody is connected');
until (@{ $of[0] } && @{ $of[1] })
{
	my ($before) = connections();
	my $ws = $node->subscribe($ana);

	push @{ $of[ (connections())[0] > $before ? 0 : 1 ] }, $ws;
}

my $stuck = $node->value("SELECT pid FROM openhr_msg.status()
	WHERE worker = 'gateway' AND gateway = 0");
my $offset = -s $node->logfile;
my $epoch = $node->value('SELECT openhr_msg.slot_epoch()');
kill 'STOP', $stuck;
$node->value(sends(200, 10000));	# more than a queue holds
@readers = @{ $of[1] };
all_get(200, 'clients of a gateway that moves get all');
ok( $node->log_contains(
		'gateway 0 takes no events, the others go on without it', $offset),
	'... when the other one was left behind');

# A streamer that starts meanwhile does not wait for ever, either.
$node->terminate('streamer');
$node->value(sends(1));
all_get(1, '... also when the streamer is started anew');

kill 'CONT', $stuck;
@readers = @{ $of[0] };
$next -= 201;
all_get(201, 'clients of the other one get all when it moves again');
push @readers, @{ $of[1] }, map { $node->subscribe($ana) } 1 .. 8;
$node->value(sends(1));
all_get(1, '... and what comes then');
is($node->value('SELECT openhr_msg.slot_epoch()'), $epoch,
	'... without a new epoch for all');

$node->stop;
done_testing();
