# Transactions of 100,000 rows, while clients are served: everything arrives,
# the others wait a moment only, and the workers do not grow.

use strict;
use warnings;

use GatewayCluster;
use IO::Select;
use IPC::Run;
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $rows = 100_000;

# The longest that a small message may take, in seconds, and what a worker may
# grow by, in MB, beside logical_decoding_work_mem; both meant to be generous.
my %limit = (delay => 30, streamer => 64 + 100, gateway => 50);

my $node = GatewayCluster->new('main',
	'openhr_msg.executors' => 1,
	'logical_decoding_work_mem' => "'64MB'",
	'max_wal_size' => "'2GB'")->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
$node->value("UPDATE conversations SET title = 'one' WHERE id = '"
	  . $node->conversation($ana) . "'");
my $small = $node->conversation($ben);

$node->value('CREATE TABLE unrelated (n int, t text)');
$node->value("INSERT INTO conversations (title, created_by)
	SELECT 'many', '$ana' FROM generate_series(1, 1000)");
$node->value("INSERT INTO conversation_participants
		(conversation_id, profile_id)
	SELECT id, '$ana' FROM conversations WHERE title = 'many'");

# Memory that is a worker's own, in MB.
sub memory_of
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;

	return $kb / 1024;
}

# What came in frames for Ana: the version of each message, in order.
my ($ws, %version, @wrong, $cut, $frames);

sub take_frame
{
	my ($opcode, $frame) = $ws->read_frame;

	return 0 if !defined $opcode || $opcode == 8;
	my ($record) = $frame =~ /"record":(\{.*\})/ or return 1;
	my ($talk) = $record =~ /"conversation_id":"([^"]+)"/;
	my ($version) = $record =~ /"version":(\d+)/;
	my $last = $version{$talk} // 0;

	# A client that is back knows what it has: the tables tell the rest.
	push @wrong, "$version after $last"
	  if $version != $last + 1 && !$cut->{$talk};
	delete $cut->{$talk};
	$version{$talk} = $version;
	$frames++;
	return 1;
}

# Is there something to read, within a moment?
sub is_readable
{
	return length $ws->{input} || IO::Select->new($ws->{socket})->can_read(0.1);
}

# A reader that was too slow comes back, and reads what it missed.
sub come_back
{
	my ($name) = @_;

	note "$name: the reader was cut off";
	$ws = $node->subscribe($ana);
	%version = read_versions();
	$cut = { map { $_ => 1 } keys %version };
	return;
}

# By version, as list_changes() does: dense, so the last one tells it all.
sub read_versions
{
	return map { split /\|/ } split /\n/, $node->value(
		"SELECT conversation_id, max(version) FROM messages
		GROUP BY conversation_id HAVING count(*) = max(version)");
}

sub is_complete
{
	my %last = map { split /\|/ } split /\n/,
	  $node->value("SELECT id, last_version FROM conversations
		WHERE created_by = '$ana' AND last_version > 0");

	return !grep { ($version{$_} // 0) < $last{$_} } keys %last;
}

# Ben sends to himself and waits for it, until he is stopped; he tells the
# longest that he waited, since the commit.
sub start_ben
{
	my ($to, $path) = @_;
	my $pid = fork // die "could not fork: $!";

	return $pid if $pid;
	my $stopped = 0;
	my $longest = 0;
	my $ok = eval {
		my $follow = $node->subscribe($ben);

		local $SIG{TERM} = sub { $stopped = 1 };
		until ($stopped)
		{
			$node->say($small, $ben, 'small');
			my $sent = time;

			1 until eval { $follow->next_event('postgres_changes') }
			  || $stopped
			  || $@ !~ /in time/;
			die $@ if $@ && !$stopped;
			$longest = max($longest, time - $sent);
		}
		1;
	};
	append_to_file($path, $ok ? $longest : "Ben: $@");
	POSIX::_exit(0);
}

# As replication or a migration writes them, without triggers: numbers are
# given, and nothing but the WAL tells the workers.
sub import_of
{
	my ($title, $each) = @_;

	return "SET session_replication_role = replica;
		BEGIN;
		INSERT INTO messages (conversation_id, sender_profile_id, content,
				created_at, seq, version)
			SELECT id, '$ana', repeat('x', 100), now(), last_seq + n,
				last_version + n
			FROM conversations, generate_series(1, $each) n
			WHERE title = '$title';
		UPDATE conversations SET last_seq = last_seq + $each,
				last_version = last_version + $each
			WHERE title = '$title';
		COMMIT";
}

my %deeds = (
	'one conversation' => import_of('one', $rows),
	'many conversations' => import_of('many', $rows / 1000),
	'a table that is not ours' => "INSERT INTO unrelated
		SELECT n, repeat('x', 100) FROM generate_series(1, 5 * $rows) n",
	'through the triggers' => "INSERT INTO messages (conversation_id,
			sender_profile_id, content)
		SELECT id, '$ana', repeat('x', 100) FROM conversations,
			generate_series(1, 3) WHERE title = 'many'",
	'rolled back' => import_of('many', $rows / 1000) =~ s/COMMIT/ROLLBACK/r);

$ws = $node->subscribe($ana);
foreach my $name (sort keys %deeds)
{
	my $sql = $deeds{$name};
	my %pid = map { $_ => $node->status('pid', $_) } qw(streamer gateway);
	my %before = map { $_ => memory_of($pid{$_}) } keys %pid;
	my %most = %before;
	my $path = $node->basedir . "/delay.$name";
	$frames = 0;
	my $ben_pid = start_ben($small, $path);
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $psql = IPC::Run::start(
		[ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \my $out, '2>', \my $err);

	# Frames come at the end of the transaction.
	until (!$psql->pumpable && is_complete())
	{
		die "$name: not all has come\n" if time > $deadline;
		$psql->pump_nb if $psql->pumpable;
		take_frame() or come_back($name) while is_readable();
		$most{$_} = max($most{$_}, memory_of($pid{$_})) foreach keys %pid;
	}
	$psql->finish or die $err;
	kill 'TERM', $ben_pid;
	waitpid $ben_pid, 0;
	my $delay = slurp_file($path);

	is_deeply(\@wrong, [], "$name: frames come by version");
	cmp_ok($delay, '<', $limit{delay}, '... others do not wait for long');
	foreach my $worker (sort keys %pid)
	{
		cmp_ok($most{$worker} - $before{$worker},
			'<', $limit{$worker}, "... the $worker does not grow");
	}
	is($node->status('pid', 'streamer'), $pid{streamer}, '... nor restarts');
	note sprintf '%s: %d frames, delay %.2f s, MB %.0f -> %.0f, %.0f -> %.0f',
	  $name, $frames, $delay, map { $before{$_}, $most{$_} } sort keys %pid;
}

$node->stop;
done_testing();
