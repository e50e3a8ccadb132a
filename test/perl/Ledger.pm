=pod

=head1 NAME

Ledger - what was sent, acknowledged, and received while something breaks

=head1 SYNOPSIS

  my $ledger = Ledger->new($node, writers => 2, readers => 3);

  $ledger->start;
  $node->stop('immediate');
  $node->start;
  $ledger->flow;
  $ledger->settle;
  $ledger->verify('a crash');

  $ledger->survives('another crash', sub { $node->restart });

=head1 DESCRIPTION

Writers send messages to a GatewayCluster, one statement at a time, through a
psql of their own; readers follow them over WebSockets.  All are processes in
the background, so that the test is free to break things.  Whoever loses the
server tries again; a reader that is back joins first and then reads what it
missed, by version, as any client should.

Each process writes a journal of what it did, which the test reads.  When the
writers rest, verify() holds that

=over

=item nothing that was acknowledged is lost,

=item nothing was stored twice, acknowledged or not, retried or not,

=item every reader has what row level security shows to his profile,

=item on each connection the changes of a conversation came by version,
none twice and none left out,

=item status() tells the truth about the processes and the slot.

=back

There are two conversations: everybody is in the hall, in the den are the
writers and every other reader.  Writers change one message in five after they
sent it.  Every other writer gives its messages a C<client_message_id> and
sends what was not acknowledged again; the others INSERT, and do not.

=cut

package Ledger;

use strict;
use warnings;

use IPC::Open2;
use IPC::Run;
use JSON::PP;
use List::Util qw(all max);
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

# How long to wait for what may be wrong; verify() then tells what is.
our $PATIENCE = 90;

my $json = JSON::PP->new->canonical->utf8;
my @ledgers;

=pod

=head1 METHODS

=over

=item Ledger->new($node, %args)

The node must serve already.  Arguments: C<writers> (2), C<readers> (3),
C<pause>, what a writer rests between two statements (0.02 seconds), and
C<patience>, after how many seconds of silence a reader thinks that his
connection is dead (12).

=cut

sub new
{
	my ($class, $node, %args) = @_;
	my $self = bless {
		node => $node,
		pause => $args{pause} // 0.02,
		patience => $args{patience} // 12,
		round => 0,
		writers => [],
		readers => []
	}, $class;

	foreach my $kind ('writer', 'reader')
	{
		my $count = $args{"${kind}s"} // { writer => 2, reader => 3 }->{$kind};

		push @{ $self->{"${kind}s"} }, map { $self->_child($kind, $_) }
		  0 .. $count - 1;
	}
	$self->_make_conversations;
	push @ledgers, $self;
	return $self;
}

sub _child
{
	my ($self, $kind, $number) = @_;
	my $name = "$kind$number";

	return {
		name => $name,
		number => $number,
		profile => $self->{node}->person($name),
		path => $self->{node}->basedir . '/ledger.' . @ledgers . ".$name",
		offset => 0,
		known => {},				# highest version, by conversation
		framed => {},				# the same, of what came as a frame
		list => {},					# of messages, by id
		problems => []
	};
}

sub _make_conversations
{
	my ($self) = @_;
	my @writers = @{ $self->{writers} };
	my @readers = @{ $self->{readers} };
	my %members = (
		hall => [ @writers, @readers ],
		den => [ @writers, grep { $_->{number} % 2 } @readers ]);

	foreach my $name (sort keys %members)
	{
		my $id = $self->{node}
		  ->conversation(map { $_->{profile} } @{ $members{$name} });

		$self->{$name} = $id;
		$_->{known}{$id} = 0 foreach @{ $members{$name} };
	}
	return;
}

=pod

=item $ledger->start

Start the readers, once, and the writers, again after each settle(), and wait
until messages flow.

=cut

sub start
{
	my ($self) = @_;

	$self->{round}++;
	$_->{pid} //= $self->_fork(\&_read, $_) foreach @{ $self->{readers} };
	$_->{pid} //= $self->_fork(\&_write, $_) foreach @{ $self->{writers} };
	$self->flow;
	return;
}

=pod

=item $ledger->flow

Wait until every writer gets acknowledgements, and until every reader gets
messages that are sent from now on, over his WebSocket.

=cut

sub flow
{
	my ($self) = @_;
	my $node = $self->{node};
	my $hall = $self->{hall};
	my ($mark, %sent, @late);

	$node->poll_query_until('postgres', 'SELECT true')
	  or die "the server does not answer\n";
	$mark = $node->value(
		"SELECT last_version FROM conversations WHERE id = '$hall'");
	$self->_read_journals;
	%sent = map { $_->{name} => scalar keys %{ $_->{list} } }
	  @{ $self->{writers} };
	$self->_wait(
		sub {
			$self->_read_journals;
			@late = map { $_->{name} } (
				(grep { keys %{ $_->{list} } <= $sent{ $_->{name} } }
					@{ $self->{writers} }),
				(grep { ($_->{framed}{$hall} // 0) <= $mark }
					@{ $self->{readers} }));
			return !@late;
		});
	die "no messages flow for @late\n" if @late;
	return;
}

=pod

=item $ledger->settle

Let the writers rest, and wait until the workers run and every reader has what
is there.  Not for ever: verify() tells what is wrong then.

=cut

sub settle
{
	my ($self) = @_;
	my $node = $self->{node};

	$self->_end('TERM', @{ $self->{writers} });
	$node->poll_query_until('postgres', 'SELECT true')
	  or die "the server does not answer\n";
	$self->_wait(sub { !$self->_lies });
	$self->_wait(
		sub {
			my %last = map { split /\|/ } split /\n/,
			  $node->value('SELECT id, last_version FROM conversations');

			$self->_read_journals;
			return all
			{
				my $known = $_->{known};
				all { $known->{$_} >= $last{$_} } keys %$known;
			} @{ $self->{readers} };
		});
	return;
}

# Wait for a condition, but not for ever.
sub _wait
{
	my ($self, $condition) = @_;
	my $deadline = time + $PATIENCE;

	sleep 0.05 until $condition->() || time > $deadline;
	return;
}

=pod

=item $ledger->verify($name)

Five tests; to be called when things have settled.

=cut

sub verify
{
	my ($self, $name) = @_;
	my @rows = $self->_rows($self->{node}->connstr('postgres'),
		$self->_select_messages);

	$self->_read_journals;
	_none([ $self->_lost(@rows) ], "$name: nothing acknowledged is lost");
	_none([ $self->_doubled(@rows) ], "$name: nothing is stored twice");
	_none([ map { $self->_differs($_) } @{ $self->{readers} } ],
		"$name: every reader has what he may see");
	_none([ map { splice @{ $_->{problems} } } @{ $self->{readers} } ],
		"$name: every connection got it in order, and once");
	_none([ $self->_lies ], "$name: status() tells the truth");
	return;
}

=pod

=item $ledger->survives($name, $fault)

All of it: start, the fault, flow, settle, verify.

=cut

sub survives
{
	my ($self, $name, $fault) = @_;

	$self->start;
	$fault->();
	$self->flow;
	$self->settle;
	$self->verify($name);
	return;
}

=pod

=item $ledger->stop

End readers and writers, however they are.  Done at the end of the test, too.

=back

=cut

sub stop
{
	my ($self) = @_;

	$self->_end('KILL', @{ $self->{writers} }, @{ $self->{readers} });
	return;
}

END
{
	local $?;
	$_->stop foreach @ledgers;
}

# What verify() looks for

sub _none
{
	my ($problems, $name) = @_;
	my $more = @$problems - 5;

	splice @$problems, 5, $more, "and $more more" if $more > 0;
	is_deeply($problems, [], $name);
	return;
}

sub _select_messages
{
	return 'SELECT id, conversation_id, seq, version, content FROM messages';
}

# Acknowledged messages that are not there as they were acknowledged.  Beyond
# that, one may have been changed by a statement that was not acknowledged.
sub _lost
{
	my ($self, @rows) = @_;
	my %stored = map { $_->{id} => $_ } @rows;
	my @acknowledged = map { values %{ $_->{list} } } @{ $self->{writers} };

	return map { _show($_) } grep {
		my $row = $stored{ $_->{id} };

		!$row
		  || $row->{seq} != $_->{seq}
		  || $row->{version} < $_->{version}
		  || $row->{version} == $_->{version}
		  && $row->{content} ne $_->{content};
	} @acknowledged;
}

# Every message begins with a word of its own.
sub _doubled
{
	my ($self, @rows) = @_;
	my %times;

	$times{ (split / /, $_->{content})[0] }++
	  foreach grep { $_->{content} =~ /^writer/ } @rows;
	return grep { $times{$_} > 1 } sort keys %times;
}

# How a reader's list differs from what his profile may see.
sub _differs
{
	my ($self, $reader) = @_;
	my %visible = map { _show($_) => 1 } $self->_rows_of($reader->{profile},
		$self->_select_messages);
	my %list = map { _show($_) => 1 } values %{ $reader->{list} };

	return (map { "$reader->{name} lacks $_" }
		  grep { !$list{$_} } sort keys %visible),
	  map { "$reader->{name} has $_" } grep { !$visible{$_} } sort keys %list;
}

sub _show
{
	return join ' ', @{ $_[0] }{qw(conversation_id seq version id content)};
}

# What status() says that is not so, or not as it should be by now.
sub _lies
{
	my ($self) = @_;
	my $connected = @{ $self->{readers} };
	my @workers = $self->_rows($self->{node}->connstr('postgres'), q{
		SELECT worker, s.pid, s.state, connections,
			a.backend_type = 'openhr_msg ' || worker AS alive,
			worker <> 'streamer' OR EXISTS (
				SELECT FROM openhr_msg.slot_status
				WHERE active_pid = s.pid
					AND wal_status IN ('reserved', 'extended')) AS slot
		FROM openhr_msg.status() s LEFT JOIN pg_stat_activity a USING (pid)});
	my @lies;

	foreach my $worker (@workers)
	{
		my $name = "$worker->{worker} " . ($worker->{pid} // 'without pid');

		push @lies, "$name is $worker->{state}"
		  if $worker->{state} ne 'running';
		push @lies, "$name is no process" unless $worker->{alive};
		push @lies, "$name does not hold the slot" unless $worker->{slot};
		$connected -= $worker->{connections} // 0;
	}
	push @lies, "$connected connections are missing" if $connected > 0;
	return @lies;
}

# Rows of a query, as hashes.
sub _rows
{
	my ($self, $connstr, $query, $prelude) = @_;
	my ($stdout, $stderr);

	IPC::Run::run(
		[
			'psql', qw(-X -q -A -t -v ON_ERROR_STOP=1 -d), $connstr, '-c',
			($prelude // '') . "SELECT to_json(row) FROM ($query) AS row"
		],
		'>', \$stdout, '2>', \$stderr) or die $stderr;
	return map { $json->decode($_) } split /\n/, $stdout;
}

sub _rows_of
{
	my ($self, $profile, $query) = @_;

	return $self->_rows($self->{node}->connstr('postgres'),
		$query, _become($profile));
}

sub _become
{
	my ($profile) = @_;

	return qq{SET request.jwt.claims =
		'{"role": "authenticated", "sub": "$profile"}';
		SET ROLE authenticated;};
}

# Journals: one JSON object a line

sub _read_journals
{
	my ($self) = @_;

	$self->_read_journal($_) foreach @{ $self->{writers} },
	  @{ $self->{readers} };
	return;
}

sub _read_journal
{
	my ($self, $child) = @_;

	open my $in, '<', $child->{path} or return;
	seek $in, $child->{offset}, 0;
	while (my $line = <$in>)
	{
		last unless $line =~ /\n\z/;
		$child->{offset} += length $line;
		$self->_take($child, $json->decode($line));
	}
	close $in;
	return;
}

sub _take
{
	my ($self, $child, $entry) = @_;
	my $how = delete $entry->{how};

	if ($how eq 'acknowledged')
	{
		$child->{list}{ $entry->{id} } = $entry;
	}
	elsif ($how eq 'joined')
	{
		$child->{last} = {};
	}
	elsif ($how eq 'frame' || $how eq 'read')
	{
		my $known = \$child->{known}{ $entry->{conversation_id} };

		_check_order($child, $entry) if $how eq 'frame';
		if ($entry->{version} > ($$known // 0))
		{
			$$known = $entry->{version};
			$child->{list}{ $entry->{id} } = $entry;
		}
	}
	return;
}

sub _check_order
{
	my ($reader, $frame) = @_;
	my $last = \$reader->{last}{ $frame->{conversation_id} };

	push @{ $reader->{problems} },
	  "$reader->{name} got, after version $$last: " . _show($frame)
	  if defined $$last && $frame->{version} != $$last + 1;
	$$last = $frame->{version};
	$reader->{framed}{ $frame->{conversation_id} } = $$last;
	return;
}

# Processes

sub _fork
{
	my ($self, $code, $child) = @_;
	my $pid = fork // die "could not fork: $!";

	return $pid if $pid;

	# No clean-up of the test's is for this process.
	eval { $self->$code($child); 1 } or print STDERR "$child->{name}: $@";
	POSIX::_exit(0);
}

sub _note
{
	my ($child, $how, %entry) = @_;

	open my $out, '>>', $child->{path} or die "$child->{path}: $!";
	syswrite $out, $json->encode({ how => $how, %entry }) . "\n";
	close $out;
	return;
}

# End children by a signal, and those that do not obey.
sub _end
{
	my ($self, $signal, @children) = @_;
	my $deadline = time + $PATIENCE;

	kill $signal, grep { defined } map { $_->{pid} } @children;
	foreach my $child (grep { defined $_->{pid} } @children)
	{
		until (waitpid($child->{pid}, WNOHANG) != 0)
		{
			kill 'KILL', $child->{pid} if time > $deadline;
			sleep 0.01;
		}
		delete $child->{pid};
	}
	return;
}

# A writer's life, until SIGTERM: the statement under way is waited for.
sub _write
{
	my ($self, $writer) = @_;
	my $retries = $writer->{number} % 2 == 0;
	my $stopped = 0;
	my ($session, $message, $last, $count);

	local $SIG{TERM} = sub { $stopped = 1 };
	local $SIG{PIPE} = 'IGNORE';
	until ($stopped)
	{
		$session //= $self->_session($writer->{profile});
		$message //= $self->_compose($writer, ++$count, $last);
		my @row = _ask($session, $message->{sql});

		if (@row)
		{
			$last = {
				conversation_id => $message->{conversation_id},
				content => $message->{content},
				id => $row[0],
				seq => $row[1],
				version => $row[2]
			};
			_note($writer, 'acknowledged', %$last);
		}
		else
		{
			undef $session;
		}
		undef $message if @row || !$retries;
		sleep(@row ? $self->{pause} : 0.2);
	}
	return;
}

# What a writer says next: something new, or a change of what was last.
sub _compose
{
	my ($self, $writer, $count, $last) = @_;
	my $message = {
		content => "$writer->{name}.$self->{round}.$count",
		conversation_id => $count % 3 ? $self->{hall} : $self->{den}
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
sub _session
{
	my ($self, $profile) = @_;
	my ($in, $out);

	waitpid -1, WNOHANG;
	open2($out, $in, 'psql', qw(-X -q -A -t -v ON_ERROR_STOP=1 -d),
		$self->{node}->connstr('postgres'));
	$in->autoflush;
	print $in _become($profile), "\n";
	return [ $in, $out ];
}

# The row that a statement returns; an empty list when it fails.
sub _ask
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
sub _read
{
	my ($self, $reader) = @_;
	my $pause = 0.05;

	$WebSocket::PATIENCE = $self->{patience};
	for (;;)
	{
		my $ws = eval { $self->{node}->subscribe($reader->{profile}) };

		if ($ws && eval { $self->_catch_up($reader); 1 })
		{
			$pause = 0.05;
			$self->_follow($reader, $ws);
		}
		_note($reader, 'cut', why => $@ =~ s/ at .*//sr);
		sleep $pause;
		$pause = $pause < 1 ? $pause * 2 : 1;
	}
}

# Read what is later than what is known; the connection has been joined.
sub _catch_up
{
	my ($self, $reader) = @_;
	my $page = 100;

	_note($reader, 'joined');
	foreach my $conversation (sort keys %{ $reader->{known} })
	{
		my $known = \$reader->{known}{$conversation};
		my @rows;

		do
		{
			@rows = $self->_rows_of($reader->{profile}, "
				SELECT id, conversation_id, seq, version, content
				FROM openhr_msg.list_changes('$conversation', $$known, $page)");
			_note($reader, 'read', %$_) foreach @rows;
			$$known = $rows[-1]{version} if @rows;
		} while (@rows == $page);
	}
	return;
}

# Follow a connection until it is cut; leaves the reason in $@.
sub _follow
{
	my ($self, $reader, $ws) = @_;

	for (;;)
	{
		my $change = eval { $ws->next_event('postgres_changes') };

		if ($change)
		{
			my %row = %{ $change->{data}{record} // next };
			my $known = \$reader->{known}{ $row{conversation_id} };

			$$known = max($$known // 0, $row{version});
			_note($reader, 'frame', map { $_ => $row{$_} }
				  qw(id conversation_id seq version content));
			next;
		}
		return unless $@ =~ /in time/ && eval { $ws->heartbeat };
	}
}

1;
