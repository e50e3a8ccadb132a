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

use JSON::PP;
use LedgerClient;
use List::Util qw(all sum);
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# How long to wait for what may be wrong; verify() then tells what is.
our $PATIENCE = 90;

my $messages =
  'SELECT id, conversation_id, seq, version, content FROM messages';
my $json = JSON::PP->new->canonical->utf8;
my @ledgers;

=pod

=head1 METHODS

=over

=item Ledger->new($node, %args)

The node must serve already.  Arguments: C<writers> (2), C<readers> (3),
C<pause>, what a writer rests between two statements (0.05 seconds),
C<patience>, after how many seconds of silence a reader thinks that his
connection is dead (12), and C<gaps>, whether what a reader gets may come out
of the tables, where a row that was changed twice is there once.

=cut

sub new
{
	my ($class, $node, %args) = @_;
	my $self = bless {
		node => $node,
		pause => $args{pause} // 0.05,
		patience => $args{patience} // 12,
		gaps => $args{gaps},
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
		life => $kind eq 'writer' ? \&LedgerClient::run_writer
		: \&LedgerClient::run_reader,
		offset => 0,
		gaps => $self->{gaps},
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
	$_->{pid} //= $self->_fork($_->{life}, $_)
	  foreach @{ $self->{readers} }, @{ $self->{writers} };
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
	my @rows = LedgerClient::rows($self->{node}, $messages);

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

=item $ledger->joins

How many times the readers have connected so far, together.

=cut

sub joins
{
	my ($self) = @_;

	$self->_read_journals;
	return sum(map { $_->{joins} // 0 } @{ $self->{readers} });
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
	my %visible = map { _show($_) => 1 } LedgerClient::rows($self->{node},
		$messages, $reader->{profile});
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
	my @workers = LedgerClient::rows($self->{node}, q{
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
		$child->{joins}++;
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
	  if defined $$last
	  && ($reader->{gaps}
		? $frame->{version} <= $$last
		: $frame->{version} != $$last + 1);
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
	eval { $code->($self, $child); 1 } or print STDERR "$child->{name}: $@";
	POSIX::_exit(0);
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

1;
