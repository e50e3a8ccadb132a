# Everything at once: many sessions send, retry, edit, delete, read, mute, leave
# and come back, in few conversations, several of it in one transaction.  No
# deadlock, no error but the refusals that are meant; and at the end the counters
# of every conversation are those of its messages.
#
# OPENHR_MSG_LOAD_SECONDS	how long; 4 unless set
# OPENHR_MSG_SEED			repeats what the sessions do, not when

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $CLIENTS = 32;
my $seconds = $ENV{OPENHR_MSG_LOAD_SECONDS} || 4;
my $seed = $ENV{OPENHR_MSG_SEED} // int(rand(2**31));
note("OPENHR_MSG_SEED=$seed");

my $node = GatewayCluster->new('main', max_connections => $CLIENTS + 20)->serve;

# Everybody is a member of all four groups, each of which has two admins.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION group_id(n int) RETURNS uuid LANGUAGE sql
RETURN ('00000000-0000-7000-8000-' || 100000000000 + n)::uuid;
CREATE FUNCTION person(n int) RETURNS uuid LANGUAGE sql
RETURN ('00000000-0000-7000-8000-' || 200000000000 + n)::uuid;
INSERT INTO profiles (id) SELECT person(n) FROM generate_series(0, 15) n;
INSERT INTO conversations (id, type)
SELECT group_id(n), 'group' FROM generate_series(0, 3) n;
INSERT INTO conversation_participants (conversation_id, profile_id, role)
SELECT group_id(g), person(p), CASE p % 8 WHEN g THEN 'admin' ELSE 'member' END
FROM generate_series(0, 3) g, generate_series(0, 15) p;
INSERT INTO messages (conversation_id, content)
SELECT group_id(g), 'first' FROM generate_series(0, 3) g;

-- What went wrong, without what a rule refuses: not (or no longer) allowed, not
-- there, already deleted.
CREATE TABLE trouble (state text, message text, statement text);
CREATE FUNCTION try(me int, VARIADIC statements text[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	sqlstate_seen text;
	text_seen text;
BEGIN
	PERFORM set_config('request.jwt.claims', json_build_object(
		'sub', person(me), 'role', 'authenticated')::text, true);
	FOREACH statement IN ARRAY statements LOOP
		EXECUTE statement;
	END LOOP;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS sqlstate_seen = RETURNED_SQLSTATE,
		text_seen = MESSAGE_TEXT;
	IF sqlstate_seen NOT IN ('42501', 'PT404', 'PT409') THEN
		INSERT INTO trouble VALUES (sqlstate_seen, text_seen, statement);
	END IF;
	RETURN 'refused';
END
$$;
-- One of the latest messages.
CREATE FUNCTION some_message(g int, n int) RETURNS uuid LANGUAGE sql STABLE
RETURN (SELECT m.id FROM messages m JOIN conversations c ON c.id = conversation_id
	WHERE conversation_id = group_id(g) AND seq = greatest(c.last_seq - n, 1));
SQL

# As a weight and a script: :g is a group, :p a profile, :q another, :n a number.
my @scripts = (
	[ 12, q{'SELECT openhr_msg.send_message(group_id(' || :g || '), ''hello'')'} ],
	[ 4, q{'SELECT openhr_msg.send_message(group_id(' || :g || '), ''again'', client_message_id => ''k' || :n || ''')'} ],
	[ 4, q{'INSERT INTO messages (conversation_id, content) VALUES (group_id(' || :g || '), ''direct'')'} ],
	[ 4, q{'SELECT openhr_msg.edit_message(some_message(' || :g || ', ' || :n || '), ''edited ' || :q || ''')'} ],
	[ 2, q{'SELECT openhr_msg.delete_message(some_message(' || :g || ', ' || :n || '))'} ],
	[ 4, q{'SELECT openhr_msg.mark_read(group_id(' || :g || '))'} ],
	[ 2, q{'UPDATE conversation_participants SET is_muted = NOT is_muted WHERE conversation_id = group_id(' || :g || ') AND profile_id = person(' || :q || ')',
		'SELECT openhr_msg.send_message(group_id(' || :g || '), ''a word on muting'')'} ],
	[ 1, q{'SELECT openhr_msg.remove_participant(group_id(' || :g || '), person(' || :p || '))'} ],
	[ 4, q{'SELECT openhr_msg.add_participant(group_id(' || :g || '), person(' || :q || '))',
		'SELECT openhr_msg.send_message(group_id(' || :g || '), ''welcome'')'} ],
	[ 4, q{'SELECT count(*) FROM openhr_msg.list_messages(group_id(' || :g || '))'} ],
	[ 2, q{'SELECT count(*) FROM openhr_msg.list_conversations()'} ]);

my @files;
my $number = 0;
foreach my $script (@scripts)
{
	my ($weight, $statements) = @$script;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/script" . $number++;

	append_to_file($file, <<"END");
\\set g random(0, 3)
\\set p random(0, 15)
\\set q (:p + random(1, 15)) % 16
\\set n random(0, 20)
SELECT try(:p, $statements);
END
	push @files, '-f', "$file\@$weight";
}

$node->command_ok(
	[ 'pgbench', '-n', '-c', $CLIENTS, '-T', $seconds, "--random-seed=$seed",
		@files, 'postgres' ],
	"$CLIENTS sessions for $seconds seconds");

is($node->safe_psql('postgres', 'SELECT DISTINCT * FROM trouble LIMIT 5'), '',
	'nothing but refusals that are meant');

# Each is a query for what is wrong.
my %wrong = (
	'no gap in seq, and last_seq is the last' => q{
		SELECT c.id FROM conversations c LEFT JOIN messages m
		ON m.conversation_id = c.id GROUP BY c.id
		HAVING (count(m.id), count(DISTINCT seq)) <> (last_seq, last_seq)
			OR (min(seq), max(seq)) <> (1, last_seq)},
	'versions are different, and last_version is the last' => q{
		SELECT c.id FROM conversations c JOIN messages m
		ON m.conversation_id = c.id GROUP BY c.id
		HAVING count(DISTINCT version) <> count(*)
			OR max(version) <> c.last_version},
	'created_at ascends with seq' => q{
		SELECT FROM (SELECT created_at < lag(created_at) OVER (PARTITION BY
			conversation_id ORDER BY seq) AS back FROM messages) m WHERE back},
	'a key is one message, and the message has it' => q{
		SELECT FROM openhr_msg.client_messages k FULL JOIN
			(SELECT * FROM messages WHERE client_message_id IS NOT NULL) m
		ON m.id = message_id AND m.client_message_id = k.client_message_id
		WHERE m.id IS NULL OR message_id IS NULL},
	'nobody has read more than there is' => q{
		SELECT FROM conversation_participants p JOIN conversations c
		ON c.id = conversation_id WHERE last_read_seq > last_seq},
	'a group that has members has an admin' => q{
		SELECT conversation_id FROM conversation_participants
		WHERE conversation_id IN (SELECT group_id(g) FROM generate_series(0, 3) g)
		GROUP BY conversation_id HAVING NOT bool_or(role = 'admin')});

foreach my $what (sort keys %wrong)
{
	is( $node->safe_psql('postgres', "SELECT count(*) FROM ($wrong{$what}) w"),
		0, $what);
}
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM messages'), '>', 100,
	'there was something to count');

done_testing();
