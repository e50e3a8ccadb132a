# No text of a message gets into the server's log, whichever refusal it meets
# and whichever way it is written, under the server's default settings.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ann = '00000000-0000-0000-0000-0000000000a1';
my $bob = '00000000-0000-0000-0000-0000000000b2';
my $conversation = '00000000-0000-0000-0000-0000000000c0';
my $nothing = '00000000-0000-0000-0000-000000000000';
my $secret = 'SECRET-BODY';

my $node = PostgreSQL::Test::Cluster->new('log');
$node->init;
$node->append_conf('postgresql.conf', 'log_statement = none');
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION openhr_msg;
	INSERT INTO profiles (id) VALUES ('$ann'), ('$bob');
	INSERT INTO conversations (id, type) VALUES ('$conversation', 'group');
	INSERT INTO conversation_participants (conversation_id, profile_id)
		VALUES ('$conversation', '$ann');
	INSERT INTO messages (conversation_id, sender_profile_id, content)
		VALUES ('$conversation', '$ann', 'first');
});
my $message = $node->safe_psql('postgres', 'SELECT id FROM messages');

# What is refused, by its SQLSTATE, as ann.
my @refused = (
	'22023', "SELECT openhr_msg.send_message('$conversation', '$secret', 'html')",
	'42501', "SELECT openhr_msg.send_message('$conversation', '$secret', 'system')",
	'22004', "SELECT openhr_msg.send_message(NULL, '$secret')",
	'42501', "SELECT openhr_msg.send_message('$nothing', '$secret')",
	'22001', "SELECT openhr_msg.send_message('$conversation', '$secret' || repeat('x', 20000))",
	'22023', "SELECT openhr_msg.send_message('$conversation', '$secret', metadata => '[]')",
	'22001', "SELECT openhr_msg.send_message('$conversation', 'x', metadata => jsonb_build_object('$secret', repeat('x', 20000)))",
	'22023', "SELECT openhr_msg.send_message('$conversation', '$secret', client_message_id => ' ')",
	'23503', "SELECT openhr_msg.send_message('$conversation', '$secret', reply_to_message_id => '$nothing')",
	'PT404', "SELECT openhr_msg.edit_message('$nothing', '$secret')",
	'22023', "SELECT openhr_msg.create_conversation(ARRAY['$bob']::uuid[], '$secret', 'crowd')",
	'22001', "SELECT openhr_msg.create_conversation(ARRAY['$bob']::uuid[], '$secret' || repeat('x', 300))",
	'22023', "INSERT INTO messages (conversation_id, content, content_type) VALUES ('$conversation', '$secret', 'html')",
	'22023', "INSERT INTO messages (conversation_id, content, metadata) VALUES ('$conversation', '$secret', '[]')",
	'42501', "INSERT INTO messages (conversation_id, content) VALUES ('$nothing', '$secret')",
	'23502', "INSERT INTO messages (content) VALUES ('$secret')",
	'22001', "UPDATE messages SET content = '$secret' || repeat('x', 20000)",
	'22023', "INSERT INTO conversations (title, type, created_by) VALUES ('$secret', 'crowd', '$ann')",
	# statement_timeout, waiting for a lock that the next session holds
	'57014', "SELECT openhr_msg.send_message('$conversation', '$secret')",
	'57014', "SELECT openhr_msg.edit_message('$message', '$secret')",
	'57014', "INSERT INTO messages (conversation_id, content) VALUES ('$conversation', '$secret')",
);

my ($locker, $locker_in, $locker_out);

while (my ($sqlstate, $command) = splice(@refused, 0, 2))
{
	my $waits = $sqlstate eq '57014';
	my $timeout = $waits ? '500ms' : '3min';
	lock_conversations() if $waits && !$locker;
	my ($status, $stdout, $stderr) = $node->psql('postgres', qq{
		\\set VERBOSITY sqlstate
		SET request.jwt.claims = '{"role": "authenticated", "sub": "$ann"}';
		SET ROLE authenticated;
		SET statement_timeout = '$timeout';
		$command;
	});
	like($stderr, qr/ERROR:  $sqlstate$/m,
		$sqlstate . ' ' . ($command =~ s/$secret/.../r));
}

$locker_in = "ROLLBACK;\n\\q\n";
$locker->finish;

my $log = slurp_file($node->logfile);
unlike($log, qr/$secret/, 'the log has no text of a message');
unlike($log, qr/xxxxxxxx/, 'and none of a long one');
cmp_ok(() = $log =~ /ERROR:  /g, '>=', 21, 'the refusals are in the log');

$node->stop;
done_testing();

sub lock_conversations
{
	$locker_in = "BEGIN; SELECT 'locked' FROM conversations FOR UPDATE;\n";
	$locker = IPC::Run::start(
		[ 'psql', '-X', '-q', '-A', '-t', '-d', $node->connstr('postgres') ],
		'<', \$locker_in, '>', \$locker_out, IPC::Run::timeout(180));
	$locker->pump until ($locker_out // '') =~ /locked/;
	return;
}
