#
# The load tool of the benchmarks, and with it a gateway that has fifty clients:
# everything that is published arrives, once, in order.
#
use strict;
use warnings;

use FindBin;
use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bench = "$FindBin::RealBin/../bench";
my $node = GatewayCluster->new('main')->serve;

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
$ENV{JWT_SECRET} = $GatewayCluster::SECRET;

# Run it with 50 clients; returns whether all is well, and what it tells.
sub load
{
	my (@options) = @_;
	my ($stdout, $stderr);
	my $fine = IPC::Run::run([ "$bench/load", '--clients=50', @options ],
		'>', \$stdout, '2>', \$stderr);

	diag($stderr) if $stderr ne '';
	return { fine => $fine, $stdout =~ /^(\S+) (\S+)$/mg };
}

command_ok([ 'make', '-s', '-C', $bench, 'load', 'hub' ],
	'the load tool and the hub are built');

my $port = '--port=' . $node->gateway_port;
my @cases = (
	[ [ '--fill', '--rounds=10' ], 10, 20, 'one message at a time' ],
	[ [ '--rounds=4', '--burst=50' ], 200, 400, 'bursts over all rooms' ],
	[ [ '--fill', '--room-size=50', '--rounds=4', '--burst=32' ], 128, 6400,
		'bursts into one room' ]);
foreach my $case (@cases)
{
	my ($options, $messages, $frames, $what) = @$case;
	my $run = load($port, @$options);

	ok($run->{fine}, "$what: all is well");
	is("$run->{messages} $run->{frames}", "$messages $frames",
		"$what: as many messages and frames as there should be");
}

# How many writers send in a second is a matter of speed, but not that they
# are all received.
my $run = load($port, '--writers=2', '--rate=200', '--seconds=1');
ok($run->{fine} && $run->{messages} > 0, 'writers with a timetable');
is($run->{frames}, 2 * $run->{messages}, 'two readers for each message');

# What is taken away from a client is told.
my $talk = '00000002-0000-4000-9000-000000000000';
$node->value("DELETE FROM conversation_participants
	WHERE conversation_id = '$talk'
	AND profile_id = '00000000-0000-4000-8000-000000000001'");
$run = load($port, '--writers=1', '--rate=100', '--seconds=1', '--patience=1');
ok(!$run->{fine} && $run->{missing} > 0, 'a loss is not overlooked');

$node->stop;
done_testing();
