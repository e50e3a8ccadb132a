# A dump of a database with messages in several months and in the default
# partition comes back whole, into a fresh cluster, as plain SQL and by
# parallel restore: with profiles and matches made by CREATE EXTENSION, with
# those that the database had, and with the extension in another schema.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What a database has before CREATE EXTENSION, and the extension's schema.
my %variant = (
	made => {
		schema => 'public',
		before => '',
	},
	own => {
		schema => 'public',
		before => q{
			CREATE SCHEMA auth;
			CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
				AS $$ SELECT NULL::uuid $$;
			CREATE TABLE companies (id int PRIMARY KEY, name text);
			CREATE TABLE profiles (
				id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
				email text UNIQUE,
				display_name text NOT NULL DEFAULT 'somebody',
				company_id int REFERENCES companies);
			CREATE TABLE matches (
				id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
				a uuid REFERENCES profiles ON DELETE CASCADE,
				b uuid REFERENCES profiles ON DELETE CASCADE);
			CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql
				AS $$ BEGIN RETURN OLD; END $$;
			CREATE TRIGGER shout BEFORE DELETE ON profiles
				FOR EACH ROW EXECUTE FUNCTION shout();
		},
	},
	chat => {
		schema => 'chat',
		before => 'CREATE SCHEMA chat; CREATE TABLE messages (mine text);',
	},
);

# Rows of every table, in the months before, in this one, and in none.
my $fill = <<'SQL';
INSERT INTO profiles (id, display_name)
	SELECT md5('profile' || n)::uuid, 'p' || n FROM generate_series(1, 6) n;
INSERT INTO matches (id)
	SELECT md5('match' || n)::uuid FROM generate_series(1, 3) n;
INSERT INTO conversations (id, created_by, title, type, match_id,
						   last_seq, last_version)
	SELECT md5('conversation' || n)::uuid, md5('profile' || n)::uuid,
		   'c' || n, 'group', md5('match' || n)::uuid, 60, 60
	FROM generate_series(1, 3) n;
INSERT INTO conversation_participants (conversation_id, profile_id,
									   last_read_seq)
	SELECT md5('conversation' || c)::uuid, md5('profile' || p)::uuid, p
	FROM generate_series(1, 3) c, generate_series(1, 4) p;
INSERT INTO messages (id, conversation_id, sender_profile_id, content,
					  metadata, created_at, client_message_id, seq, version)
	SELECT openhr_msg.uuid_v7_floor(at), md5('conversation' || c)::uuid,
		   md5('profile' || 1 + n % 4)::uuid, repeat('text ' || n, n * n),
		   jsonb_build_object('n', n), at, 'key' || n, n, n
	FROM generate_series(1, 3) c, generate_series(1, 58) n,
		 LATERAL (SELECT now() - interval '4 months' + n * interval '2 days'
						 + c * interval '1 ms') AS times (at);
SELECT openhr_msg.create_partitions();
INSERT INTO messages (id, conversation_id, content, created_at, seq, version)
	SELECT md5('message' || c || n)::uuid, md5('conversation' || c)::uuid,
		   'from elsewhere', now(), n, n
	FROM generate_series(1, 3) c, generate_series(59, 60) n;
SELECT openhr_msg.send_message(id, 'now') FROM conversations
	WHERE title = 'c3';
INSERT INTO openhr_msg.client_messages
	SELECT conversation_id, sender_profile_id, client_message_id, id,
		   sha256(content::bytea), created_at
	FROM messages WHERE client_message_id IS NOT NULL;
ALTER TABLE profiles ADD COLUMN motto text DEFAULT 'none';
CREATE POLICY everybody ON profiles FOR SELECT USING (true);
CREATE TABLE bookmarks (
	profile_id uuid REFERENCES profiles ON DELETE CASCADE,
	conversation_id uuid);
INSERT INTO bookmarks SELECT profile_id, conversation_id
	FROM conversation_participants;
SQL

my $count_partitions = <<'SQL';
SELECT count(*) FROM pg_inherits WHERE inhparent = 'messages'::regclass
SQL

# All that pg_dump must bring back and a dump's text does not show.
my $catalog = <<'SQL';
SELECT c.oid::regclass, c.relkind, c.relreplident, c.relrowsecurity,
	   c.relforcerowsecurity, c.relacl, obj_description(c.oid, 'pg_class'),
	   pg_get_expr(c.relpartbound, c.oid),
	   (SELECT string_agg(pg_get_indexdef(indexrelid) || indisreplident
						  || indisprimary, ', ' ORDER BY indexrelid::regclass::text)
		FROM pg_index WHERE indrelid = c.oid),
	   (SELECT string_agg(regexp_replace(tgname, '\d+$', '') || tgtype
						  || tgfoid::regproc, ', ' ORDER BY tgname)
		FROM pg_trigger WHERE tgrelid = c.oid AND tgconstraint = 0),
	   EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e'),
	   EXISTS (SELECT FROM pg_depend WHERE refobjid = c.oid
			   AND classid = 'pg_extension'::regclass)
FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text
	NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
ORDER BY c.oid::regclass::text
SQL

my $rows = <<'SQL';
SELECT md5(string_agg(line, E'\n' ORDER BY line)), count(*) FROM (
	SELECT 'p' || p::text FROM profiles p UNION ALL
	SELECT 'm' || m::text FROM matches m UNION ALL
	SELECT 'c' || c::text FROM conversations c UNION ALL
	SELECT 'cp' || cp::text FROM conversation_participants cp UNION ALL
	SELECT m.tableoid::regclass || m::text FROM messages m UNION ALL
	SELECT 'cm' || cm::text FROM openhr_msg.client_messages cm UNION ALL
	SELECT 'mo' || mo::text FROM openhr_msg.conversation_months mo UNION ALL
	SELECT 'b' || b::text FROM bookmarks b
) AS lines (line)
SQL

my $leftovers = <<'SQL';
SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'openhr_msg')
	 + (SELECT count(*) FROM pg_class WHERE relname LIKE 'messages\_%'
		OR relname LIKE 'conversation%' OR relname = 'client_messages')
	 + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'openhr%')
	 + (SELECT count(*) FROM pg_proc WHERE probin LIKE '%openhr%')
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
	$node->start;
	return $node;
}

# The extension's schema comes first, as an application would have it.
sub query
{
	my ($node, $name, $sql, $schema) = @_;

	return $node->safe_psql($name, "SET search_path = $schema, public;\n$sql");
}

# The text of a dump, without what differs from one to the next.
sub dump_text
{
	my ($node, $name) = @_;
	my ($out, $err);

	IPC::Run::run [ 'pg_dump', '--no-sync', '-d', $node->connstr($name) ],
	  '>', \$out, '2>', \$err
	  or die "pg_dump failed: $err";
	$out =~ s/^\\(un)?restrict .*\n//mg;
	return $out;
}

sub check_restored
{
	my ($source, $target, $name, $how) = @_;
	my $schema = $variant{$name}{schema};

	is(query($target, $name, $rows, $schema),
		query($source, $name, $rows, $schema), "$name, $how: every row");
	is(query($target, $name, $catalog, $schema),
		query($source, $name, $catalog, $schema),
		"$name, $how: partitions, indexes, triggers");
	is(dump_text($target, $name), dump_text($source, $name),
		"$name, $how: dumped again, the same");
}

# After the restore the database works as before.
sub check_alive
{
	my ($node, $name) = @_;
	my $schema = $variant{$name}{schema};

	is(query($node, $name, 'SELECT openhr_msg.create_partitions()', $schema),
		0, "$name: no month is missing");
	is( query($node, $name,
			q{SELECT seq, version FROM openhr_msg.send_message(}
			  . q{md5('conversation3')::uuid, 'hello again')},
			$schema),
		'62|62',
		"$name: the next message continues the sequence");
	query($node, $name, q{DELETE FROM profiles WHERE display_name = 'p2'},
		$schema);
	is( query($node, $name,
			'SELECT (SELECT count(*) FROM messages '
			  . 'WHERE sender_profile_id IS NULL), '
			  . '(SELECT count(*) FROM conversation_participants), '
			  . '(SELECT count(*) FROM conversations WHERE created_by IS NULL)',
			$schema),
		'53|9|1',
		"$name: a deleted profile leaves its conversations");
}

sub check_dropped
{
	my ($node, $name) = @_;
	my $schema = $variant{$name}{schema};

	query($node, $name, 'DROP EXTENSION openhr_msg', $schema);
	is(query($node, $name, $leftovers, $schema),
		0, "$name: DROP EXTENSION leaves nothing behind");
	is( query($node, $name,
			q{SELECT count(*) FROM profiles, matches}, $schema),
		15, "$name: profiles and matches stay");
	query($node, $name, "CREATE EXTENSION openhr_msg SCHEMA $schema;"
		  . 'SELECT openhr_msg.create_partitions(even_if_empty => true)',
		$schema);
	is(query($node, $name, $count_partitions, $schema),
		4, "$name: CREATE EXTENSION works again");
}

my $source = new_cluster('source');
my $target = new_cluster('target');
my $directory = $source->backup_dir;

for my $name (sort keys %variant)
{
	my $schema = $variant{$name}{schema};

	$source->safe_psql('postgres', "CREATE DATABASE $name");
	$source->safe_psql($name, $variant{$name}{before});
	$source->safe_psql($name, "CREATE EXTENSION openhr_msg SCHEMA $schema");
	query($source, $name, $fill, $schema);
	cmp_ok(query($source, $name, $count_partitions, $schema),
		'>=', 7, "$name: messages are in several months");

	$source->command_ok(
		[
			'pg_dump', '--no-sync', '-f', "$directory/$name.sql",
			'-d', $source->connstr($name)
		],
		"$name: dump as SQL");
	$target->safe_psql('postgres', "CREATE DATABASE $name");
	$target->command_ok(
		[
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1',
			'-f', "$directory/$name.sql", '-d', $target->connstr($name)
		],
		"$name: restore as SQL");
	check_restored($source, $target, $name, 'SQL');

	$source->command_ok(
		[
			'pg_dump', '--no-sync', '-Fd', '-j2', '-f', "$directory/$name",
			'-d', $source->connstr($name)
		],
		"$name: parallel dump");
	$target->safe_psql('postgres',
		"DROP DATABASE $name; CREATE DATABASE $name");
	$target->command_ok(
		[
			'pg_restore', '-e', '-j4', '-d', $target->connstr($name),
			"$directory/$name"
		],
		"$name: parallel restore");
	check_restored($source, $target, $name, 'parallel');

	check_alive($target, $name);
	check_dropped($target, $name);
}

done_testing();
