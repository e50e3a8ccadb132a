# Workers that stand still: they cost time, and at last their own clients, but
# nobody else's.

use strict;
use warnings;

use GatewayCluster;
use Ledger;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = GatewayCluster->new('main',
	'openhr_msg.gateways' => 2,
	'openhr_msg.executors' => 2)->serve;

# Readers soon lose patience, so that they get away from a stuck gateway.
my $ledger = Ledger->new($node,
	readers => 4, patience => 4, pause => 0.1, gaps => 1);
my %worker = (
	'a gateway' => "worker = 'gateway' AND gateway = 0",
	'the streamer' => "worker = 'streamer'",
	'an executor' => "worker = 'executor' AND gateway = 1 AND number = 0");

sub pid_of
{
	my ($name) = @_;

	return $node->value(
		"SELECT pid FROM openhr_msg.status() WHERE $worker{$name}");
}

sub epoch { return $node->value('SELECT openhr_msg.slot_epoch()') }

my $epoch = epoch();

# For a while

foreach my $name (sort keys %worker)
{
	my $joins;

	$ledger->survives(
		"$name stands still for a while",
		sub {
			my $pid = pid_of($name);

			$joins = $ledger->joins;
			kill 'STOP', $pid;
			sleep 2;
			kill 'CONT', $pid;
		});
	is($ledger->joins, $joins, '... and nobody has to connect again');
}

# A gateway for good: the other one goes on without it, in the same epoch.

my $stuck = pid_of('a gateway');
my $empty = $node->conversation($node->person('Nobody'));

$ledger->start;
kill 'STOP', $stuck;
$node->value("INSERT INTO messages (conversation_id, content)
	SELECT '$empty', repeat('x', 10000) FROM generate_series(1, 200)");
$node->wait_for_log(qr/gateway 0 takes no events/);
$ledger->flow;
kill 'CONT', $stuck;
$ledger->flow;
$ledger->settle;
$ledger->verify('a gateway stands still for long');
is(epoch(), $epoch, '... which does not endanger the slot');

# An executor for good: the other one does its work.

my $executor = pid_of('an executor');
my $items = [ { event => '*', schema => 'public' } ];

kill 'STOP', $executor;
my @clients = map { $node->connect($node->person("Newcomer $_")) } 1 .. 20;
my @joins = map {
	$_->push_event('realtime:all', 'phx_join',
		{ config => { postgres_changes => $items } })
} @clients;
is_deeply([ grep { $_ ne 'ok' } map { $_->heartbeat } @clients ],
	[], 'joins that wait for an executor do not hold up a connection');
is_deeply(
	[ grep { $_ ne 'ok' } map { $_->reply(shift @joins)->{status} } @clients ],
	[], '... and another one answers them');
kill 'CONT', $executor;
$ledger->survives('an executor stands still for long', sub { });

$ledger->stop;
$node->stop;
done_testing();
