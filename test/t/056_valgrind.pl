# The functions that send and read, and the output plugin, under valgrind's
# memcheck: a server of one process, which does each of them several times.
# Nothing of ours may use memory that it does not own or has not set, or lose
# any.  What the server does by itself is not judged, and needs no list of
# exceptions then.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'valgrind is not installed'
  if system('valgrind --version >/dev/null 2>&1') != 0;

my ($ann, $bob) = map { "00000000-0000-0000-0000-0000000000$_" } qw(a1 b2);
my $conversation = '00000000-0000-0000-0000-0000000000c0';

my $node = GatewayCluster->new('main');
my $secret = $GatewayCluster::SECRET;
my $token = WebSocket::token($secret, sub => $ann);
my $data = $node->data_dir;
my $found = $node->basedir . '/memcheck.xml';

# What is done once before, and several times under watch; a command a line.
my $setup = qq{
	CREATE EXTENSION openhr_msg;
	INSERT INTO profiles (id) VALUES ('$ann'), ('$bob');
	INSERT INTO conversations (id, type, created_by) VALUES ('$conversation', 'group', '$ann');
	INSERT INTO conversation_participants (conversation_id, profile_id) VALUES ('$conversation', '$ann'), ('$conversation', '$bob');
	SELECT openhr_msg.create_partitions();
	SELECT 1 FROM pg_create_logical_replication_slot('watched', 'openhr_msg');
};
my $work = qq{
	SELECT openhr_msg.authenticate('$token');
	SET ROLE authenticated;
	SELECT id FROM openhr_msg.create_conversation(ARRAY['$bob']::uuid[], 'title');
	SELECT id FROM openhr_msg.send_message('$conversation', 'plain');
	SELECT id FROM openhr_msg.send_message('$conversation', repeat('long \\u00e4 "', 1000), metadata => '{"a": [1, {"b": null}]}');
	SELECT id FROM openhr_msg.send_message('$conversation', 'keyed', client_message_id => 'key');
	SELECT id FROM openhr_msg.send_message('$conversation', 'other', client_message_id => 'key');
	SELECT id FROM openhr_msg.send_message('$conversation', 'x', 'html');
	SELECT id FROM openhr_msg.send_message('$ann', 'nowhere');
	INSERT INTO messages (conversation_id, sender_profile_id, content) VALUES ('$conversation', '$ann', 'direct');
	SELECT openhr_msg.edit_message(max(id::text)::uuid, 'edited') FROM messages;
	SELECT openhr_msg.delete_message(max(id::text)::uuid) FROM messages;
	SELECT count(*) FROM openhr_msg.list_messages('$conversation');
	SELECT count(*) FROM openhr_msg.list_changes('$conversation', 0);
	SELECT count(*) FROM openhr_msg.list_conversations();
	SELECT openhr_msg.mark_read('$conversation', 1000000);
	SELECT openhr_msg.mark_read('$conversation');
	RESET ROLE;
	SELECT openhr_msg.authenticate('no.token.this');
	SELECT count(*) FROM pg_logical_slot_get_changes('watched', NULL, NULL);
};
my $ROUNDS = 3;

sub commands
{
	return join '', map { s/^\s+//r . "\n" } grep { /\S/ } split /\n/, $_[0];
}

# Run commands in a server of one process.
sub alone
{
	my ($commands, @prefix) = @_;
	my $out = '';

	IPC::Run::run(
		[ @prefix, 'postgres', '--single', '-j', '-F', '-D', $data, 'postgres' ],
		'<', \$commands, '>', \$out, '2>&1');
	return $out;
}

# In -j mode, a command ends with a semicolon and an empty line.
sub script { return commands($_[0]) =~ s/;\n/;\n\n/gr }

my $out = alone(script($setup));
unlike($out, qr/ERROR|FATAL|PANIC/, 'a chat to watch is made');

$out = alone(
	script($work) x $ROUNDS,
	'valgrind', '--quiet', '--tool=memcheck', '--num-callers=40',
	'--leak-check=full', '--show-leak-kinds=definite', '--xml=yes',
	"--xml-file=$found");
my @errors = $out =~ /(ERROR: .*)/g;
is(scalar @errors, 4 * $ROUNDS, 'what should be refused is')
  or diag(map { "$_\n" } @errors);
like($out, qr/count = "[1-9]\d*"/, '... and the rest is answered');

my @ours = grep { m{<obj>[^<]*/openhr_msg\.so</obj>} }
  slurp_file($found) =~ m{<error>.*?</error>}gs;
is(scalar @ours, 0, 'memcheck has nothing to say of our library');
diag($_) foreach @ours;
like(slurp_file($found), qr{</valgrindoutput>}, '... to the end');

done_testing();
