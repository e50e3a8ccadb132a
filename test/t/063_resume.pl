# Clients that name themselves (client_id) and come back: each gets what it has
# missed, before anything new, and what it has acknowledged never again.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = GatewayCluster->new('main')->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my $other = $node->conversation($ana, $ben);

# Its changes of messages until it is subscribed are in $ws->{missed}.
sub come
{
	my ($client, %args) = @_;
	my $ws = $node->subscribe($ana, client_id => $client, pongs => 1, %args);

	$ws->{missed} = [];
	for (;;)
	{
		my $event = $ws->_next(
			sub { $_[0][3] =~ /^(?:system|postgres_changes)$/ });

		last if $event->[3] eq 'system';
		push @{ $ws->{missed} }, change($event->[4]);
	}
	return $ws;
}

# A change of a message in short: what, of which content.
sub change
{
	my ($payload) = @_;
	my $data = $payload->{data};

	return "$data->{type} $data->{record}{content}";
}

sub next_change { return change($_[0]->next_event('postgres_changes')) }

# Until the pings for what came so far are answered.
sub acknowledge
{
	my ($ws) = @_;

	for (1 .. 3)
	{
		sleep 0.8;
		$ws->heartbeat;
	}
	return;
}

sub leave
{
	my ($ws) = @_;

	acknowledge($ws);
	$ws->close;
	$node->wait_until(
		sub { $node->status('connections', 'gateway') == 0 },
		'the connection is gone');
	return;
}

sub returns_to
{
	my ($missed, $name, %args) = @_;
	my $ws = come('laptop', %args);

	is_deeply($ws->{missed}, $missed, $name);
	return $ws;
}

# Coming and going

$node->say($talk, $ben, 'before');
my $ws = returns_to([], 'who comes for the first time has missed nothing');
$node->say($talk, $ben, 'one');
is(next_change($ws), 'INSERT one', '... and follows what comes');
leave($ws);

$node->say($talk, $ben, 'two');
$node->say($other, $ben, 'elsewhere');
$node->say($talk, $ben, 'three');
$ws = returns_to(
	[ 'INSERT elsewhere', 'INSERT two', 'INSERT three' ],
	'who comes back gets what it has missed');
$node->say($talk, $ben, 'four');
is(next_change($ws), 'INSERT four', '... and then what comes');
leave($ws);

$ws = returns_to([], 'what was acknowledged does not come again');
$node->say($talk, $ben, 'five');
is(next_change($ws), 'INSERT five', 'a message');
$ws->close;
$ws = returns_to([ 'INSERT five' ], '... that was not acknowledged does');
leave($ws);

# Changes of what it has

$node->value("SELECT openhr_msg.edit_message(id, 'two and a half')
	FROM messages WHERE content = 'two'");
$node->value("SELECT openhr_msg.delete_message(id)
	FROM messages WHERE content = 'three'");
$node->say($talk, $ben, 'six');
$ws = returns_to(
	[ 'UPDATE two and a half', 'UPDATE ', 'INSERT six' ],
	'edits and deletions are told as such');
leave($ws);

# Other names, and none

is_deeply(come('telephone')->{missed}, [], 'another client has missed nothing');
is_deeply(come('laptop', token => $node->token($ben))->{missed}, [],
	'nor has one of that name of somebody else');
is_deeply(come(undef)->{missed}, [], 'nor one without a name');
foreach my $bad ('', 'x' x 65, 'a%20b', 'caf%C3%A9', 'a%00b')
{
	ok(!eval { $node->connect($ana, client_id => $bad); 1 }
		  && $@ =~ /400.*client_id must be/s,
		'a bad name is refused: ' . substr $bad, 0, 10);
}

# Membership

$node->value("DELETE FROM conversation_participants
	WHERE profile_id = '$ana' AND conversation_id = '$other'");
$node->say($other, $ben, 'not for her');
$node->say($talk, $ben, 'for her');
$ws = returns_to([ 'INSERT for her' ], 'what one may not see one has not missed');
leave($ws);
$node->value("INSERT INTO conversation_participants (profile_id, conversation_id)
	VALUES ('$ana', '$other')");
$node->say($other, $ben, 'for her again');
$ws = returns_to([ 'INSERT for her again' ], 'who may again, has since then');
leave($ws);

# Much

$node->value("INSERT INTO messages (conversation_id, content)
	SELECT '$talk', 'number ' || n FROM generate_series(1, 3000) AS n");
$ws = returns_to([ map { "INSERT number $_" } 1 .. 3000 ],
	'much is told in its order');
leave($ws);

# Crashes

$node->say($talk, $ben, 'seven');
$ws = returns_to([ 'INSERT seven' ], 'before a crash');
acknowledge($ws);
sleep 6;	# its position is saved by then
$node->say($talk, $ben, 'eight');
is(next_change($ws), 'INSERT eight', '... a last message');
$node->stop('immediate');
$node->start;
$node->wait_until(sub { $node->is_listening }, 'the gateway listens');
$node->say($talk, $ben, 'nine');
$ws = returns_to([ 'INSERT eight', 'INSERT nine' ],
	'... the position has survived it');
leave($ws);

$node->say($talk, $ben, 'ten');
$node->terminate('gateway');
$ws = returns_to([ 'INSERT ten' ], '... as it does the end of a gateway');

# On the same connection

acknowledge($ws);
is($ws->reply($ws->push_event('realtime:all', 'phx_leave', {}))->{status}, 'ok',
	'a channel is left');
$node->say($talk, $ben, 'eleven');
is($ws->join('all', { postgres_changes =>
			  [ { event => '*', schema => 'public', table => 'messages' } ] })
	  ->{status}, 'ok', '... and joined again');
is(next_change($ws), 'INSERT eleven', '... with what was missed meanwhile');
leave($ws);

# While others write: nothing is left out, nothing comes twice in a stay, and
# within a conversation it comes in order.

my $script = $node->basedir . '/busy.sql';
append_to_file($script, join '', map {
		"INSERT INTO messages (conversation_id, content)
			VALUES ('$talk', 'busy $_'); SELECT pg_sleep(0.005);\n"
	} 1 .. 1200);
my $writer = IPC::Run::start(
	[ 'psql', qw(-X -q -d), $node->connstr('postgres'), '-f', $script ],
	'>', \my $out);
my (%seen, @disorder, $last);

# Within a stay each message is the one after that before it, but for the first.
sub take
{
	my ($change) = @_;
	my ($n) = $change =~ /^INSERT busy (\d+)$/ or return;

	push @disorder, "$n after $last" if defined $last && $n != $last + 1;
	$last = $n;
	$seen{$n}++;
	return;
}

for (my $stay = 1; !$seen{1200}; $stay++)
{
	undef $last;
	$ws = come('laptop');
	take($_) foreach @{ $ws->{missed} };
	for (my $n = 0; $n < 50 && !$seen{1200}; $n++)
	{
		take(next_change($ws));
	}
	acknowledge($ws) if $stay % 3 == 0;
	take(change($_->[4]))
	  foreach grep { $_->[3] eq 'postgres_changes' } @{ $ws->{events} };
	$ws->close;
}
$writer->finish;
is_deeply(\@disorder, [], 'messages come in their order, and once');
is(scalar(keys %seen), 1200, '... and none is left out');

$node->stop;
done_testing();
