# A gateway that has no file descriptors left turns newcomers away, goes on
# with those that it has, and neither spins nor fills the log.

use strict;
use warnings;

use GatewayCluster;
use Ledger;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use WebSocket;

my $node = GatewayCluster->new('main')->serve;
my $ledger = Ledger->new($node);
my $ana = $node->person('Ana');
my $pid = $node->status('pid', 'gateway');
my $complaint = qr/no file descriptors are left/;

# Descriptors that the gateway may have beyond those that it has.
sub allow
{
	my ($more) = @_;
	my $open = () = glob "/proc/$pid/fd/*";
	my $limit = $open + $more;

	system_or_bail('prlimit', '--pid', $pid, "--nofile=$limit:");
	return;
}

sub complaints
{
	my $count = () = slurp_file($node->logfile) =~ /$complaint/g;

	return $count;
}

$ledger->start;
my @clients = map { $node->subscribe($ana) } 1 .. 10;
allow(3);
push @clients, $_
  foreach grep { defined } map { eval { $node->connect($ana) } } 1 .. 20;
cmp_ok(scalar(@clients), '<', 20, 'newcomers are turned away');
$ledger->flow;
$ledger->settle;

my @newcomers = map { WebSocket->dial(port => $node->gateway_port) } 1 .. 300;
is(scalar(grep { $_->is_gone } @newcomers), 300, '... at once');
is_deeply([ grep { $_ ne 'ok' } map { $_->heartbeat } @clients ],
	[], '... and the others are served');
is(complaints(), 1, '... which is logged once');

my $turns = $node->status('wakeups', 'gateway');
sleep 3;
cmp_ok($node->status('wakeups', 'gateway') - $turns,
	'<', 15, 'the gateway does not spin');

allow(100);
is($node->connect($ana)->heartbeat, 'ok', 'it takes clients again when it can');
is($node->status('pid', 'gateway'), $pid, 'it has lived through it');
$ledger->survives('no descriptors', sub { });

$ledger->stop;
$node->stop;
done_testing();
