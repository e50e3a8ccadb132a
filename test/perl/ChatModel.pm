
=pod

=head1 NAME

ChatModel - what transactions did to the chat, and who may know of it

=head1 SYNOPSIS

  my $model = ChatModel->new;
  $model->line($_) foreach @lines_of_the_output_plugin;
  my $event = $model->event($n);
  my $told = $event->{sees}{$profile};

=head1 DESCRIPTION

Reads the output plugin's text, out of a slot of its own, and keeps the rows and
the memberships as they were after each commit.  An event is a hash:

  n         its number
  lsn       of the commit
  room      the conversation
  table, type
  key       what a client's frame of it must be equal to
  message   id of the message, if it is one
  blanks    true when it leaves nothing of its message but a tombstone
  sees      the profiles that are told

=cut

package ChatModel;

use strict;
use warnings;

use Carp;

sub new
{
	my ($class) = @_;

	return bless {
		events => [],
		volleys => [],      # positions between which commits were sent at once
		pending => [],     # of the transaction that is being read
		members => {},     # room => profile => row
		rooms => {},       # room => row
		opener => {},      # room => profile
		messages => {},    # room => id => row
		order => [],       # rooms as they came up
		said => {},        # room => ids of messages as they came up
		lost => {},        # room => profile => numbers of first events
		blanked => {},     # message => numbers of events
	}, $class;
}

# '1/2A' as a number.
sub lsn
{
	my ($text) = @_;
	my ($high, $low) = map { hex } split m{/}, $text;

	return $high * 2**32 + $low;
}

# A value of a flat JSON object, as text; undef for null.
sub field
{
	my ($record, $name) = @_;

	return undef unless $record =~ /"\Q$name\E":(?:"((?:[^"\\]|\\.)*)"|([^,}]+))/;
	return defined $1 ? $1 : $2 eq 'null' ? undef : $2;
}

sub events { return scalar @{ $_[0]{events} } }
sub event  { return $_[0]{events}[ $_[1] ] }

# The number of the first event that was committed behind a position.
sub first_after
{
	my ($self, $lsn) = @_;

	return search($self->events, sub { $self->event($_[0])->{lsn} > $lsn });
}

# The first of n numbers from 0 from which on a condition holds.
sub search
{
	my ($n, $holds) = @_;
	my ($low, $high) = (0, $n);

	while ($low < $high)
	{
		my $middle = int(($low + $high) / 2);

		if   ($holds->($middle)) { $high = $middle }
		else                     { $low = $middle + 1 }
	}
	return $low;
}

# Were two events committed at once, so that either may have been visible first?
sub at_once
{
	my ($self, $one, $other) = @_;

	foreach my $volley (@{ $self->{volleys} })
	{
		my ($from, $until) = @$volley;

		return 1
		  if $from < $one->{lsn} && $one->{lsn} <= $until
		  && $from < $other->{lsn} && $other->{lsn} <= $until;
	}
	return 0;
}

# Take a line of the plugin's.  A transaction counts when the next one begins,
# or when told by settle().
sub line
{
	my ($self, $line) = @_;
	my ($table, $type, $lsn, $rows) = $line =~ m{
		\A \{"table":"(\w+)","schema":"\w+","type":"(\w+)",
		"commit_lsn":"([^"]+)",.*?"ordinal":\d+,(.*)\} \Z}x
	  or croak "not an event: $line";
	my $record = $rows =~ /\A"record":(\{.*?\})(?:,"old_record":|\z)/ ? $1 : undef;
	my $old = $rows =~ /"old_record":(\{.*\})\z/ ? $1 : undef;
	my $row = $record // $old;
	my $event = {
		lsn => lsn($lsn),
		table => $table,
		type => $type,
		key => "$table $type $rows",
		row => $row,
		room => field($row, $table eq 'conversations' ? 'id' : 'conversation_id'), };

	if ($table eq 'messages')
	{
		$event->{message} = field($row, 'id');
		$event->{blanks} = $type eq 'DELETE'
		  || field($row, 'is_deleted') eq 'true';
	}
	$self->settle
	  if @{ $self->{pending} } && $self->{pending}[0]{lsn} != $event->{lsn};
	push @{ $self->{pending} }, $event;
	return $event;
}

# The transaction that was read is complete.
sub settle
{
	my ($self) = @_;
	my $pending = $self->{pending};
	my $first = $self->events;
	my %before;

	$self->{pending} = [];
	foreach my $event (@$pending)
	{
		if ($event->{table} eq 'conversation_participants')
		{
			my $profile = field($event->{row}, 'profile_id');

			$before{ $event->{room} }{$profile} //=
			  exists $self->{members}{ $event->{room} }{$profile} ? 1 : 0;
			$event->{profile} = $profile;
		}
		$self->_apply($event);
	}
	$self->_note_losses($first, \%before);
	$self->_publish($_, \%before) foreach @$pending;
	return;
}

# The columns of a row by which it is told from what it was before.
my %telling = (
	conversations => [qw(last_seq last_version is_archived)],
	conversation_participants => [qw(role is_muted last_read_seq)],
	messages => [qw(version is_deleted is_edited sender_profile_id)]);

sub _apply
{
	my ($self, $event) = @_;
	my ($room, $table) = ($event->{room}, $event->{table});
	my ($rows, $id) =
		$table eq 'conversations' ? ($self->{rooms}, $room)
	  : $table eq 'messages'      ? ($self->{messages}{$room} //= {}, $event->{message})
	  :                             ($self->{members}{$room} //= {}, $event->{profile});

	if ($event->{type} eq 'DELETE')
	{
		delete $rows->{$id};
		return if $table ne 'conversations';
		delete $self->{said}{$room};
		@{ $self->{order} } = grep { $_ ne $room } @{ $self->{order} };
		return;
	}
	push @{ $self->{order} }, $room
	  if $table eq 'conversations' && !exists $rows->{$id};
	push @{ $self->{said}{$room} }, $id
	  if $table eq 'messages' && $event->{type} eq 'INSERT';
	$rows->{$id} = join ' ', map { field($event->{row}, $_) // '' } @{ $telling{$table} };
	$self->{opener}{$room} = field($event->{row}, 'created_by') // ''
	  if $table eq 'conversations';
	return;
}

# Who was in a room before the transaction and is not any more.
sub _note_losses
{
	my ($self, $first, $before) = @_;

	foreach my $room (keys %$before)
	{
		foreach my $profile (keys %{ $before->{$room} })
		{
			push @{ $self->{lost}{$room}{$profile} }, $first
			  if $before->{$room}{$profile}
			  && !exists $self->{members}{$room}{$profile};
		}
	}
	return;
}

# An event is told to those who are members after its transaction; that a
# participant or the conversation is gone, also to those who lost sight by it.
sub _publish
{
	my ($self, $event, $before) = @_;
	my $room = $event->{room};
	my %sees = map { $_ => 1 } keys %{ $self->{members}{$room} // {} };

	if ($event->{type} eq 'DELETE' && $event->{table} ne 'messages')
	{
		$sees{$_} = 1
		  foreach grep { $before->{$room}{$_} } keys %{ $before->{$room} // {} };
	}
	$event->{sees} = \%sees;
	$event->{n} = $self->events;
	push @{ $self->{blanked}{ $event->{message} } }, $event->{n}
	  if $event->{blanks};
	push @{ $self->{events} }, $event;
	return;
}

# The first number above n in a list of ascending ones.
sub next_of
{
	my ($numbers, $n) = @_;

	return undef unless $numbers;
	return $numbers->[ search(scalar @$numbers, sub { $numbers->[ $_[0] ] > $n }) ];
}

# By which event number does a profile lose sight of the room after event n?
sub lost_after
{
	my ($self, $event, $profile) = @_;

	return next_of($self->{lost}{ $event->{room} }{$profile}, $event->{n});
}

# By which is the message of event n made a tombstone after it?
sub blanked_after
{
	my ($self, $event) = @_;

	return undef unless $event->{message};
	return next_of($self->{blanked}{ $event->{message} }, $event->{n});
}

# The rows that a profile should see, in a few words each, sorted.
sub visible
{
	my ($self, $profile) = @_;
	my @rows;

	foreach my $room (@{ $self->{order} })
	{
		my $members = $self->{members}{$room} // {};
		my $messages = $self->{messages}{$room} // {};
		my $is_member = exists $members->{$profile};

		# An opened conversation is its opener's while nobody is in it.
		push @rows, "c $room $self->{rooms}{$room}"
		  if $is_member || (!%$members && $self->{opener}{$room} eq $profile);
		next unless $is_member;
		push @rows, map { "p $room $_ $members->{$_}" } keys %$members;
		push @rows, map { "m $_ $messages->{$_}" } keys %$messages;
	}
	return sort @rows;
}

# The query that asks the database for the same.
sub visible_query
{
	return <<'SQL';
SELECT concat_ws(' ', 'c', id, last_seq, last_version, is_archived::text)
FROM conversations
UNION ALL
SELECT concat_ws(' ', 'p', conversation_id, profile_id, role, is_muted::text, last_read_seq)
FROM conversation_participants
UNION ALL
SELECT concat_ws(' ', 'm', id, version, is_deleted::text, is_edited::text, coalesce(sender_profile_id::text, ''))
FROM messages
SQL
}

1;
