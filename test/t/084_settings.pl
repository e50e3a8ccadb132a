# Settings that are meant for people, for the whole server, a role or the
# database, change nothing of what the workers do; and where worker slots are
# short, log and status() say so.

use strict;
use warnings;

use GatewayCluster;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

# What would make any statement of the workers' fail, wait, find something
# else or look different.
my %odd = (
	'statement_timeout' => "'1ms'",
	'lock_timeout' => "'1ms'",
	'idle_in_transaction_session_timeout' => "'1ms'",
	'default_transaction_read_only' => 'on',
	'default_transaction_isolation' => "'serializable'",
	'default_transaction_deferrable' => 'on',
	'search_path' => 'nowhere',
	'row_security' => 'off',
	'DateStyle' => "'German'",
	'IntervalStyle' => "'sql_standard'",
	'TimeZone' => "'Asia/Kathmandu'",
	'extra_float_digits' => '-15',
	'bytea_output' => "'escape'",
	'client_encoding' => "'LATIN1'",
	'standard_conforming_strings' => 'off',
	'quote_all_identifiers' => 'on',
	'transform_null_equals' => 'on',
	'plan_cache_mode' => "'force_generic_plan'",
	'enable_indexscan' => 'off',
	'jit_above_cost' => '0',
	'work_mem' => "'64kB'",
	'session_preload_libraries' => "'auto_explain'",
	'session_replication_role' => "'replica'");
my $limit = $PostgreSQL::Test::Utils::timeout_default . 's';
my $node = GatewayCluster->new('odd',
	'openhr_msg.executors' => 1,
	'log_min_messages' => "'debug5'",
	'log_statement' => "'all'");

# Sessions of the test's are as usual.
my $usual = join ' ', map { "-c $_" } (
	"statement_timeout=$limit", "lock_timeout=$limit",
	'default_transaction_read_only=off',
	'default_transaction_isolation=read\ committed',
	'default_transaction_deferrable=off', 'search_path=public',
	'session_replication_role=origin', 'client_encoding=UTF8',
	'idle_in_transaction_session_timeout=0', 'standard_conforming_strings=on',
	'extra_float_digits=1');
my ($ana, $talk);

# A row of every type that a setting changes the look of.
my $record = {
	born => '1999-12-31',
	seen => '1999-12-31T23:00:00+00:00',
	weight => 0.1,
	photo => '0061',
	span => '1 day 02:00:00'
};

sub join_and_hear
{
	my ($name) = @_;
	my $ws = $node->connect($ana);
	my $reply = $ws->join('x',
		{ postgres_changes => [ map
			{ { event => '*', schema => 'public', table => $_ } }
			qw(conversations messages) ] });
	my $heard;

	is($reply->{status}, 'ok', "$name: a client joins");
	$node->say($talk, $ana, 'hello');
	do { $heard = $ws->next_event('postgres_changes')->{data} }
	  until $heard->{table} eq 'messages';
	is($heard->{record}{content}, 'hello', '... and hears a message');
	$node->value("UPDATE conversations SET title = 'odd' WHERE id = '$talk'");
	do { $heard = $ws->next_event('postgres_changes')->{data} }
	  until $heard->{table} eq 'conversations'
	  && ($heard->{record}{title} // '') eq 'odd';
	is_deeply({ map { $_ => $heard->{record}{$_} } keys %$record },
		$record, '... and sees a row as ever');
	return;
}

# No month exists: it is made by the sender's helper, then by upkeep.
sub months_are_made
{
	my ($name) = @_;

	$node->value("SELECT format('ALTER TABLE messages DETACH PARTITION %s;
			DROP TABLE %1\$s', inhrelid::regclass)
		FROM pg_inherits WHERE inhparent = 'messages'::regclass
			AND inhrelid <> 'openhr_msg.messages_default'::regclass \\gexec");
	$node->value("SELECT openhr_msg.send_message('$talk', 'a new month')");
	is( $node->value("SELECT count(*) FROM openhr_msg.messages_default"),
		0, "$name: a sender's month is made");
	$node->terminate('executor');
	$node->wait_until(
		sub {
			$node->value("SELECT count(*) FROM pg_inherits
				WHERE inhparent = 'messages'::regclass") >= 4;
		},
		'months are made ahead');
	pass('... and others ahead');
	return;
}

$node->serve;
$ana = $node->person('Ana');
$talk = $node->conversation($ana);
$node->value("ALTER TABLE conversations
	ADD born date DEFAULT '$record->{born}',
	ADD seen timestamptz DEFAULT '$record->{seen}',
	ADD weight float8 DEFAULT '$record->{weight}',
	ADD photo bytea DEFAULT '\\x$record->{photo}',
	ADD span interval DEFAULT '$record->{span}'");
join_and_hear('as usual');

$ENV{PGOPTIONS} = $usual;
$node->append_conf('postgresql.conf',
	join "\n", map { "$_ = $odd{$_}" } sort keys %odd);
$node->reload;
join_and_hear('settings reloaded');
$node->restart;
$node->wait_until(sub { $node->is_listening }, 'the gateway listens');
join_and_hear('settings of the server');
months_are_made('settings of the server');

# The same, and more, for the role that the workers run as, and the database.
$node->value(join ';', "CREATE ROLE nobody",
	(map { ("ALTER ROLE CURRENT_USER SET $_ = $odd{$_}",
			"ALTER DATABASE postgres SET $_ = $odd{$_}") } sort keys %odd),
	"ALTER ROLE CURRENT_USER SET role = 'nobody'",
	"ALTER DATABASE postgres CONNECTION LIMIT 0",
	"ALTER ROLE CURRENT_USER CONNECTION LIMIT 0");
$node->restart;
$ENV{PGOPTIONS} .= ' -c role=none';
$node->wait_until(sub { $node->is_listening }, 'the gateway listens');
join_and_hear('settings of role and database');
months_are_made('settings of role and database');

unlike(
	slurp_file($node->logfile),
	qr/\] openhr_msg [a-z ]+ ERROR:/,
	'nothing that a worker did has failed');

# Only what a worker is at work on can be cancelled.

foreach my $worker (qw(streamer gateway executor))
{
	my $pid = $node->status('pid', $worker);

	$node->value("SELECT pg_cancel_backend($pid) FROM generate_series(1, 100)");
	join_and_hear("pg_cancel_backend() on the $worker");
	is($node->status('pid', $worker), $pid, '... does not end it');
}
my $locker = $node->background_psql('postgres');
my $pid = $node->status('pid', 'executor');
$locker->query_safe('BEGIN; LOCK conversation_participants');
my $ws = $node->connect($node->person('Ben'));
my $ref = $ws->push_event('realtime:x', 'phx_join',
	{ config => { postgres_changes =>
		[ { event => '*', schema => 'public', table => 'messages' } ] } }, '1');
$node->wait_until(
	sub {
		$node->value("SELECT pg_cancel_backend(pid) FROM pg_stat_activity
			WHERE pid = $pid AND wait_event_type = 'Lock'") eq 't';
	},
	'an executor at work is cancelled');
is($ws->reply($ref)->{status}, 'error', 'a call that is cancelled fails');
$locker->query_safe('ROLLBACK');
$locker->quit;
join_and_hear('after that');
is($node->status('pid', 'executor'), $pid, '... of the same executor');

$node->stop;

done_testing();
