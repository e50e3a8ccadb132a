# A bad network, and worse, for a while: clients that are cut, killed, paused and
# left half open, in a random order, and every process of the server killed once
# meanwhile.  Nothing that was acknowledged is lost, every client ends up with
# what the tables have, nothing comes twice on a connection, and at no time do the
# receipts tell of what has not arrived.
#
# OPENHR_MSG_SOAK_SECONDS	how long; 45 unless set
# OPENHR_MSG_SEED			repeats what happens to whom, though not quite when

use strict;
use warnings;

use GatewayCluster;
use List::Util qw(shuffle);
use PostgreSQL::Test::Utils;
use Soak;
use Test::More;
use Time::HiRes qw(sleep time);

my $ROUND = 15;
my $seconds = $ENV{OPENHR_MSG_SOAK_SECONDS} || 45;
my $seed = $ENV{OPENHR_MSG_SEED} // int(rand(2**31));
note("OPENHR_MSG_SEED=$seed");
srand($seed);

# Who pauses is soon too far behind.
my $node = GatewayCluster->new('main',
	'max_connections' => 60,
	'openhr_msg.max_queue_bytes' => "'64kB'",
	'restart_after_crash' => 'on')->serve;
my $soak = Soak->new($node, readers => 8, pause => 0.03);
my @troubled = (@{ $soak->readers }, $soak->{friend});
my %happened;

# Each process, in each round of all.

my @kinds = map { "openhr_msg $_" } qw(gateway streamer executor);
my @victims;

sub kill_one
{
	@victims = shuffle(@kinds, 'client backend', 'checkpointer', 'walwriter')
	  unless @victims;
	my $kind = shift @victims;
	my $crashes = crashes();
	my $pid = $node->value("SELECT pid FROM pg_stat_activity
		WHERE backend_type = '$kind' AND pid <> pg_backend_pid()
		ORDER BY pid LIMIT 1");

	note("$kind is killed");
	kill 'KILL', $pid;
	$node->wait_until(sub { crashes() > $crashes }, 'the server restarts');
	$happened{killed}++;
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

sub disturb_one
{
	my ($paused) = @_;
	my $who = any_of(grep { !$_->{paused} } @troubled) or return;
	my $how = any_of(qw(close reset vanish pause kill));

	$soak->disturb($who, $how);
	$paused->{ $who->{name} } = [ $who, time + 1 + rand 8 ] if $how eq 'pause';
	$happened{$how}++;
	return;
}

sub round
{
	my ($length, $kills) = @_;
	my $end = time + $length;
	my @kills = sort { $a <=> $b } map { time + rand $length } 1 .. $kills;
	my (%paused, @false);

	while (time < $end)
	{
		disturb_one(\%paused);
		foreach my $name (sort keys %paused)
		{
			my ($who, $until) = @{ $paused{$name} };

			next if time < $until;
			$soak->wake($who);
			delete $paused{$name};
		}
		$soak->tell_friend("word $end " . time);
		if (@kills && time > $kills[0])
		{
			shift @kills;
			kill_one();
		}
		push @false, eval { $soak->false_receipts };
		sleep 0.1 + rand 0.4;
	}
	is_deeply(\@false, [], 'no receipt was false at any time');
	return;
}

for (my ($n, $left) = (1, $seconds); $left > 0; $n++, $left -= $ROUND)
{
	$soak->start;
	round($ROUND, 2);
	$soak->settle;
	$soak->verify("round $n");
	$soak->verify_receipts("round $n");
}
note(join ', ', map { "$happened{$_} $_" } sort keys %happened);
note('ends of connections: ' . $soak->cuts);
ok($happened{killed} >= @kinds + 3, 'every process was killed')
  if $seconds >= 3 * $ROUND;

$soak->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|unexpected reply/,
	'nobody was surprised');
$node->stop;
done_testing();
