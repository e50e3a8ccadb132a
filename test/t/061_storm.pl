# Everybody is cut at once and comes back at once: all are served, by the same
# gateway or another, and nobody has lost a message who reads by version what
# came in between.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebSocket;

# More than are let in at once.
my $CLIENTS = 600;

my $node = GatewayCluster->new('main')->serve;
my $ana = $node->person('Ana');
my $talk = $node->conversation($ana);
my @people = split /\n/, $node->value(
	"WITH people AS (
		INSERT INTO profiles (id, display_name)
		SELECT gen_random_uuid(), 'P' || i FROM generate_series(1, $CLIENTS) i
		RETURNING id)
	INSERT INTO conversation_participants (conversation_id, profile_id)
	SELECT '$talk', id FROM people RETURNING profile_id");
my @tokens = map { $node->token($_) } @people;

# What each client knows: the versions that it has received or read.
my @known = map { {} } @people;
my $said = 0;

sub say_some
{
	$node->say($talk, $ana, 'message ' . ++$said) foreach 1 .. 3;
	return;
}

# All of them come: they ask before any is answered, and once they are let in
# join before any has its answer.  Messages are sent all the while.  When they
# have joined they read what they missed; what is sent after that must reach
# them.
sub storm
{
	my @ws = map { WebSocket->dial(port => $node->gateway_port) } @people;
	my (@refs, %status, %joined);

	$ws[$_]->send_bytes(WebSocket::request(token => $tokens[$_]))
	  foreach 0 .. $#ws;
	say_some();
	$status{ $_->read_answer }++ foreach @ws;
	foreach my $ws (@ws)
	{
		push @refs,
		  $ws->push_event('realtime:all', 'phx_join',
			{ config => { postgres_changes =>
					  [ { event => '*', schema => 'public', table => 'messages' } ] } },
			'1');
	}
	say_some();
	$joined{ $ws[$_]->reply($refs[$_])->{status} }++ foreach 0 .. $#ws;
	is_deeply([ \%status, \%joined ],
		[ { 101 => $CLIENTS }, { ok => $CLIENTS } ],
		"$CLIENTS clients at once are all let in, and join");
	catch_up();
	say_some();
	return @ws;
}

# Take what comes up to the last message; nothing may be left out, or come
# twice.
sub follow
{
	my (@ws) = @_;
	my $last = $node->value("SELECT last_version FROM conversations
		WHERE id = '$talk'");
	my $wrong = 0;

	foreach my $i (0 .. $#ws)
	{
		my $version = 0;

		while ($version < $last)
		{
			my $before = $version;

			$version =
			  $ws[$i]->next_event('postgres_changes')->{data}{record}{version};
			$wrong++ if $before > 0 && $version != $before + 1;
			$known[$i]{$version} = 1;
		}
	}
	is($wrong, 0, 'each received one message after the other');
	return;
}

# Read what has come since the last one that is known.
sub catch_up
{
	my %since;

	foreach my $known (@known)
	{
		my ($last) = sort { $b <=> $a } keys %$known, 0;

		$since{$last} //= [ split /\n/,
			$node->value("SELECT version FROM messages
				WHERE conversation_id = '$talk' AND version > $last") ];
		$known->{$_} = 1 foreach @{ $since{$last} };
	}
	return;
}

sub nothing_is_lost
{
	my ($when) = @_;
	my $all = join ',', 1 .. $said;
	my @lost =
	  grep { join(',', sort { $a <=> $b } keys %$_) ne $all } @known;

	is(scalar @lost, 0, "nobody has lost one of $said messages, $when");
	return;
}

my @ws = storm();
follow(@ws);
nothing_is_lost('after all came at once');

# The gateway ends, and is followed by another.
my $pid = $node->status('pid', 'gateway');
$node->value("SELECT pg_terminate_backend($pid, 10000)");
say_some();
my %codes;
$codes{ $_->close_code // 'none' }++ foreach @ws;
is_deeply(\%codes, { 1012 => $CLIENTS }, 'all are asked to come back');
$_->close foreach @ws;
$node->wait_until(sub { $node->is_listening }, 'another gateway listens');
@ws = storm();
follow(@ws);
nothing_is_lost('after all came back at once');

# Without a word.
$_->close foreach @ws;
@ws = storm();
follow(@ws);
nothing_is_lost('after all had lost their connections');

$node->stop;
done_testing();
