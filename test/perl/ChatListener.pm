
=pod

=head1 NAME

ChatListener - a WebSocket that must be told exactly what its users may see

=head1 SYNOPSIS

  my $listener = ChatListener->new(port => $port, token => $token);
  $listener->ask($topic, $profile, \@items, $from);
  $listener->take(sub { $model_position });
  @complaints = $listener->settle($model);

=head1 DESCRIPTION

A channel of a socket is a row of subscriptions, one after the other: a join, a
second join of the topic, a token of somebody else each begin a new one.  What
each is told is kept, and settle() compares it with what the model says.

The rules of what must come:

- What a subscription asked for and its profile sees, in the order of the commits,
  each once, nothing else.
- From one place on, which lies between where the gateway was when it was asked
  and what was committed when its answer had come.  (Of commits at once some may
  be visible before others that come before them in the WAL, so the place need
  not be one among these.)
- Up to one place, when the subscription has ended.
- What waited in a gateway when the profile lost sight of the conversation, or
  when the message was made a tombstone, may be missing; then what was behind it
  of the same conversation, or message, is missing, too.

=cut

package ChatListener;

use strict;
use warnings;

use Carp;
use JSON::PP;
use List::Util qw(any);

use WebSocket;
our @ISA = qw(WebSocket);

# What the kernel takes for a slow one.
my $SLOW_BUFFER = 8192;

my $json = JSON::PP->new->canonical->utf8->allow_nonref;

# A connection whose kernel takes little for it, when it is slow.
sub new
{
	my ($class, %args) = @_;
	my $self =
	  $class->SUPER::new(%args, $args{slow} ? (receive_buffer => $SLOW_BUFFER) : ());

	$self->{slow} = $args{slow};
	$self->{socket}->blocking(0);
	$self->{topics} = {};    # topic => the subscription that is told now
	$self->{asked} = {};     # topic => those that wait for their answers
	$self->{past} = [];      # ended, not yet judged
	$self->{complaints} = [];
	return $self;
}

# Is it to be read now?  A slow one is, before the gateway takes it for dead.
sub is_due
{
	my ($self) = @_;

	return !$self->{ended}
	  && (!$self->{slow} || time > ($self->{taken} // 0) + 3);
}

# Asking

# Subscribe to items (table, event, room) for a profile; from is the position
# behind which the gateway may have been.
sub ask
{
	my ($self, $topic, $who, $items, $from) = @_;
	my @wanted = map { _wanted($_) } @$items;
	my $ref = $self->{ref} + 1;

	push @{ $self->{asked}{$topic} },
	  { ref => $ref, who => $who, items => $items, from => $from, topic => $topic };
	$self->push_event(
		"realtime:$topic",
		'phx_join',
		{   config => { postgres_changes => \@wanted },
			defined $who->{token} ? (access_token => $who->{token}) : () },
		"$ref");
	return;
}

sub _wanted
{
	my ($item) = @_;
	my %wanted = (
		schema => 'public',
		table => $item->{table} // '*',
		event => $item->{type} // '*');

	$wanted{filter} =
	  ($item->{table} eq 'conversations' ? 'id' : 'conversation_id')
	  . "=eq.$item->{room}"
	  if $item->{room};
	return \%wanted;
}

sub leave
{
	my ($self, $topic) = @_;

	$self->{leaving}{$topic} = $self->push_event("realtime:$topic", 'phx_leave', {});
	return;
}

# Show another token of the same person, or of another one, who is subscribed
# anew then.
sub show_token
{
	my ($self, $topic, $who, $from) = @_;
	my $now = $self->{topics}{$topic};

	push @{ $self->{asked}{$topic} },
	  { who => $who,
		items => $now->{items},
		from => $from,
		topic => $topic,
		ids => $now->{ids} };
	$self->push_event("realtime:$topic", 'access_token',
		{ access_token => $who->{token} });
	return;
}

# Topics whose state is not in question.
sub settled_topics
{
	my ($self) = @_;

	return grep { !@{ $self->{asked}{$_} // [] } && !$self->{leaving}{$_} }
	  sort keys %{ $self->{topics} };
}

sub is_waiting
{
	my ($self) = @_;

	return %{ $self->{leaving} // {} }
	  || any { @$_ } values %{ $self->{asked} };
}

# Go without a word.
sub hang_up
{
	my ($self) = @_;

	$self->{ended} = 1;
	$self->_end_all;
	$self->close;
	return;
}

# Has the marker's title come?
sub has_heard
{
	my ($self, $title) = @_;
	my $marker = $self->{topics}{marker} or return 0;
	my $told = $marker->{told};

	return @$told && $told->[-1][0] =~ /"title":"\Q$title\E"/;
}

# In words, for who looks for a fault.
sub state
{
	my ($self) = @_;

	return join ', ', $self->{slow} ? 'slow' : 'fast',
	  length($self->{input}) . ' bytes unread',
	  (map { "leaves $_" } sort keys %{ $self->{leaving} // {} }),
	  (map { "asked for $_" }
		grep { @{ $self->{asked}{$_} } } sort keys %{ $self->{asked} }),
	  map { "$_ was told " . @{ $self->{topics}{$_}{told} } }
	  sort keys %{ $self->{topics} };
}

# Hearing

# Take what has come; position tells where the commits are now.  False when the
# connection has ended.
sub take
{
	my ($self, $position) = @_;

	return 0 if $self->{ended};
	$self->{taken} = time;
	for (;;)
	{
		my $read = sysread $self->{socket}, $self->{input}, 262144, length $self->{input};

		last if !defined $read && $!{EAGAIN};
		if (!$read)
		{
			$self->{ended} = 1;
			last;
		}
	}
	$self->_split_frames($position);
	$self->_end_all if $self->{ended};
	return !$self->{ended};
}

sub _split_frames
{
	my ($self, $position) = @_;
	my ($input, $at) = (\$self->{input}, 0);

	while (length($$input) - $at >= 2)
	{
		my ($opcode, $len) = unpack "x$at CC", $$input;
		my $head = $len < 126 ? 2 : $len == 126 ? 4 : 10;

		last if length($$input) - $at < $head;
		$len = unpack 'x' . ($at + 2) . 'n', $$input if $len == 126;
		$len = unpack 'x' . ($at + 2) . 'Q>', $$input if $len == 127;
		last if length($$input) - $at < $head + $len;
		$self->_hear($opcode & 0xf, substr($$input, $at + $head, $len), $position);
		$at += $head + $len;
	}
	substr $$input, 0, $at, '';
	return;
}

sub _hear
{
	my ($self, $opcode, $payload, $position) = @_;

	if ($opcode == 8)
	{
		$self->{code} = unpack 'n', $payload;
		$self->{ended} = 1;
	}
	return if $opcode != 1;
	if ($payload =~ m{
		\A\[null,null,"realtime:([^"]+)","postgres_changes",\{"ids":\[([\d,]+)\],
		"data":\{"schema":"\w+","table":"(\w+)","type":"(\w+)",
		"commit_timestamp":"[^"]+","columns":\[.*?\],("(?:old_)?record":.*),
		"errors":null\}\}\]\z}x)
	{
		my $now = $self->{topics}{$1};

		return $self->_complain("told of $3 on $1, which is not joined: $5")
		  unless $now;
		push @{ $now->{told} }, [ "$3 $4 $5", join ',', sort split /,/, $2 ];
		return;
	}
	$self->_hear_answer(@{ $json->decode($payload) }, $position);
	return;
}

sub _hear_answer
{
	my ($self, $join_ref, $ref, $topic, $event, $payload, $position) = @_;
	my ($name) = $topic =~ /\Arealtime:(.*)/ or return;
	my $asked = $self->{asked}{$name} // [];

	if ($event eq 'phx_reply' && ($self->{leaving}{$name} // '') eq $ref)
	{
		delete $self->{leaving}{$name};
		$self->_end($name);
	}
	elsif ($event eq 'phx_reply' && @$asked && ($asked->[0]{ref} // '') eq $ref)
	{
		return $self->_complain("join of $name: " . $json->encode($payload))
		  if $payload->{status} ne 'ok';
		my $next = shift @$asked;

		$next->{ids} = [ map { $_->{id} } @{ $payload->{response}{postgres_changes} } ];
		$self->_end($name);
		$self->_begin($next, $position->());
	}
	elsif ($event eq 'system' && $payload->{status} ne 'ok')
	{
		$self->_complain("$name: $payload->{message}");
	}
	elsif ($event eq 'system' && @$asked && !$asked->[0]{ref})
	{
		my $next = shift @$asked;
		my $now = $self->{topics}{$name};

		# The same person's new token changes nothing.
		return if $now->{who}{profile} eq $next->{who}{profile};
		$self->_end($name);
		$self->_begin($next, $position->());
	}
	return;
}

sub _complain
{
	my ($self, $what, $room) = @_;

	push @{ $self->{complaints} }, { text => $what, room => $room };
	return;
}

sub _begin
{
	my ($self, $next, $until) = @_;

	$next->{until} = $until;
	$next->{told} = [];
	$self->{topics}{ $next->{topic} } = $next;
	return;
}

sub _end
{
	my ($self, $topic) = @_;
	my $now = delete $self->{topics}{$topic} or return;

	$now->{ended} = 1;
	push @{ $self->{past} }, $now;
	return;
}

sub _end_all
{
	my ($self) = @_;

	$self->_end($_) foreach keys %{ $self->{topics} };
	return;
}

# Judging

# Everything up to the model's end has arrived: is it what should have?
# Returns complaints, each with a text and perhaps a room.
sub settle
{
	my ($self, $model) = @_;

	foreach my $now (@{ $self->{past} },
		map { $self->{topics}{$_} } sort keys %{ $self->{topics} })
	{
		$self->_judge($model, $now);
		$now->{told} = [];
		$now->{next} = $model->events;
		delete $now->{until};
	}
	$self->{past} = [];
	return splice @{ $self->{complaints} };
}

# The ids of the items that an event answers, as frames list them; '' if none.
sub _ids
{
	my ($now, $event) = @_;
	my @ids;

	return '' unless $now->{who}{is_service} || $event->{sees}{ $now->{who}{profile} };
	foreach my $i (0 .. $#{ $now->{items} })
	{
		my $item = $now->{items}[$i];

		push @ids, $now->{ids}[$i]
		  if (!$item->{table} || $item->{table} eq $event->{table})
		  && (!$item->{type} || $item->{type} eq $event->{type})
		  && (!$item->{room} || $item->{room} eq $event->{room});
	}
	return join ',', sort @ids;
}

sub _judge
{
	my ($self, $model, $now) = @_;
	my @told = @{ $now->{told} };
	my ($begun, @missing, $last) = (0);
	my %came;    # of each room, of each message

	$now->{next} //= $model->first_after($now->{from});
	foreach my $n ($now->{next} .. $model->events - 1)
	{
		my $event = $model->event($n);
		my $ids = _ids($now, $event);

		next if $ids eq '';
		if (@told && $told[0][0] eq $event->{key} && $told[0][1] eq $ids)
		{
			shift @told;
			$begun = 1;
			$last = $n;
			push @{ $came{$_} }, $n foreach grep { defined } @$event{qw(room message)};
		}
		elsif ($now->{until} && $event->{lsn} <= $now->{until}
			&& (!$begun || $model->at_once($event, $model->event($last))))
		{
			next;    # before it began
		}
		else
		{
			push @missing, $event;
		}
	}
	return $self->_complain(
		"$now->{topic}, $now->{who}{name}: out of order, twice, or not to be seen: $told[0][0]",
		ChatModel::field($told[0][0], 'conversation_id')
		  // ChatModel::field($told[0][0], 'id')) if @told;
	@missing = grep { $_->{n} < ($last // -1) } @missing if $now->{ended};
	$self->_excuse($model, $now, \@missing, \%came);
	return;
}

# What is missing must have been taken back, with all that was behind it.
sub _excuse
{
	my ($self, $model, $now, $missing, $came) = @_;

	$self->{taken_back} += @$missing;
	foreach my $event (@$missing)
	{
		my $lost =
		  $now->{who}{is_service}
		  ? undef
		  : $model->lost_after($event, $now->{who}{profile});
		my $blanked = $model->blanked_after($event);

		next
		  if _none_before($came->{ $event->{room} }, $event, $lost)
		  || ($event->{message}
			&& _none_before($came->{ $event->{message} }, $event, $blanked));
		$self->_complain(
			"$now->{topic}, $now->{who}{name}: missing $event->{n}: $event->{key}",
			$event->{room});
	}
	return;
}

# Did none of these come behind an event and before an end?
sub _none_before
{
	my ($came, $event, $end) = @_;

	return 0 unless defined $end;
	return (ChatModel::next_of($came, $event->{n}) // $end) >= $end;
}

1;
