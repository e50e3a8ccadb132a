# The output plugin as a walsender runs it: pg_recvlogical, transactions that
# spill to disk, prepared transactions, a server that does not preload the
# library, and memory that does not grow.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('decoder');
$node->init(allows_streaming => 'logical');
$node->append_conf(
	'postgresql.conf', q(
shared_preload_libraries = 'openhr_msg'
max_prepared_transactions = 2
max_worker_processes = 2
autovacuum = off
));

$node->start;

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('postgres',
		"SET session_replication_role = replica; $query");
}

# An INSERT of messages number $from to $to.
sub messages
{
	my ($from, $to) = @_;
	return qq(
		INSERT INTO messages (id, conversation_id, content, created_at, seq,
			version)
		SELECT gen_random_uuid(), 'c0000000-0000-0000-0000-000000000001',
			'number ' || i, now(), i, i
		FROM generate_series($from, $to) i;);
}

# All that the slot has, by pg_recvlogical.
sub receive
{
	my ($slot, @options) = @_;
	my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	return $node->pg_recvlogical_upto('postgres', $slot, $end,
		$PostgreSQL::Test::Utils::timeout_default, @options);
}

sql('CREATE EXTENSION openhr_msg');
for my $slot (qw(text binary))
{
	sql(qq(SELECT pg_create_logical_replication_slot('$slot', 'openhr_msg')));
}

# Lines of JSON, one a row; binary events too.
sql(messages(1, 3));
sql(q(UPDATE messages SET content = E'line\nfeed' WHERE seq = 2));
sql('CREATE TABLE other AS SELECT 1');
my @lines = split /\n/, receive('text');
is(scalar(@lines), 4, 'one line a row');
is(scalar(grep { /^\{"table":"messages",.*\}$/ } @lines),
	4, 'each line is an object');
like($lines[3], qr/"content":"line\\nfeed"/, 'line feeds are escaped');
my $binary = receive('binary', 'format' => 'binary');
is(scalar(() = $binary =~ /1smo|oms1/g),
	6, 'binary: four rows and two commits');

# An option's error reaches the client, and the slot survives it.
my ($result, $stdout, $stderr) = $node->pg_recvlogical_upto(
	'postgres', 'text',
	$node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()'),
	$PostgreSQL::Test::Utils::timeout_default,
	'colour' => 'red');
isnt($result, 0, 'unknown option is refused');
like($stderr, qr/unrecognized option "colour" of output plugin "openhr_msg"/,
	'and named');

# A transaction that does not fit into memory, with subtransactions and TOAST.
$node->append_conf('postgresql.conf', 'logical_decoding_work_mem = 64kB');
$node->reload;
sql(q(BEGIN; ) . messages(1001, 2000)
	  . q(SAVEPOINT a; ) . messages(2001, 3000)
	  . q(ROLLBACK TO a; ) . messages(3001, 4000)
	  . q(UPDATE messages SET content = (SELECT string_agg(md5(i::text), '')
			FROM generate_series(1, 3000) i) WHERE seq = 1;
		UPDATE messages SET version = 5000 WHERE seq = 1; COMMIT));
@lines = split /\n/, receive('text');
is(scalar(@lines), 2002, 'a large transaction: all that was committed');
is(join(' ', map { /"ordinal":(\d+)/ } @lines[ 0, 999, 1000, 2001 ]),
	'0 999 1000 2001', 'in its order');
ok(length($lines[2000]) > 96000, 'TOASTed value is whole');
like($lines[2001], qr/"partial":true/, 'and not there when not logged');
unlike($lines[2001], qr/"content":/, 'nor null');
receive('binary', 'format' => 'binary');

# Prepared is not committed, whatever the slot was made for.
sql(q(SELECT pg_create_logical_replication_slot('twophase', 'openhr_msg',
	false, true)));
sql('BEGIN; ' . messages(5001, 5001) . q( PREPARE TRANSACTION 'one'));
sql('BEGIN; ' . messages(5002, 5002) . q( PREPARE TRANSACTION 'two'));
is(receive('twophase'), '', 'nothing of a prepared transaction');
sql(q(ROLLBACK PREPARED 'two'));
sql(q(COMMIT PREPARED 'one'));
@lines = split /\n/, receive('twophase');
is(scalar(@lines), 1, 'committed later');
like($lines[0], qr/number 5001/, 'and it is the right one');
sql(q(SELECT pg_drop_replication_slot('twophase')));
receive('text');
receive('binary', 'format' => 'binary');

# Memory of a walsender: the same after many rows, tables and DDL as after
# few.  What it says in the log is the sum over all contexts.
sub memory
{
	my ($pid) = @_;
	my $at = -s $node->logfile;
	sql("SELECT pg_log_backend_memory_contexts($pid)");
	$node->wait_for_log(qr/\[$pid\].*Grand total: \d+ bytes/, $at);
	my ($bytes) = slurp_file($node->logfile, $at) =~
	  /\[$pid\].*Grand total: (\d+) bytes/;
	return $bytes;
}

my $file = PostgreSQL::Test::Utils::tempdir() . '/events';
my $receiver = IPC::Run::start(
	[
		'pg_recvlogical', '-S', 'binary', '-d',
		$node->connstr('postgres'), '--start', '--no-loop', '-F', '0', '-s',
		'1', '-o', 'format=binary', '-f', $file
	]);
$node->poll_query_until('postgres',
	q(SELECT count(*) = 1 FROM pg_stat_replication))
  or die 'walsender did not start';
my $pid = $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');

sub churn
{
	my ($times) = @_;
	for (1 .. $times)
	{
		sql(messages(1, 500)
			  . q(UPDATE messages SET version = version + 1;
			DELETE FROM messages;
			DO $$
			BEGIN
				FOR i IN 1 .. 50 LOOP
					CREATE TABLE passing (a int);
					INSERT INTO passing VALUES (1);
					DROP TABLE passing;
				END LOOP;
			END $$;
			ALTER TABLE messages ADD extra text;
			ALTER TABLE messages DROP extra;));
	}
	my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	$node->poll_query_until('postgres',
		qq(SELECT sent_lsn >= '$end' FROM pg_stat_replication))
	  or die 'walsender does not follow';
}

churn(3);
my $before = memory($pid);
churn(10);
my $after = memory($pid);
cmp_ok($after - $before, '<', 64 * 1024,
	"memory does not grow ($before, then $after)");
$receiver->signal('INT');
$receiver->finish;
ok(-s $file > 1000000, 'and events were written');

# Without the library preloaded the slot loads it.
$node->append_conf('postgresql.conf', q(shared_preload_libraries = ''));
$node->restart;
receive('text');
sql(messages(1, 2));
@lines = split /\n/, receive('text');
is(scalar(@lines), 2, 'decoded without preloading');

$node->stop;
done_testing();
