# A bad network, and worse, for a while: clients that are cut, killed, paused and
# left half open, in a random order, and every process of the server killed once
# meanwhile.  Nothing that was acknowledged is lost, every client ends up with
# what the tables have, nothing comes twice on a connection, and at no time do the
# receipts tell of what has not arrived.
#
# OPENHR_MSG_SOAK_ROUNDS	how long, a quarter of a minute each; 3 unless set
# OPENHR_MSG_SEED			repeats what happens to whom, though not quite when

use strict;
use warnings;

use GatewayCluster;
use List::Util qw(shuffle);
use PostgreSQL::Test::Utils;
use Soak;
use Test::More;
use Time::HiRes qw(sleep);

my $STEPS = 40;    # of a round
my $KILLS = 2;
my $rounds = $ENV{OPENHR_MSG_SOAK_ROUNDS} || 3;
my $seed = $ENV{OPENHR_MSG_SEED} // int(rand(2**31));
note("OPENHR_MSG_SEED=$seed");
srand($seed);

# Who pauses is soon too far behind.
my $node = GatewayCluster->new('main',
	'max_connections' => 60,
	'openhr_msg.max_queue_bytes' => "'64kB'",
	'restart_after_crash' => 'on')->serve;
my $soak = Soak->new($node, readers => 8, resuming => 4, pause => 0.03);
my @troubled = (@{ $soak->readers }, $soak->{friend});
my %happened;

# Each kind of process, and then again.

my @kinds = (
	(map { "openhr_msg $_" } qw(gateway streamer executor)),
	'client backend', 'checkpointer', 'walwriter');
my @victims;

sub kill_one
{
	@victims = shuffle(@kinds) unless @victims;
	my $kind = shift @victims;
	my $crashes = crashes();
	my $pid = $node->value("SELECT pid FROM pg_stat_activity
		WHERE backend_type = '$kind' AND pid <> pg_backend_pid()
		ORDER BY pid LIMIT 1");

	note("$kind is killed");
	kill 'KILL', $pid;
	$node->wait_until(sub { crashes() > $crashes }, 'the server restarts');
	$happened{$kind}++;
	return;
}

sub crashes
{
	my $count = () = slurp_file($node->logfile) =~
	  /all server processes terminated; reinitializing/g;

	return $count;
}

# A round: trouble for clients all the while, and for the server now and then.

sub any_of { return $_[ rand @_ ] }

# Who pauses is woken some steps later.
sub disturb_one
{
	my ($step, $paused) = @_;
	my $who = any_of(grep { !$_->{paused} } @troubled) or return;
	my $how = any_of(qw(close reset vanish pause kill));

	$soak->disturb($who, $how);
	push @{ $paused->{ $step + 2 + int rand 20 } }, $who if $how eq 'pause';
	$happened{$how}++;
	return;
}

sub round
{
	my ($number) = @_;
	my %kills = map { $_ => 1 } (shuffle(1 .. $STEPS))[ 1 .. $KILLS ];
	my (%paused, @false);

	foreach my $step (1 .. $STEPS)
	{
		disturb_one($step, \%paused);
		$soak->wake($_) foreach @{ $paused{$step} // [] };
		$soak->tell_friend("step $step of round $number");
		kill_one() if $kills{$step};
		push @false, eval { $soak->false_receipts };
		sleep 0.05 + rand 0.3;
	}
	is_deeply(\@false, [], "round $number: no receipt was false at any time");
	return;
}

foreach my $number (1 .. $rounds)
{
	$soak->start;
	round($number);
	$soak->settle;
	$soak->verify("round $number");
	$soak->verify_receipts("round $number");
}
note(join ', ', map { "$happened{$_} $_" } sort keys %happened);
note('ends of connections: ' . $soak->cuts);
is(scalar(grep { $happened{$_} } @kinds), scalar @kinds, 'every process was killed')
  if $rounds * $KILLS >= @kinds;

$soak->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|unexpected reply/,
	'nobody was surprised');
$node->stop;
done_testing();
