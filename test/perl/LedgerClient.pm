=pod

=head1 NAME

LedgerClient - the processes of a Ledger

=head1 DESCRIPTION

What its writers and readers do, each in a process of its own, and how they
tell it: a journal, one JSON object a line, whose key C<how> is one of

=over

=item acknowledged

a writer's message, as the server has returned it

=item joined, cut

a reader's connection begins, and why it ended or was not made

=item read, frame

a message that a reader got by SQL, or over the WebSocket

=back

=cut

package LedgerClient;

use strict;
use warnings;

use IPC::Open2;
use IPC::Run;
use JSON::PP;
use List::Util qw(max);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep);
use WebSocket;

my $json = JSON::PP->new->canonical->utf8;

sub note
{
	my ($child, $how, %entry) = @_;

	open my $out, '>>', $child->{path} or die "$child->{path}: $!";
	syswrite $out, $json->encode({ how => $how, %entry }) . "\n";
	close $out;
	return;
}

# Rows of a query, as hashes; as a profile sees them, if one is given.
sub rows
{
	my ($node, $query, $profile) = @_;
	my ($stdout, $stderr);

	IPC::Run::run(
		[
			'psql', qw(-X -q -A -t -v ON_ERROR_STOP=1 -d),
			$node->connstr('postgres'), '-c',
			become($profile) . "SELECT to_json(row) FROM ($query) AS row"
		],
		'>', \$stdout, '2>', \$stderr) or die $stderr;
	return map { $json->decode($_) } split /\n/, $stdout;
}

sub become
{
	my ($profile) = @_;

	return '' unless defined $profile;
	return qq{SET request.jwt.claims =
		'{"role": "authenticated", "sub": "$profile"}';
		SET ROLE authenticated;};
}

# A writer's life, until SIGTERM: the statement under way is waited for.
sub run_writer
{
	my ($ledger, $writer) = @_;
	my $retries = $writer->{number} % 2 == 0;
	my $stopped = 0;
	my ($session, $message, $last, $count);

	local $SIG{TERM} = sub { $stopped = 1 };
	local $SIG{PIPE} = 'IGNORE';
	until ($stopped)
	{
		$session //= session($ledger, $writer->{profile});
		$message //= compose($ledger, $writer, ++$count, $last);
		my @row = ask($session, $message->{sql});

		if (@row)
		{
			$last = {
				conversation_id => $message->{conversation_id},
				content => $message->{content},
				id => $row[0],
				seq => $row[1],
				version => $row[2]
			};
			note($writer, 'acknowledged', %$last);
		}
		else
		{
			undef $session;
		}
		undef $message if @row || !$retries;
		sleep(@row ? $ledger->{pause} : 0.2);
	}
	return;
}

# What a writer says next: something new, or a change of what was last.
sub compose
{
	my ($ledger, $writer, $count, $last) = @_;
	my $message = {
		content => "$writer->{name}.$ledger->{round}.$count",
		conversation_id => $count % 3 ? $ledger->{hall} : $ledger->{den}
	};

	if ($last && $count % 5 == 0)
	{
		$message = { %$last, content => "$last->{content} changed" };
		$message->{sql} =
		  "openhr_msg.edit_message('$last->{id}', '$message->{content}')";
	}
	else
	{
		my $values = "'$message->{conversation_id}', '$message->{content}'";

		$message->{sql} =
		  $writer->{number} % 2 == 0
		  ? "openhr_msg.send_message($values,
				client_message_id => '$message->{content}')"
		  : "INSERT INTO messages (conversation_id, content, sender_profile_id)
			VALUES ($values, '$writer->{profile}') RETURNING id, seq, version";
	}
	$message->{sql} = "SELECT id, seq, version FROM $message->{sql}"
	  unless $message->{sql} =~ /^INSERT/;
	return $message;
}

# A psql that acts for a profile, as its two ends; any error ends it.
sub session
{
	my ($ledger, $profile) = @_;
	my ($in, $out);

	waitpid -1, WNOHANG;
	open2($out, $in, 'psql', qw(-X -q -A -t -v ON_ERROR_STOP=1 -d),
		$ledger->{node}->connstr('postgres'));
	$in->autoflush;
	print $in become($profile), "\n";
	return [ $in, $out ];
}

# The row that a statement returns; an empty list when it fails.
sub ask
{
	my ($session, $sql) = @_;
	my ($in, $out) = @$session;
	my $line;

	return unless print $in "$sql;\n";
	$line = <$out> // return;
	chomp $line;
	return split /\|/, $line;
}

# A reader's life, until it is killed.
sub run_reader
{
	my ($ledger, $reader) = @_;
	my $pause = 0.05;

	$WebSocket::PATIENCE = $ledger->{patience};
	for (;;)
	{
		my $ws = eval { $ledger->{node}->subscribe($reader->{profile}) };

		if ($ws && eval { catch_up($ledger, $reader); 1 })
		{
			$pause = 0.05;
			follow($reader, $ws);
		}
		note($reader, 'cut', why => $@ =~ s/ at .*//sr);
		sleep $pause;
		$pause = $pause < 1 ? $pause * 2 : 1;
	}
}

# Read what is later than what is known; the connection has been joined.
sub catch_up
{
	my ($ledger, $reader) = @_;
	my $page = 100;

	note($reader, 'joined');
	foreach my $conversation (sort keys %{ $reader->{known} })
	{
		my $known = \$reader->{known}{$conversation};
		my @rows;

		do
		{
			@rows = rows(
				$ledger->{node}, "
				SELECT id, conversation_id, seq, version, content
				FROM openhr_msg.list_changes('$conversation', $$known, $page)",
				$reader->{profile});
			note($reader, 'read', %$_) foreach @rows;
			$$known = $rows[-1]{version} if @rows;
		} while (@rows == $page);
	}
	return;
}

# Follow a connection until it is cut; leaves the reason in $@.
sub follow
{
	my ($reader, $ws) = @_;

	for (;;)
	{
		my $change = eval { $ws->next_event('postgres_changes') };

		if ($change)
		{
			my %row = %{ $change->{data}{record} // next };
			my $known = \$reader->{known}{ $row{conversation_id} };

			$$known = max($$known // 0, $row{version});
			note($reader, 'frame', map { $_ => $row{$_} }
				  qw(id conversation_id seq version content));
			next;
		}
		return unless $@ =~ /in time/ && eval { $ws->heartbeat };
	}
}

1;
