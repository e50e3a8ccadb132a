=pod

=head1 NAME

Soak - a Ledger whose readers have a bad network

=head1 SYNOPSIS

  my $soak = Soak->new($node, readers => 8);

  $soak->start;
  $soak->disturb($soak->readers->[3], 'vanish');
  $soak->settle;
  $soak->verify('a while');
  $soak->verify_receipts('a while');

=head1 DESCRIPTION

The readers answer pings, as browsers do, so that receipts are written; see
SoakClient for how they live.  There are two ways to catch up: most readers
read what they missed by SQL, by version; the last C<resuming> ones tell the
gateway their C<client_id>, and have nothing but what comes as frames.

Three more are not asked what they have, but are members, too:

=over

=item deaf

asks for everything and never reads a byte,

=item aside

asks for the den only, and answers pings: nothing of the hall has arrived there,

=item friend

is alone with the first writer, who is told when a message has arrived.

=back

=cut

package Soak;

use strict;
use warnings;

use Ledger;
use LedgerClient;
use SoakClient;
use Test::More;

our @ISA = qw(Ledger);

# What can happen to a reader, and the signal that makes it so.
my %SIGNALS = (
	close => 'HUP',		# he says goodbye
	reset => 'USR1',	# his machine does, for him
	vanish => 'USR2',	# nobody does: the connection stays, half open
	pause => 'STOP',	# he does not read, for some time
	kill => 'KILL');	# he begins anew, with what is in his journal

sub new
{
	my ($class, $node, %args) = @_;
	my $self = $class->SUPER::new($node, patience => 6, %args);
	my @readers = @{ $self->{readers} };

	foreach my $reader (@readers)
	{
		$reader->{life} = \&SoakClient::run;
		$reader->{client_id} = "client-$reader->{number}"
		  if $reader->{number} >= @readers - ($args{resuming} // 0);
		$reader->{gaps} = defined $reader->{client_id};
	}
	$self->{bystanders} =
	  [ map { $self->_bystander($_) } qw(deaf aside friend) ];
	$self->{aside}{only} = $self->{den};
	$self->{pair} = $node->conversation(
		map { $_->{profile} } $self->{writers}[0], $self->{friend});
	$node->value("UPDATE conversations SET type = 'one_to_one'
		WHERE id = '$self->{pair}'");
	return $self;
}

sub _bystander
{
	my ($self, $name) = @_;
	my $child = $self->_child($name, 0);

	$child->{life} = \&SoakClient::run;
	$child->{$name} = 1;
	$self->{$name} = $child;
	if ($name ne 'friend')
	{
		$self->{node}->value("INSERT INTO conversation_participants
			(conversation_id, profile_id) VALUES
			('$self->{hall}', '$child->{profile}'),
			('$self->{den}', '$child->{profile}')");
	}
	return $child;
}

sub readers { return $_[0]{readers} }

# How many connections ended for what reason.
sub cuts
{
	my ($self) = @_;

	return join ', ', map { "$self->{cuts}{$_} $_" } sort keys %{ $self->{cuts} };
}

sub start
{
	my ($self) = @_;

	$self->_revive($_) foreach @{ $self->{bystanders} };
	return $self->SUPER::start;
}

# Do something to a reader, or to the friend.
sub disturb
{
	my ($self, $child, $how) = @_;
	my $signal = $SIGNALS{$how} or die "no such trouble: $how\n";

	if ($how eq 'kill')
	{
		$self->_end($signal, $child);
		$self->_revive($child);
	}
	else
	{
		kill $signal, $child->{pid};
	}
	$child->{paused} = 1 if $how eq 'pause';
	return;
}

# From where its journal ends.
sub _revive
{
	my ($self, $child) = @_;

	$self->_read_journals;
	delete $child->{paused};
	$child->{came_before} = 1 if $child->{joins};
	$child->{pid} //= $self->_fork($child->{life}, $child);
	return;
}

sub wake
{
	my ($self, $child) = @_;

	kill 'CONT', $child->{pid} if delete $child->{paused};
	return;
}

# The first writer to the friend.  While the server is down nobody hears it.
sub tell_friend
{
	my ($self, $text) = @_;

	return eval {
		$self->{node}->say($self->{pair}, $self->{writers}[0]{profile}, $text);
		1;
	};
}

sub settle
{
	my ($self) = @_;

	$self->wake($_) foreach @{ $self->{readers} }, $self->{friend};
	return $self->SUPER::settle;
}

sub _read_journals
{
	my ($self) = @_;

	$self->SUPER::_read_journals;
	$self->_read_journal($_) foreach @{ $self->{bystanders} // [] };
	return;
}

# A frame that brought a message, by its place; and why connections ended.
sub _take
{
	my ($self, $child, $entry) = @_;

	$child->{seen}{ $entry->{conversation_id} }{ $entry->{seq} } = 1
	  if $entry->{how} eq 'frame';
	$self->{cuts}{ $entry->{why} =~ s/\s*\n.*//sr }++ if $entry->{how} eq 'cut';
	return $self->SUPER::_take($child, $entry);
}

sub stop
{
	my ($self) = @_;

	$self->SUPER::stop;
	$self->_end('KILL', @{ $self->{bystanders} });
	return;
}

=pod

=head1 METHODS

Beside those of a Ledger:

=over

=item $soak->false_receipts

What the tables say has arrived, and has not.  May be asked at any time: what
arrived stands in the journals before the gateway can know.

=cut

sub false_receipts
{
	my ($self) = @_;
	my @told = LedgerClient::rows($self->{node},
		'SELECT profile_id, conversation_id, last_delivered_seq AS seq
			FROM conversation_participants WHERE last_delivered_seq > 0');
	my @ticks = LedgerClient::rows($self->{node},
		"SELECT '$self->{friend}{profile}' AS profile_id, conversation_id, seq
			FROM messages WHERE delivered_at IS NOT NULL");
	my %children = map { $_->{profile} => $_ } @{ $self->{readers} },
	  @{ $self->{bystanders} };

	$self->_read_journals;
	return map {
		my $child = $children{ $_->{profile_id} };

		$child && !$child->{seen}{ $_->{conversation_id} }{ $_->{seq} }
		  ? "$child->{name} has not got $_->{conversation_id} $_->{seq}"
		  : ();
	} @told, @ticks;
}

=pod

=item $soak->verify_receipts($name)

Three tests, to be called when things have settled: no receipt is false, there
are some of either kind, and one more message, in the hall, gets those of all
who hear it.

=back

=cut

sub verify_receipts
{
	my ($self, $name) = @_;
	my $node = $self->{node};
	my ($wanted, @late);

	Ledger::_none([ $self->false_receipts ], "$name: no receipt is false");
	is( $node->value(
			"SELECT (SELECT count(delivered_at) > 0 FROM messages
					WHERE conversation_id = '$self->{pair}'),
				last_delivered_seq > 0 FROM conversation_participants
			WHERE conversation_id = '$self->{den}'
				AND profile_id = '$self->{aside}{profile}'"),
		't|t',
		"$name: and there are some");
	$node->say($self->{hall}, $self->{writers}[0]{profile}, "$name is over");
	$wanted =
	  $node->value("SELECT last_seq FROM conversations WHERE id = '$self->{hall}'");
	$self->_wait(
		sub {
			my %marker = map { split /\|/ } split /\n/, $node->value(
				"SELECT profile_id, last_delivered_seq
					FROM conversation_participants
					WHERE conversation_id = '$self->{hall}'");

			@late =
			  grep { $marker{ $_->{profile} } != $wanted } @{ $self->{readers} };
			return !@late;
		});
	Ledger::_none([ map { $_->{name} } @late ],
		"$name: what arrives has its receipt");
	return;
}

1;
