# What is missed since a position, where it takes more than a session: prepared
# transactions, crashes, rewritten tables, and a hundred thousand messages.

use strict;
use warnings;

use GatewayCluster;
use Test::More;

my $node = GatewayCluster->new('missed',
	'max_prepared_transactions' => 4,
	'restart_after_crash' => 'on',
	'fsync' => 'on')->serve;
my ($ana, $ben) = map { $node->person($_) } qw(Ana Ben);
my $talk = $node->conversation($ana, $ben);
$node->say($talk, $ana, 'old');

sub mark { return $node->value('SELECT openhr_msg.mark()') }

# What Ben has missed of the messages, in order.
sub missed
{
	my ($mark) = @_;
	return $node->value(qq{
		SELECT coalesce(string_agg(action || ' ' || (record->>'content'), ', '), '')
		FROM openhr_msg.missed_changes('$ben', '$mark', taken_at => now() + '1 hour')
		WHERE relation = 'messages'});
}

sub insert
{
	my ($content) = @_;
	return "INSERT INTO messages (conversation_id, content) VALUES ('$talk', '$content')";
}

# A prepared transaction is one in progress, also while the server was down.

$node->value('BEGIN; SAVEPOINT s; ' . insert('prepared')
	  . q{; RELEASE s; PREPARE TRANSACTION 'p'});
my $mark = mark();
is(missed($mark), '', 'what is prepared is missed by nobody');
$node->stop('immediate');
$node->start;
my $second = mark();
$node->value(q{COMMIT PREPARED 'p'});
is(missed($mark), 'INSERT prepared', 'once it commits it is');
is(missed($second), 'INSERT prepared', '... also by a position of after a crash');
is(missed(mark()), '', '... but not by a later one');

# Positions survive a crash at any moment after the answer.

my $known = q{SELECT known FROM openhr_msg.resume_position('%s', '%s', 'room')};
is($node->value(sprintf($known, $ben, 'phone')), 'f', 'a client is new');
$node->say($talk, $ana, 'after');
$node->stop('immediate');
$node->start;
is($node->value(sprintf($known, $ben, 'phone')), 't', 'a crash does not forget it');
is( missed($node->value('SELECT seen FROM openhr_msg.client_positions')),
	'INSERT after', '... nor where it was');

# Tables that were written anew while the client was away.

$mark = mark();
$node->say($talk, $ana, 'moved');
foreach my $command ('VACUUM FULL', 'VACUUM FREEZE')
{
	$node->value($command);
	is(missed($mark), 'INSERT moved', "$command hides nothing");
}
is(missed(mark()), '', '... and brings nothing back');

# Many messages of one conversation, in batches: none is read over and over.

$mark = mark();
# (Loaded as by a restore: each with its place.)
$node->value(qq{
	SET session_replication_role = replica;
	BEGIN;
	INSERT INTO messages (id, conversation_id, content, created_at, seq, version)
	SELECT openhr_msg.uuid_v7(), c.id, 'm' || i, now(), last_seq + i, last_version + i
	FROM conversations c, generate_series(1, 100000) AS i WHERE c.id = '$talk';
	UPDATE conversations SET last_seq = last_seq + 100000,
		last_version = last_version + 100000, updated_at = now() WHERE id = '$talk';
	COMMIT});
$node->value('VACUUM ANALYZE messages');
$node->value(q{
	CREATE FUNCTION in_batches(who uuid, seen pg_snapshot, OUT batches int,
		OUT events int, OUT in_order bool, OUT largest int, OUT slowest float)
	LANGUAGE plpgsql AS $$
	DECLARE
		place bytea;
		n int;
		bytes int;
		first bigint;
		last bigint;
		reached bigint := 0;
		since timestamptz;
	BEGIN
		SELECT 0, 0, true, 0, 0 INTO batches, events, in_order, largest, slowest;
		LOOP
			since := clock_timestamp();
			SELECT count(*), sum(length(record::text)), (array_agg(m.cursor))[1],
				min((record->>'version')::bigint) FILTER (WHERE relation = 'messages'),
				max((record->>'version')::bigint) FILTER (WHERE relation = 'messages')
			INTO n, bytes, place, first, last
			FROM openhr_msg.missed_changes(who, seen, max => 500, after => place) AS m;
			slowest := greatest(slowest, extract(epoch FROM clock_timestamp() - since));
			in_order := in_order AND coalesce(first > reached, true);
			reached := coalesce(last, reached);
			batches := batches + 1;
			events := events + n;
			largest := greatest(largest, n);
			EXIT WHEN place IS NULL;
		END LOOP;
	END
	$$});

sub tuples_read
{
	return $node->value(q{
		SELECT sum(idx_tup_read) FROM pg_stat_all_indexes
		WHERE indexrelname ~ '^messages_.*_version_idx$'});
}

my $before = tuples_read();
my ($batches, $events, $in_order, $largest, $slowest) = split /\|/,
  $node->value("SELECT * FROM in_batches('$ben', '$mark')");
note "$batches batches, the slowest of them $slowest s";
cmp_ok($events, '>=', 100000, 'all messages are told');
cmp_ok($events, '<=', 100010, '... once');
is($in_order, 't', '... in their order');
cmp_ok($largest, '<=', 500, '... in batches');
cmp_ok($batches, '<=', 500, '... that are full, of 256 kB');
$node->wait_until(sub { tuples_read() > $before }, 'the statistics');
cmp_ok(tuples_read() - $before, '<', 250000,
	'... and each is looked at twice, whatever the batch');

# Who is away for so long that others were many, and the executors remove it.

$node->value(q{
	UPDATE openhr_msg.client_positions SET seen_at = now() - interval '31 days';
	INSERT INTO openhr_msg.departures (id, conversation_id, profile_id, was_deleted, old_record)
	SELECT openhr_msg.uuid_v7_floor(now() - days * interval '1 day'),
		gen_random_uuid(), gen_random_uuid(), false, '{}'
	FROM unnest('{29,32}'::int[]) AS days});
$node->restart;
$node->wait_until(
	sub {
		$node->value(q{SELECT count(*) FROM openhr_msg.client_positions}) == 0
		  && $node->value(q{SELECT count(*) FROM openhr_msg.departures}) == 1;
	},
	'what nobody can need any more is removed');
pass('old positions and departures are removed');

$node->stop;
done_testing();
