# Hostile clients of every kind at once, round after round: the memory of the
# workers has a bound while they are at it, and does not grow from one round to
# the next.

use strict;
use warnings;

use Attackers;
use GatewayCluster;
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;

my $ROUNDS = $ENV{MEMORY_ROUNDS} // 3;

# A round leaves no more than this behind.  What is in use afterwards is the
# same after each; but free memory lies in pieces between what is in use, and
# the C library finds the best places for all only after some fifteen rounds.
my $ROUND_KB = 3 * 1024;

# And never takes more: each of some hundred connections may wait for the rest
# of a message or of a request, and have a queue that is full.
my $MOST_KB = 32 * 1024;

my $node = GatewayCluster->new('main',
	'openhr_msg.max_queue_bytes' => 65536,
	'openhr_msg.max_connections' => 1000)->serve;
my %pids = map { $_ => $node->status('pid', $_) } qw(gateway streamer executor);
my $attackers = Attackers->new($node);

# Memory of each worker that is its own, in kB.
sub memory
{
	my %memory;

	foreach my $worker (keys %pids)
	{
		my $status = slurp_file("/proc/$pids{$worker}/status");

		($memory{$worker}) = $status =~ /^RssAnon:\s+(\d+) kB/m
		  or die "no memory of the $worker in /proc\n";
	}
	return \%memory;
}

sub largest
{
	my ($most, $memory) = @_;

	$most->{$_} = max($most->{$_} // 0, $memory->{$_}) foreach keys %$memory;
	return;
}

my $before = memory();
my @after;
my %most;
foreach my $round (1 .. $ROUNDS)
{
	$attackers->launch;
	my $report = $attackers->serve_meanwhile(sub { largest(\%most, memory()) });

	is_deeply($report->{faults}, [],
		"round $round: the honest were served $report->{rounds} times");
	$node->wait_until(
		sub { $node->status('connections', 'gateway') == 3 },
		'the hostile are gone');
	push @after, memory();
}

foreach my $worker (sort keys %pids)
{
	note("$worker: $before->{$worker} kB before, at most $most{$worker},"
		  . " after each round " . join ', ', map { $_->{$worker} } @after);
	cmp_ok($most{$worker} - $before->{$worker}, '<', $MOST_KB,
		"the $worker takes so much at most");

	# The first round warms up: tables and buffers reach their size.
	cmp_ok($after[-1]{$worker} - $after[0]{$worker}, '<',
		$ROUND_KB * ($ROUNDS - 1), '... and does not grow');
	is($node->status('pid', $worker), $pids{$worker}, '... nor die');
}

$node->stop;
done_testing();
