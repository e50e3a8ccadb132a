=pod

=head1 NAME

WebSocket - a client that may break every rule

=head1 SYNOPSIS

  my $ws = WebSocket->new(port => $port, token => $token);
  $ws->join('room:1', { postgres_changes => [ ... ] });
  my $frame = $ws->next_event('postgres_changes');

=head1 DESCRIPTION

For tests of the gateway: a WebSocket (RFC 6455) over a plain socket, on top of
it Supabase's Realtime protocol, version 2.0.0, and below it bytes.  Nothing
waits longer than the patience of the test; what does not come in time dies.

=cut

package WebSocket;

use strict;
use warnings;

use Carp;
use Digest::SHA qw(hmac_sha256 sha1);
use Compress::Raw::Zlib;
use Encode qw(decode encode_utf8);
use IO::Select;
use IO::Socket::IP;
use JSON::PP;
use MIME::Base64 qw(encode_base64 encode_base64url);
use Socket qw(MSG_NOSIGNAL SHUT_WR SOL_SOCKET SO_LINGER SO_RCVBUF);
use Time::HiRes qw(time);

our $PATIENCE = 60;

my $json = JSON::PP->new->canonical->utf8->allow_nonref;

# A token of HS256; claims besides role, iat and exp as given.
sub token
{
	my ($secret, %claims) = @_;
	my %all = (
		role => 'authenticated',
		iat => int(time),
		exp => int(time) + 3600,
		%claims);
	my $text = join '.',
	  map { encode_base64url($json->encode($_)) }
	  ({ alg => 'HS256', typ => 'JWT' }, \%all);

	return "$text." . encode_base64url(hmac_sha256($text, $secret));
}

# A TCP connection, without a handshake of WebSocket's; with tls => CA, by TLS.
sub dial
{
	my ($class, %args) = @_;
	my $socket = IO::Socket::IP->new(
		PeerHost => $args{host} // '127.0.0.1',
		PeerPort => $args{port},
		Proto => 'tcp',
		Sockopts => defined $args{receive_buffer}
		? [ [ SOL_SOCKET, SO_RCVBUF, $args{receive_buffer} ] ]
		: [],
		Timeout => $PATIENCE) or croak "could not connect: $@";

	binmode $socket;
	if (defined $args{tls})
	{
		require IO::Socket::SSL;
		IO::Socket::SSL->start_SSL($socket,
			SSL_ca_file => $args{tls},
			SSL_hostname => 'localhost',
			SSL_verifycn_name => 'localhost')
		  or croak "no TLS: $IO::Socket::SSL::SSL_ERROR";
	}
	return bless {
		socket => $socket,
		tls => defined $args{tls},
		input => '',
		ref => 0,
		events => [],
		pongs => $args{pongs}
	}, $class;
}

# A WebSocket; dies when the handshake is refused.
sub new
{
	my ($class, %args) = @_;
	my $self = $class->dial(%args);
	my $status = $self->handshake(%args);

	croak "handshake failed: $status\n$self->{body}" if $status != 101;
	return $self;
}

# The text of a handshake; a header that is given as undef is left out.
sub request
{
	my (%args) = @_;
	my %headers = (
		'Host' => 'localhost',
		'Upgrade' => 'websocket',
		'Connection' => 'Upgrade',
		'Sec-WebSocket-Key' => encode_base64('sixteen bytes ok', ''),
		'Sec-WebSocket-Version' => 13,
		%{ $args{headers} // {} });
	my $path = $args{path} // '/realtime/v1/websocket';
	my @query;

	push @query, "apikey=$args{token}" if defined $args{token};
	push @query, 'vsn=' . ($args{vsn} // '2.0.0')
	  unless exists $args{vsn} && !defined $args{vsn};
	push @query, "client_id=$args{client_id}" if defined $args{client_id};
	$path .= '?' . join('&', @query) if @query;

	return join "\r\n", "GET $path HTTP/1.1",
	  (map { "$_: $headers{$_}" }
		  grep { defined $headers{$_} } sort keys %headers), '', '';
}

# Send one and read the answer: its status; the rest is in the object.
sub handshake
{
	my ($self, %args) = @_;

	$self->send_bytes(request(%args));
	return $self->read_answer;
}

# An HTTP answer; its body, unless it is a WebSocket now, ends with the input,
# or after its length when the connection stays open.
sub read_answer
{
	my ($self) = @_;
	my $status;

	$self->_read_until(sub { $self->{input} =~ /\r\n\r\n/ })
	  or croak 'connection closed before an answer';
	$self->{input} =~ s/\A(.*?\r\n)\r\n//s;
	$self->{head} = $1;
	($status) = $self->{head} =~ m{\AHTTP/1\.1 (\d+) }
	  or croak "not an answer: $self->{head}";
	if ($status != 101)
	{
		my ($length) = $self->{head} =~ /^Connection: close/m ? () :
		  $self->{head} =~ /^Content-Length: (\d+)/m;

		$self->_read_until(
			sub { defined $length && length $self->{input} >= $length });
		$self->{body} = defined $length ?
		  substr($self->{input}, 0, $length, '') : $self->{input};
	}
	return $status;
}

sub send_bytes
{
	my ($self, $bytes) = @_;

	while (length $bytes)
	{
		my $sent = $self->{tls} ? $self->{socket}->syswrite($bytes) :
		  send $self->{socket}, $bytes, MSG_NOSIGNAL;

		return 0 unless defined $sent;
		substr($bytes, 0, $sent, '');
	}
	return 1;
}

# A text, compressed as RFC 7692 has it.
sub send_compressed
{
	my ($self, $text) = @_;
	my ($deflate) = Compress::Raw::Zlib::Deflate->new(
		WindowBits => -MAX_WBITS, AppendOutput => 1);
	my $out = '';

	$deflate->deflate($text, $out);
	$deflate->flush($out, Z_SYNC_FLUSH);
	return $self->send_frame(0x41, substr $out, 0, -4);
}

sub inflated
{
	my ($payload) = @_;
	my ($inflate) = Compress::Raw::Zlib::Inflate->new(
		WindowBits => -MAX_WBITS, AppendOutput => 1);
	my $out = '';

	$inflate->inflate($payload . "\0\0\xff\xff", $out);
	return $out;
}

# A frame: opcode, payload, and whether it ends its message.
sub send_frame
{
	my ($self, $opcode, $payload, $final) = @_;

	return $self->send_bytes(frame($opcode, $payload, $final));
}

sub frame
{
	my ($opcode, $payload, $final) = @_;
	my $len = length $payload;
	my $mask = "\x12\x34\x56\x78";
	my $head = pack 'C', ($final // 1 ? 0x80 : 0) | $opcode;

	$head .=
	    $len < 126 ? pack 'C', 0x80 | $len
	  : $len < 65536 ? pack 'Cn', 0x80 | 126, $len
	  : pack 'CQ>', 0x80 | 127, $len;
	return
		$head
	  . $mask
	  . ($payload ^ substr($mask x (1 + $len / 4), 0, $len));
}

sub half_close { shutdown $_[0]{socket}, SHUT_WR }

# The next frame, as (opcode, payload); an empty list when the peer is gone.
# Those that came compressed are counted.
sub read_frame
{
	my ($self) = @_;
	my ($head, $len, $opcode);

	$self->_read_until(
		sub {
			return 0 if length $self->{input} < 2;
			($opcode, $len) = unpack 'CC', $self->{input};
			$head = $len < 126 ? 2 : $len == 126 ? 4 : 10;
			return 0 if length $self->{input} < $head;
			$len = unpack 'x2n', $self->{input} if $len == 126;
			$len = unpack 'x2Q>', $self->{input} if $len == 127;
			return length $self->{input} >= $head + $len;
		}) or return;
	substr($self->{input}, 0, $head, '');
	my $payload = substr $self->{input}, 0, $len, '';

	if ($opcode & 0x40)
	{
		$self->{compressed}++;
		$payload = inflated($payload);
	}
	return ($opcode & 0xf, $payload);
}

# The code with which the peer closes, or undef when it just goes.
sub close_code
{
	my ($self) = @_;

	while (my ($opcode, $payload) = $self->read_frame)
	{
		return length $payload >= 2 ? unpack 'n', $payload : 1005
		  if $opcode == 8;
	}
	return undef;
}

# Has the peer closed the connection, with whatever before that?
sub is_gone
{
	my ($self) = @_;

	$self->_read_until(sub { 0 });
	return 1;
}

sub close { close $_[0]{socket} }

# Without a goodbye: whatever is under way, either way, is lost.
sub reset
{
	my ($self) = @_;

	setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
	return $self->close;
}

# Realtime protocol

# Push an event; returns its ref.
sub push_event
{
	my ($self, $topic, $event, $payload, $join_ref) = @_;
	my $ref = '' . ++$self->{ref};

	$self->send_frame(1,
		$json->encode([ $join_ref, $ref, $topic, $event, $payload ]));
	return $ref;
}

# Join a channel and return the reply's payload; the channel is subscribed to
# its changes when that has come.
sub join
{
	my ($self, $name, $config, %more) = @_;
	my $ref = '' . ($self->{ref} + 1);

	$self->push_event("realtime:$name", 'phx_join',
		{ config => $config // {}, %more }, $ref);
	return $self->reply($ref);
}

sub reply
{
	my ($self, $ref) = @_;

	return $self->_next(sub { ($_[0][1] // '') eq $ref })->[4];
}

sub heartbeat
{
	my ($self) = @_;

	return $self->reply($self->push_event('phoenix', 'heartbeat', {}))->{status};
}

# The payload of the next event of a name.
sub next_event
{
	my ($self, $event) = @_;

	return $self->_next(sub { $_[0][3] eq $event })->[4];
}

# The next message that fits; others are kept for later.
sub _next
{
	my ($self, $fits) = @_;
	my $kept = $self->{events};

	for my $i (0 .. $#$kept)
	{
		return splice @$kept, $i, 1 if $fits->($kept->[$i]);
	}
	for (;;)
	{
		my ($opcode, $payload) = $self->read_frame
		  or croak 'connection closed while waiting for a message';
		my $message;

		croak 'connection closed with ' . unpack 'n', $payload if $opcode == 8;
		$self->send_frame(10, $payload) if $opcode == 9 && $self->{pongs};
		next if $opcode != 1;
		$message = $json->decode($payload);
		return $message if $fits->($message);
		push @$kept, $message;
	}
}

# Read until a condition holds; false when the peer closes before that.
sub _read_until
{
	my ($self, $done) = @_;
	my $deadline = time + $PATIENCE;
	my $select = IO::Select->new($self->{socket});

	until ($done->())
	{
		my $left = $deadline - time;

		croak 'nothing came in time'
		  if $left <= 0
		  || !($self->{tls} && $self->{socket}->pending)
		  && !$select->can_read($left);
		my $read =
		  $self->{socket}->sysread($self->{input}, 65536, length $self->{input});
		return 0 unless $read;
	}
	return 1;
}

1;
