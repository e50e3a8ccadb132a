# Delivery receipts: a message has arrived when the reader's machine has
# answered a ping behind it, and its sender hears of it.

use strict;
use warnings;

use GatewayCluster;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = GatewayCluster->new('main')->serve;
my ($ana, $ben, $eva) = map { $node->person($_) } qw(Ana Ben Eva);

sub pair
{
	my (@people) = @_;
	my $id = $node->conversation(@people);

	$node->value("UPDATE conversations SET type = 'one_to_one'
		WHERE id = '$id'");
	return $id;
}

my $talk = pair($ana, $ben);
my $other = pair($ana, $eva);
my $sender = $node->subscribe($ana, pongs => 1);

# Read up to the next ping, and answer it.
sub answer_ping
{
	my ($ws) = @_;

	while (my ($opcode, $payload) = $ws->read_frame)
	{
		return $ws->send_frame(10, $payload) if $opcode == 9;
	}
	die "connection closed while waiting for a ping\n";
}

# Wait until the sender hears that a message has arrived; its record.
sub hears_of
{
	my ($content) = @_;

	for (;;)
	{
		my $data = $sender->next_event('postgres_changes')->{data};

		return $data->{record}
		  if $data->{type} eq 'UPDATE'
		  && $data->{record}{content} eq $content
		  && defined $data->{record}{delivered_at};
	}
}

sub marker
{
	my ($conversation, $profile) = @_;

	return $node->value("SELECT last_delivered_seq FROM conversation_participants
		WHERE conversation_id = '$conversation' AND profile_id = '$profile'");
}

sub delivered
{
	my ($content) = @_;

	return $node->value("SELECT delivered_at IS NOT NULL FROM messages
		WHERE content = '$content'");
}

# One client
my $reader = $node->subscribe($ben);
$node->say($talk, $ana, 'one');
$reader->next_event('postgres_changes');
is(delivered('one'), 'f', 'what was sent has not arrived');
answer_ping($reader);
my $tick = hears_of('one');
is($tick->{version}, 2, 'the sender hears of it, as a change');
is($tick->{updated_at}, undef, '... that is no edit');
is($tick->{read_at}, undef, '... and does not say that it was read');
is(marker($talk, $ben), 1, 'the marker of the reader has moved');
is(marker($talk, $ana), 0, 'the own message is no news to its sender');
is( $node->value("SELECT last_version, updated_at = (SELECT created_at
		FROM messages WHERE content = 'one')
		FROM conversations WHERE id = '$talk'"),
	'2|t',
	'the conversation has another version, and is not younger');

# Several messages with one ping
$node->value("INSERT INTO messages (conversation_id, sender_profile_id, content)
	SELECT '$talk', '$ana', 'many ' || n FROM generate_series(1, 20) AS n");
answer_ping($reader);
hears_of('many 20');
is( $node->value("SELECT count(delivered_at), count(DISTINCT delivered_at),
		count(DISTINCT version), max(version),
		bool_and(version = seq + 21)
		FROM messages WHERE content LIKE 'many %'"),
	'20|1|20|42|t',
	'many arrive at once, with versions in the order of seq');

# Those who have joined nothing, do not read, or do not answer
my $idle = $node->connect($eva, pongs => 1);
my $deaf = $node->subscribe($eva);
$idle->heartbeat;
$node->say($other, $ana, 'to eva');
$node->say($talk, $ana, 'two');
answer_ping($reader);
hears_of('two');
is(delivered('to eva'), 'f', 'nobody has answered for eva');
is(marker($other, $eva), 0, '... and her marker stays');

# Another tab answers for her.
my $tab = $node->subscribe($eva);
$node->say($other, $ana, 'to another tab');
answer_ping($tab);
hears_of('to another tab');
is(delivered('to eva'), 'f', 'but not for what came before');
is(marker($other, $eva), 2, 'the marker says what came last');
answer_ping($deaf);

# What was sent behind a ping needs the next one.
$node->say($talk, $ana, 'three');
my ($opcode, $ping);
do { ($opcode, $ping) = $reader->read_frame } until $opcode == 9;
$node->say($talk, $ana, 'four');
$reader->next_event('postgres_changes');
$reader->send_frame(10, 'not the answer');
$reader->send_frame(10, $ping);
hears_of('three');
is(delivered('four'), 'f', 'a pong is good for what was before its ping');
answer_ping($reader);
hears_of('four');
is(delivered('to eva'), 't', 'the late answer of the first tab counts');

# The executor does not wait for a conversation that is locked, and comes back.
my ($in, $out) = ("BEGIN; UPDATE conversations SET title = title WHERE id = '$talk';\n\\echo locked\n", '');
my $locker = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres') ],
	'<', \$in, '>', \$out, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
IPC::Run::pump($locker) until $out =~ /locked/;
$node->say($other, $ana, 'to eva, too');
answer_ping($tab);
hears_of('to eva, too');
pass('others do not wait for a conversation that is locked');
$in = "INSERT INTO messages (conversation_id, sender_profile_id, content)
	VALUES ('$talk', '$ana', 'five');\nCOMMIT; BEGIN;
	UPDATE conversations SET title = title WHERE id = '$talk';\n\\echo again\n";
IPC::Run::pump($locker) until $out =~ /again/;
answer_ping($reader);
$node->wait_until(sub { marker($talk, $ben) == 25 }, 'the marker moves');
is(delivered('five'), 'f', 'the tick of a locked conversation waits');
$in = "COMMIT;\n\\q\n";
IPC::Run::finish($locker);
hears_of('five');
pass('... until it is not locked any more');

# Executors that die
$node->value("SELECT pg_terminate_backend(pid, 10000) FROM openhr_msg.status()
	WHERE worker = 'executor'");
$node->say($talk, $ana, 'six');
answer_ping($reader);
hears_of('six');
pass('receipts go on with new executors');

# Reading
$node->value("SET request.jwt.claims = '{\"role\": \"authenticated\", \"sub\": \"$ben\"}';
	SET ROLE authenticated; SELECT openhr_msg.mark_read('$talk')");
my $data;
do { $data = $sender->next_event('postgres_changes')->{data} }
  until $data->{record}{content} eq 'six' && defined $data->{record}{read_at};
ok(defined $data->{record}{delivered_at}, 'the sender hears that it was read');

unlike(slurp_file($node->logfile), qr/ERROR|PANIC|TRAP/, 'no errors');
$node->stop;
done_testing();
