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
my $ledger = Ledger->new($node, readers => 6, patience => 4);
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

sub state_is
{
	my ($name, $state) = @_;

	return $node->value("SELECT state = '$state' FROM openhr_msg.status()
		WHERE $worker{$name}") eq 't';
}

sub epoch { return $node->value('SELECT openhr_msg.epoch()') }

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

# A gateway for good: the other one goes on without it.

my $stuck = pid_of('a gateway');
my $ana = $node->person('Ana');
my $talk = $node->conversation($ana);
my $empty = $node->conversation($node->person('Nobody'));
my @clients = map { $node->subscribe($ana) } 1 .. 10;

$ledger->start;
kill 'STOP', $stuck;
$node->value("INSERT INTO messages (conversation_id, content)
	SELECT '$empty', repeat('x', 1000) FROM generate_series(1, 2000)");
$node->wait_until(sub { state_is('a gateway', 'stuck') },
	'the gateway is left behind');
pass('a gateway that takes no events is shown to be stuck');
$ledger->flow;
pass('... and the other one goes on');
$node->say($talk, $ana, 'hello');
kill 'CONT', $stuck;

my ($went_on, $sent_away) = (0, 0);
foreach my $ws (@clients)
{
	eval { $ws->next_event('postgres_changes'); $went_on++ };
	$sent_away++ if $@ =~ /closed with 1012/;
}
cmp_ok($went_on, '>', 0, '... and its clients notice nothing');
is($sent_away, 10 - $went_on, '... those of the stuck one connect again');
$ledger->flow;
$ledger->settle;
$ledger->verify('a gateway that was stuck');
is(epoch(), $epoch, 'the slot was never in danger');

# An executor for good: the other one does its work.

my $executor = pid_of('an executor');
my $items = [ { event => '*', schema => 'public' } ];

kill 'STOP', $executor;
@clients = map { $node->connect($node->person("Newcomer $_")) } 1 .. 20;
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
$ledger->survives('an executor that was stuck', sub { });

$ledger->stop;
$node->stop;
done_testing();
