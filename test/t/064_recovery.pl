# The stream of events breaks: the slot is lost with events that nobody has
# read.  Clients stay connected, with a name or without one, and get from the
# tables what the stream did not bring, once and in order, as far as they may
# see it by then.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = GatewayCluster->new('main',
	'openhr_msg.delivery_receipts' => 'off')->serve;
my ($ana, $ben, $cal) = map { $node->person($_) } qw(Ana Ben Cal);
my $talk = $node->conversation($ana, $ben, $cal);
my $left = $node->conversation($ana, $ben);
my $items = [ { event => '*', schema => 'public', table => 'messages' },
	{ event => '*', schema => 'public', table => 'conversation_participants' } ];

sub join_all
{
	my ($profile, %args) = @_;
	my $ws = $node->connect($profile, pongs => 1, %args);

	is($ws->join('all', { postgres_changes => $items })->{status}, 'ok',
		'a client joins');
	$ws->next_event('system');
	return $ws;
}

my @anas = map { join_all($ana) } 1 .. 3;
push @anas, join_all($ana, client_id => 'named');
my $bens = join_all($ben);

sub epoch { return $node->value('SELECT openhr_msg.slot_epoch()') }

sub marks
{
	return $node->value("SELECT value FROM openhr_msg.stats
		WHERE metric = 'openhr_msg_calls_total' AND labels->>'call' = 'mark'");
}

# The gateway takes a mark when something has happened, and has come to it when
# it gets what happens then.
sub come_to_a_mark
{
	my ($name) = @_;
	my $before = marks();

	$node->say($talk, $ben, "before $name");
	$node->wait_until(sub { marks() > $before }, 'a mark is taken');
	$node->say($talk, $ben, "still before $name");
	is_deeply(
		[ grep { /before $name/ } @{ changes_until($_, "still before $name") } ],
		[ "INSERT before $name", "INSERT still before $name" ],
		"$name: the stream runs")
	  foreach @anas, $bens;
	return;
}

# Lose the slot with what happens meanwhile.
sub lose_slot
{
	my ($name, $happens) = @_;

	come_to_a_mark($name);
	my $pid = $node->status('pid', 'streamer');
	my $epoch = epoch();
	my $offset = -s $node->logfile;

	kill 'STOP', $pid;
	$happens->();
	$node->value("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
	$node->reload;
	$node->value("SELECT pg_logical_emit_message(false, 'x', 'x');
		SELECT pg_switch_wal()") foreach 1 .. 4;
	my $checkpoint = $node->background_psql('postgres');
	$checkpoint->query_until(qr/begun/, "\\echo begun\nCHECKPOINT;\n");
	$node->wait_for_log(
		qr/terminating process $pid to release replication slot/, $offset);
	kill 'CONT', $pid;
	$checkpoint->query_safe('SELECT');
	$checkpoint->quit;
	$node->value('ALTER SYSTEM RESET max_slot_wal_keep_size');
	$node->reload;
	$node->wait_until(sub { epoch() > $epoch }, 'the slot is replaced');
	return;
}

# The next changes of a client, in short, until one of this content.
sub changes_until
{
	my ($ws, $last) = @_;
	my @changes;

	for (;;)
	{
		my $data = $ws->next_event('postgres_changes')->{data};
		my $row = $data->{type} eq 'DELETE' ? $data->{old_record} : $data->{record};

		push @changes, $data->{table} eq 'messages'
		  ? "$data->{type} $row->{content}"
		  : "$data->{type} of a participant";
		return \@changes if $changes[-1] eq "INSERT $last";
	}
}

foreach my $round (1 .. 3)
{
	lose_slot(
		"round $round",
		sub {
			$node->say($talk, $ben, "lost $round");
			$node->say($talk, $cal, "lost, too $round");
			$node->value("INSERT INTO messages (conversation_id, content)
				SELECT '$talk', 'many ' || n FROM generate_series(1, 250) AS n");
		});
	$node->say($talk, $ben, "after $round");

	my $wanted = [
		"INSERT lost $round", "INSERT lost, too $round",
		(map { "INSERT many $_" } 1 .. 250), "INSERT after $round"
	];
	is_deeply(changes_until($_, "after $round"), $wanted,
		'... and everybody gets what it did not bring, once and in order')
	  foreach @anas, $bens;
}

# Who is removed while nobody reads the stream.

lose_slot(
	'a removal',
	sub {
		$node->say($left, $ben, 'the last that she may see');
		$node->value("DELETE FROM conversation_participants
			WHERE profile_id = '$ana' AND conversation_id = '$left'");
		$node->say($left, $ben, 'not for her');
	});
$node->say($left, $ben, 'nor this');
$node->say($talk, $ben, 'for all');
foreach my $ws (@anas)
{
	my $changes = changes_until($ws, 'for all');

	is_deeply([ grep { /INSERT/ } @$changes ], ['INSERT for all'],
		'who was removed meanwhile gets nothing of it');
	is(scalar(grep { $_ eq 'DELETE of a participant' } @$changes), 1,
		'... but hears of it');
}
is_deeply(
	[ grep { /INSERT/ } @{ changes_until($bens, 'for all') } ],
	[
		'INSERT the last that she may see', 'INSERT not for her',
		'INSERT nor this', 'INSERT for all'
	],
	'who was not gets all');

# Who is added.

lose_slot(
	'an addition',
	sub {
		$node->value("INSERT INTO conversation_participants
			(profile_id, conversation_id) VALUES ('$ana', '$left')");
		$node->say($left, $ben, 'for her again');
	});
$node->say($talk, $ben, 'for all again');
is_deeply(
	[ grep { /INSERT \w+ / } @{ changes_until($_, 'for all again') } ],
	[ 'INSERT of a participant', 'INSERT for her again', 'INSERT for all again' ],
	'who was added meanwhile gets what came then')
  foreach @anas;

ok(!$node->log_contains('messages may have been missed'),
	'nobody was asked to come back');
$node->stop;
done_testing();
