=pod

=head1 NAME

SoakClient - a reader of a Soak

=head1 DESCRIPTION

A process that follows its messages over a WebSocket and comes back whenever it
has lost it.  Frames are taken one after the other: what a message says is in
the journal before a ping that came behind it is answered.  So nothing may have
a receipt that the journal does not have, however and whenever the process ends.

Signals tell it what happens to its connection, see Soak.

=cut

package SoakClient;

use strict;
use warnings;

use JSON::PP;
use LedgerClient;
use Time::HiRes qw(sleep);
use WebSocket;

my $json = JSON::PP->new->utf8;

# The kernel's buffer of a reader, so that one who pauses is soon behind.
my $BUFFER = 16384;

# Connections that nobody reads any more, and nobody has closed.
my $MOST_LOST = 3;
my @lost;

my $order;

# A reader's life, until he is killed.
sub run
{
	my ($ledger, $me) = @_;
	my $pause = 0.05;

	$WebSocket::PATIENCE = $ledger->{patience};
	local $SIG{HUP} = sub { $order = 'close' };
	local $SIG{USR1} = sub { $order = 'reset' };
	local $SIG{USR2} = sub { $order = 'vanish' };
	for (;;)
	{
		my $ws = eval { come($ledger, $me) };
		my $stayed = $ws && eval { $me->{deaf} ? endure() : stay($ledger, $me, $ws) };

		LedgerClient::note($me, 'cut',
			why => $@ =~ s/ at .*//sr || $order || 'the other side');
		go($ws) if $ws;
		sleep $pause;
		$pause = $stayed ? 0.05 : $pause < 1 ? $pause * 2 : 1;
	}
}

# Connect, and ask for messages.
sub come
{
	my ($ledger, $me) = @_;
	my $ws = $ledger->{node}->connect(
		$me->{profile},
		receive_buffer => $BUFFER,
		client_id => $me->{client_id});
	my %wanted = (event => '*', schema => 'public', table => 'messages');

	$wanted{filter} = "conversation_id=eq.$me->{only}" if $me->{only};
	$ws->push_event('realtime:all', 'phx_join',
		{ config => { postgres_changes => [ \%wanted ] } }, '1');
	return $ws;
}

# Never read.  Sooner or later the gateway has enough of it.
sub endure
{
	sleep 20;
	return 1;
}

# Take what comes until the connection ends; true when it was good for
# something.
sub stay
{
	my ($ledger, $me, $ws) = @_;
	my $joined = 0;

	undef $order;
	for (;;)
	{
		my ($opcode, $payload) = eval { $ws->read_frame };

		if (!defined $opcode)
		{
			# A signal, or silence, or the end.
			last if $order || $@ !~ /in time/ || !is_alive($ws);
		}
		elsif ($opcode == 8)
		{
			last;
		}
		elsif ($opcode == 9)
		{
			$ws->send_frame(10, $payload);
		}
		elsif ($opcode == 1)
		{
			$ws->{asked} = 0;
			$joined = 1 if take($ledger, $me, $json->decode($payload));
		}
		last if $order;
	}
	return $joined;
}

# Silence: ask, once.  Whatever comes is an answer.
sub is_alive
{
	my ($ws) = @_;

	return 0 if $ws->{asked};
	$ws->push_event('phoenix', 'heartbeat', {});
	return $ws->{asked} = 1;
}

# True: the channel has been joined.
sub take
{
	my ($ledger, $me, $message) = @_;
	my (undef, $ref, undef, $event, $payload) = @$message;

	if ($event eq 'phx_reply' && ($ref // '') eq '1')
	{
		die "join failed\n" if $payload->{status} ne 'ok';
		begin($ledger, $me);
		return 1;
	}
	if ($event eq 'postgres_changes' && $payload->{data}{record})
	{
		my $row = $payload->{data}{record};

		LedgerClient::note($me, 'frame', map { $_ => $row->{$_} }
			  qw(id conversation_id seq version content));
		$me->{known}{ $row->{conversation_id} } = $row->{version}
		  if $row->{version} > ($me->{known}{ $row->{conversation_id} } // 0);
	}
	return 0;
}

# Who has told the gateway who he is gets what he missed from it, but for the
# first time.
sub begin
{
	my ($ledger, $me) = @_;

	if (defined $me->{client_id} && $me->{came_before}++)
	{
		LedgerClient::note($me, 'joined');
	}
	else
	{
		LedgerClient::catch_up($ledger, $me);
	}
	return;
}

sub go
{
	my ($ws) = @_;

	if (($order // '') eq 'vanish')
	{
		push @lost, $ws;
		(shift @lost)->close if @lost > $MOST_LOST;
	}
	elsif (($order // '') eq 'close')
	{
		$ws->send_frame(8, pack 'n', 1000);
		$ws->close;
	}
	else
	{
		$ws->reset;
	}
	undef $order;
	return;
}

1;
