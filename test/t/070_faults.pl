# Whatever ends, and however: nothing that was acknowledged is lost, and every
# client ends up with what it may see, once.

use strict;
use warnings;

use GatewayCluster;
use Ledger;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = GatewayCluster->new('main', 'restart_after_crash' => 'on')->serve;
my $ledger = Ledger->new($node);
my @workers = (
	[ 'the streamer', "worker = 'streamer'" ],
	[ 'the gateway', "worker = 'gateway'" ],
	[ 'executor 0', "worker = 'executor' AND number = 0" ],
	[ 'executor 1', "worker = 'executor' AND number = 1" ]);

sub pid_of
{
	my ($where) = @_;

	return $node->value("SELECT pid FROM openhr_msg.status() WHERE $where");
}

# Ended in an orderly way, a worker is missed by its own clients only.
foreach my $worker (@workers)
{
	my ($name, $where) = @$worker;
	my $joins;

	$ledger->survives(
		"$name is terminated",
		sub {
			my $pid = pid_of($where);

			$joins = $ledger->joins;
			$node->value("SELECT pg_terminate_backend($pid, 10000)");
			$node->wait_until(
				sub { (pid_of($where) || $pid) != $pid }, "$name is back");
		});
	is($ledger->joins - $joins, $name eq 'the gateway' ? 3 : 0,
		'... and nobody else has to connect again');
}

# Killed, any process takes the others with it.

# Kill, and wait until the server has begun to start again.
sub crash
{
	my ($pid) = @_;
	my $crashes = crashes();

	kill 'KILL', $pid;
	$node->wait_until(sub { crashes() > $crashes }, 'the server restarts');
	return;
}

sub crashes
{
	my $count = () = slurp_file($node->logfile) =~
	  /all server processes terminated; reinitializing/g;

	return $count;
}

# A backend that has a message under way, and what keeps it there.
sub sender
{
	my $session = $node->background_psql('postgres');
	my $pid;

	$session->query_safe("BEGIN; SELECT FROM conversations
		WHERE id = '$ledger->{hall}' FOR UPDATE");
	$node->wait_until(
		sub {
			$pid = $node->value(
				"SELECT pid FROM pg_stat_activity
				WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'
				LIMIT 1");
		},
		'a message is being sent');
	return ($pid, $session);
}

sub server_process
{
	my ($type) = @_;

	return $node->value(
		"SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'");
}

my @victims = (
	(map { my ($name, $where) = @$_; [ $name, sub { pid_of($where) } ] }
		  @workers),
	[ 'a backend', \&sender ],
	[ 'the checkpointer', sub { server_process('checkpointer') } ]);

foreach my $victim (@victims)
{
	my ($name, $find) = @$victim;

	$ledger->survives(
		"$name is killed",
		sub {
			my ($pid, $session) = $find->();

			crash($pid);
			eval { $session->quit } if $session;
		});
}

# Without a postmaster everybody goes by himself.
$ledger->survives(
	'the postmaster is killed',
	sub {
		my @pids = split /\n/, $node->value(
			'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');

		$node->kill9;
		$node->wait_until(sub { !kill 0, @pids }, 'the others are gone');
		$node->start;
	});

# The server stops.

$ledger->survives('an immediate shutdown',
	sub { $node->stop('immediate'); $node->start; });

my @idle = map { $node->subscribe($ledger->{readers}[0]{profile}) } 1 .. 1000;
my $took;
$ledger->survives(
	'a fast shutdown',
	sub {
		my $start = time;

		$node->stop('fast');
		$took = time - $start;
		$node->start;
	});
cmp_ok($took, '<', 2, '... in less than two seconds');
is(scalar(grep { ($_->close_code // 0) == 1012 } @idle), 1000,
	'... and announced to 1,000 idle clients');

$ledger->stop;
$node->stop;
done_testing();
