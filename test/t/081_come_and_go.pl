# The database and the extension come and go while clients are connected:
# these are told to come back, and find what there is then.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Looked at, and sent away, from another database.
my $node = GatewayCluster->new('main', 'openhr_msg.executors' => 1)->serve;
my $space = PostgreSQL::Test::Utils::tempdir;
my @clients;
my ($ana, $talk);

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->psql('other', 'CREATE EXTENSION openhr_msg');

sub elsewhere { return $node->safe_psql('other', $_[0]) }

sub all_are
{
	my ($state, $name) = @_;

	$node->wait_until(
		sub {
			elsewhere("SELECT bool_and(state = '$state')
				FROM openhr_msg.status()") eq 't';
		},
		"all workers are $state");
	pass($name) if $name;
	return;
}

sub make_people
{
	$ana = $node->person('Ana');
	$talk = $node->conversation($ana);
	return;
}

my $messages =
  { postgres_changes => [ { event => '*', schema => '*', table => 'messages' } ]
  };

sub come
{
	all_are('running');
	@clients = map { $node->connect($ana) } 1 .. 3;
	die "join failed\n"
	  if grep { $_->join('all', $messages)->{status} ne 'ok' } @clients;
	return;
}

# Every client hears a message, and nothing else.
sub are_served
{
	my ($name) = @_;
	my @heard;

	$node->say($talk, $ana, $name);
	push @heard, $_->next_event('postgres_changes')->{data}{record}{content}
	  foreach @clients;
	is_deeply(\@heard, [ ($name) x @clients ], $name);
	return;
}

sub are_asked_back
{
	my ($name) = @_;

	is_deeply([ map { $_->close_code } @clients ], [ (1012) x @clients ],
		"$name: clients are asked to come back");
	return;
}

sub count_messages
{
	return $node->value('SELECT count(*) FROM messages');
}

make_people();
come();
are_served('from the start');

# stop_workers() and start_workers(), both in transactions that are rolled back

elsewhere('BEGIN; SELECT openhr_msg.stop_workers(); ROLLBACK');
are_asked_back('stop_workers()');
all_are('stopped', 'the workers are stopped');
ok(!$node->is_listening, '... and nobody can connect');
$node->say($talk, $ana, 'meanwhile');
elsewhere('BEGIN; SELECT openhr_msg.start_workers(); ROLLBACK');
come();
are_served('after start_workers()');

# The database moves, is a template, and another takes its place.

elsewhere('SELECT openhr_msg.stop_workers()');
are_asked_back('the database moves');
elsewhere("CREATE TABLESPACE room LOCATION '$space'");
elsewhere('ALTER DATABASE postgres SET TABLESPACE room');
elsewhere('SELECT openhr_msg.start_workers()');
come();
are_served('after ALTER DATABASE SET TABLESPACE');
elsewhere('SELECT openhr_msg.stop_workers()');
are_asked_back('the database is a template');
elsewhere('CREATE DATABASE copy TEMPLATE postgres');
elsewhere('ALTER DATABASE postgres RENAME TO original');
elsewhere('SELECT openhr_msg.start_workers()');
$node->wait_until(
	sub {
		elsewhere("SELECT state = 'waiting' FROM openhr_msg.status()
			WHERE worker = 'streamer'") eq 't';
	},
	'the streamer waits');
pass('a database that was renamed is missed');
elsewhere('ALTER DATABASE copy RENAME TO postgres');
come();
is(count_messages(), 5, 'the copy has the messages');
are_served('in a copy of the database');
elsewhere('DROP DATABASE original');
are_served('after the original is gone');

# It is dropped, and made again.

my (undef, undef, $stderr) = $node->psql('other', 'DROP DATABASE postgres');
like($stderr, qr/active logical replication slot/,
	'a database that is served cannot be dropped');
(undef, undef, $stderr) =
  $node->psql('other', 'DROP DATABASE postgres WITH (FORCE)');
like($stderr, qr/active logical replication slot/, '... not by force, either');
are_served('after that');
elsewhere('SELECT openhr_msg.stop_workers()');
are_asked_back('the database is dropped');
elsewhere('DROP DATABASE postgres');
elsewhere('DROP TABLESPACE room');
is(elsewhere('SELECT count(*) FROM pg_replication_slots'),
	0, 'no slot is left behind');
elsewhere('SELECT openhr_msg.start_workers()');
elsewhere('CREATE DATABASE postgres');
$node->create_extension;
make_people();
come();
are_served('in a new database');

# The extension goes, or does not.

$node->value('CREATE SCHEMA chat;
	ALTER DATABASE postgres SET search_path = chat, public');

sub nobody_notices
{
	my ($name, $sql, $error) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres', $sql);

	like($stderr, $error // qr/^(.*NOTICE.*\s*|DETAIL.*\s*)*$/, $name);
	are_served("$name: nobody notices");
	return;
}

nobody_notices('DROP EXTENSION, rolled back',
	'BEGIN; DROP EXTENSION openhr_msg CASCADE; ROLLBACK');
nobody_notices('DROP EXTENSION, rolled back to a savepoint',
	'BEGIN; SAVEPOINT s; DROP EXTENSION openhr_msg CASCADE; ROLLBACK TO s; COMMIT');
nobody_notices('ALTER EXTENSION SET SCHEMA',
	'ALTER EXTENSION openhr_msg SET SCHEMA chat',
	qr/does not support SET SCHEMA/);
nobody_notices('ALTER EXTENSION UPDATE', 'ALTER EXTENSION openhr_msg UPDATE');
nobody_notices('CREATE EXTENSION IF NOT EXISTS',
	'CREATE EXTENSION IF NOT EXISTS openhr_msg');

foreach my $schema ('public', 'public', 'chat')
{
	$node->psql('postgres', 'DROP EXTENSION openhr_msg CASCADE');
	are_asked_back('DROP EXTENSION');
	$node->wait_until(
		sub {
			elsewhere('SELECT count(*) FROM pg_replication_slots') == 0;
		},
		'the slot is dropped');

	# Who comes now can only wait.
	my $early = $node->connect($ana);
	is($early->heartbeat, 'ok', 'a client may come before the extension');
	$early->push_event('realtime:x', 'phx_join', { config => $messages }, '1');

	$node->value("CREATE EXTENSION openhr_msg SCHEMA $schema");
	is($early->close_code, 1012, '... and is asked back with CREATE EXTENSION');
	all_are('running', "CREATE EXTENSION in $schema");
	make_people();
	come();
	are_served("served from schema $schema");
}

# Both in one transaction, and one that changes its mind.

$node->value('BEGIN; DROP EXTENSION openhr_msg CASCADE;
	CREATE EXTENSION openhr_msg SCHEMA chat; COMMIT');
are_asked_back('DROP and CREATE EXTENSION at once');
make_people();
come();
are_served('after both at once');
$node->value('BEGIN; DROP EXTENSION openhr_msg CASCADE;
	CREATE EXTENSION openhr_msg SCHEMA chat; ROLLBACK');
are_served('after neither of them');

$node->stop;
done_testing();
