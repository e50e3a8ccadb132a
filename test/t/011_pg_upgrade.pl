# pg_upgrade carries the messages over; adopt_tables() then ties profiles and
# matches to them again, which pg_upgrade cannot, and a dump knows the order.
# From 17 on it refuses slots with WAL to read, so ours is dropped before.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ties = <<'SQL';
SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'openhr%'),
	   (SELECT count(*) FROM pg_depend WHERE refobjid = 'profiles'::regclass
		AND classid = 'pg_extension'::regclass)
SQL

sub new_cluster
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf',
			"shared_preload_libraries = 'openhr_msg'\n"
		  . "openhr_msg.port = "
		  . PostgreSQL::Test::Cluster::get_free_port() . "\n");
	return $node;
}

my $old = new_cluster('old');
my $new = new_cluster('new');
my $bindir = $old->config_data('--bindir');

$old->start;
$old->safe_psql('postgres', <<'SQL');
CREATE TABLE profiles (id uuid PRIMARY KEY, email text);
CREATE EXTENSION openhr_msg;
INSERT INTO profiles VALUES (md5('p')::uuid);
INSERT INTO conversations (id, created_by)
	VALUES (md5('c')::uuid, md5('p')::uuid);
SELECT openhr_msg.send_message(md5('c')::uuid, 'before');
SELECT openhr_msg.stop_workers();
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots;
SQL
$old->stop;

# It wants to write to the current directory.
chdir ${PostgreSQL::Test::Utils::tmp_check};
command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D',
		$new->data_dir, '-b', $bindir, '-B', $bindir, '-s', $new->host,
		'-p', $old->port, '-P', $new->port
	],
	'pg_upgrade');

$new->start;
is( $new->safe_psql('postgres',
		q{SELECT openhr_msg.send_message(md5('c')::uuid, 'after');
		  SELECT string_agg(content, ' ' ORDER BY seq),
				 count(DISTINCT tableoid) FROM messages}) =~ s/.*\n//r,
	'before after|1', 'messages come over and go on');

$new->safe_psql('postgres', 'SELECT openhr_msg.adopt_tables()');
is($new->safe_psql('postgres', $ties), '2|1', 'adopted again');
$new->safe_psql('postgres', 'SELECT openhr_msg.adopt_tables()');
is($new->safe_psql('postgres', $ties), '2|1', 'once');

is( $new->safe_psql('postgres',
		'DELETE FROM profiles; SELECT count(created_by) FROM conversations'),
	0, 'a deleted profile is followed');

done_testing();
