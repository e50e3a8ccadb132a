=pod

=head1 NAME

Attackers - clients that mean harm, and those who must be served meanwhile

=head1 SYNOPSIS

  my $attackers = Attackers->new($node);
  $attackers->launch;
  my $report = $attackers->serve_meanwhile;

=head1 DESCRIPTION

Each attack is a process of its own that does so much work and ends.  Beside
them, three people in one conversation say things and read them: every message
must come to each of them once, and every heartbeat must be answered.

=cut

package Attackers;

use strict;
use warnings;

use IO::Select;
use JSON::PP;
use POSIX qw(WNOHANG _exit);
use Time::HiRes qw(sleep time);
use WebSocket;

my $CHANGES = { event => '*', schema => 'public', table => 'messages' };

# What an attacker does, by name.  Each gets the attackers' object; what the
# server answers, and that it closes, is none of their concern.
my %attacks = (
	'garbage' => sub {
		my ($self) = @_;

		foreach my $n (1 .. 100)
		{
			my $ws = $n % 2 ? $self->dial : $self->open;
			my $noise = join '', map { chr rand 256 } 1 .. 2000;

			substr($noise, 0, 1) = "\x81" if $n % 4 == 0;
			$ws->send_bytes($noise);
		}
	},
	'single bytes' => sub {
		my ($self) = @_;
		my @all = map { $self->dial } 1 .. 10;
		my $bytes = $self->request
		  . WebSocket::frame(1, '[null,"1","phoenix","heartbeat",{}]');

		foreach my $byte (split //, $bytes)
		{
			$_->send_bytes($byte) foreach @all;
		}
		foreach my $ws (@all)
		{
			$ws->read_answer == 101 && $ws->reply('1') or die "not served\n";
		}
	},
	'requests that do not end' => sub {
		my ($self) = @_;
		my @all = map { $self->dial } 1 .. 150;

		$_->send_bytes("GET /realtime/v1/websocket HTTP/1.1\r\nX: ")
		  foreach @all;
		foreach my $n (1 .. 15)
		{
			$_->send_bytes('x' x 1000) foreach @all;
		}
		$_->is_gone foreach @all;
	},
	'silence' => sub {
		my ($self) = @_;
		my @all = map { $self->open } 1 .. 50;

		$_->send_frame(1, 'half a message', 0) foreach @all;
		sleep 5;
	},
	'heartbeats' => sub {
		my ($self) = @_;

		$self->pour($self->open,
			WebSocket::frame(1, '[null,"1","phoenix","heartbeat",{}]') x 20000);
	},
	'pings' => sub {
		my ($self) = @_;

		$self->pour($self->open, WebSocket::frame(9, 'x' x 125) x 20000);
	},
	'tiny fragments' => sub {
		my ($self) = @_;
		my $message = WebSocket::frame(1, '[', 0)
		  . WebSocket::frame(0, ' ', 0) x 15000 . WebSocket::frame(0, ']');

		$self->pour($self->open, $message x 5);
		$self->pour($self->open,
			WebSocket::frame(1, '', 0) . WebSocket::frame(0, '', 0) x 50000);
	},
	'joins and leaves' => sub {
		my ($self) = @_;
		my $config = { config => { postgres_changes => [$CHANGES] } };

		$self->pour($self->open, join '',
			map { $self->message("realtime:$_", 'phx_join', $config) } 1 .. 3000);
		$self->pour($self->open, join '', map {
				$self->message('realtime:a', 'phx_join', $config)
				  . $self->message('realtime:a', 'phx_leave', {})
		} 1 .. 1000);
	},
	'bindings' => sub {
		my ($self) = @_;
		my $ws = $self->open;

		foreach my $n (1, 99, 100, 101, 200)
		{
			$self->pour($ws, $self->message("realtime:$n", 'phx_join',
					{ config => { postgres_changes => [ ($CHANGES) x $n ] } }));
		}
		$self->pour($ws, join '', map {
				$self->message("realtime:b$_", 'phx_join', { config =>
						{ postgres_changes => [ map { +{} } 1 .. 3000 ] } })
		} 1 .. 20);
	},
	'broadcasts and presence' => sub {
		my ($self) = @_;
		my $ws = $self->open;
		my $topic = 'realtime:room:01a20e6e-6fb6-7ab4-a0bf-81afef078b42';

		$self->pour($ws, $self->message($topic, 'phx_join', { config =>
					{ broadcast => { ack => \1, self => \1 },
						presence => { key => 'x' } } }));
		$self->pour($ws, join '', map {
				WebSocket::frame(2, pack 'C7a*', 3, 1, 1, length $topic, $_ % 256,
					$_ % 7, $_ % 3, "19$topic" . "\xff" x ($_ % 300))
		} 1 .. 3000);
		$self->pour($ws, join '', map {
				$self->message($topic, 'presence',
					{ event => 'track', payload => { n => $_ } })
				  . $self->message($topic, 'broadcast', { event => $_, ids => [] })
		} 1 .. 3000);
	},
	'costly filters' => sub {
		my ($self) = @_;
		my $ws = $self->open;
		my @filters = ('content=match.(a+)+$', 'content=match.(a|a)*b',
			'content=match.(.*)*(.*)*c$', 'content=imatch.^(([a-z])+.)+[A-Z]$',
			'content=like.%a%a%a%a%a%a%a%a%a%a%b',
			'content=not.match.((a*)*)*z', 'content=match.' . '(' x 100,
			'content=match.' . 'a?' x 60 . 'a' x 60,
			'content=in.(' . join(',', ('x') x 100) . ')',
			join ',', ('content=neq.x') x 32);

		foreach my $n (0 .. 19)
		{
			$self->pour($ws, $self->message("realtime:f$n", 'phx_join',
					{ config => { postgres_changes =>
							  [ map { +{ %$CHANGES, filter => $_ } } @filters ] } }));
		}
		$self->read_for($ws, 8);
	},
	'broadcasts and presence' => sub {
		my ($self) = @_;
		my $ws = $self->open;
		my $topic = "realtime:room:$self->{talk}";

		$self->pour($ws, $self->message($topic, 'phx_join', { config =>
				{ broadcast => { ack => \1, self => \1 },
				  presence => { key => 'x' x 200, enabled => \1 } } }));
		$self->pour($ws, join '', map {
				$self->message($topic, 'broadcast', { type => 'broadcast',
						event => 'e' x $_, payload => { n => $_ } })
				  . $self->message($topic, 'presence', { type => 'presence',
						event => 'track', payload => { n => 'y' x $_ } })
				  . WebSocket::frame(2, pack 'C7a*', 3, map({ rand 256 } 1 .. 6),
					'z' x $_)
		} 1 .. 1000);
	},
	'tokens' => sub {
		my ($self) = @_;
		my $ws = $self->open;
		my @tokens = (@{ $self->{tokens} }, 'not.a.token',
			WebSocket::token('x' x 40, sub => 'x'));

		$ws->join('a', { postgres_changes => [$CHANGES] });
		$self->pour($ws, join '', map {
				$self->message('realtime:a', 'access_token',
					{ access_token => $tokens[ $_ % 2 ] })
		} 1 .. 3000);
		$self->pour($ws, join '', map {
				$self->message("realtime:$_", 'phx_join',
					{ access_token => $tokens[ $_ % 4 ] })
		} 1 .. 500);
	},
	'large messages' => sub {
		my ($self) = @_;

		$self->pour($self->open, WebSocket::frame(1, '"' . 'x' x 16000) x 300);
		$self->pour($self->open, WebSocket::frame(2, "\x03" x 16000) x 300);
		foreach my $head ("\x81\xfe\xff\xff", "\x82\xff\0\0\x01\0\0\0\0\0",
			"\x82\xff\x7f" . "\xff" x 7, "\x82\xff\x80" . "\0" x 7)
		{
			$self->pour($self->open, $head . 'mask' . 'x' x 100000);
		}
	},
	'deep JSON' => sub {
		my ($self) = @_;
		my $ws = $self->open;

		foreach my $text ('[' x 16000, '{"a":' x 3000, '[' x 8000 . ']' x 8000,
			'[null,"1","realtime:d","phx_join",' . '[' x 2000 . ']' x 2000 . ']',
			'[null,"1","realtime:d","phx_join",{"config":'
			. '{"a":' x 1500 . '1' . '}' x 1500 . '}]')
		{
			$self->pour($ws, WebSocket::frame(1, $text) x 20);
		}
	},
	'bad text' => sub {
		my ($self) = @_;

		foreach my $text ("\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80")
		{
			$self->pour($self->open, WebSocket::frame(1, $text) x 100);
		}
		$self->pour($self->open, join '', map {
				WebSocket::frame(1,
					qq([null,"1","realtime:$_","phx_join",{"config":7}]))
		} '\u0000', '\ud800', '\ud83d\ude00', "\x7f", 'x' x 300, '');
	},
	'compression' => sub {
		my ($self) = @_;

		foreach my $n (1 .. 20)
		{
			my $ws = $self->open(headers => { 'Sec-WebSocket-Extensions' =>
					'permessage-deflate; server_max_window_bits=' . $n });

			$self->pour($ws, "\xc1\x85mask" . 'x' x 5);
		}
		foreach my $size (100, 16384, 16385, 10000000)
		{
			$self->open(headers => {
					'Sec-WebSocket-Extensions' => 'permessage-deflate' })
			  ->send_compressed(' ' x $size);
		}
	},
	'requests' => sub {
		my ($self) = @_;

		foreach my $n (1 .. 300)
		{
			$self->dial->send_bytes("GET /$n HTTP/1.1\r\nHost: x\r\n\r\n" x 20);
			$self->dial->send_bytes(
				$self->request(token => 'x' x 1000, path => '/websocket'));
		}
	},
	'coming and going' => sub {
		my ($self) = @_;

		$self->dial->close foreach 1 .. 1000;
		$self->open->close foreach 1 .. 200;
	},
	'readers that do not read' => sub {
		my ($self) = @_;
		my $beat = WebSocket::frame(1, '[null,"1","phoenix","heartbeat",{}]');
		my @deaf = map { $self->open } 1 .. 3;

		# Until the server has enough of it, or takes no more.
		foreach my $ws (@deaf)
		{
			$ws->{socket}->blocking(0);
			for (1 .. 200) { last unless $ws->{socket}->send($beat x 100) }
		}
		sleep 3;
	});

sub new
{
	my ($class, $node) = @_;
	my @people = map { $node->person($_) } qw(Ana Ben Eva);
	my $talk = $node->conversation(@people);
	my $self = {
		node => $node,
		person => $people[0],
		talk => $talk,
		tokens => [ map { $node->token($_) } @people[ 1, 2 ] ],
		honest => [ map { $node->subscribe($_) } @people ],
		said => 0,
	};

	return bless $self, $class;
}

sub names { return sort keys %attacks }

# The attackers' tools

sub dial { return WebSocket->dial(port => $_[0]{node}->gateway_port) }

sub open
{
	my ($self, %args) = @_;

	return WebSocket->new(
		port => $self->{node}->gateway_port,
		token => $self->{tokens}[0],
		%args);
}

sub request
{
	my ($self, %args) = @_;

	return WebSocket::request(token => $self->{tokens}[0], %args);
}

sub message
{
	my ($self, $topic, $event, $payload) = @_;

	return WebSocket::frame(1,
		JSON::PP->new->utf8->encode([ '1', '1', $topic, $event, $payload ]));
}

# Send all of it, and read whatever comes, until the peer is gone.
sub pour
{
	my ($self, $ws, $bytes) = @_;
	my $select = IO::Select->new($ws->{socket});

	$ws->{socket}->blocking(0);
	while (length $bytes)
	{
		my ($readable, $writable) = IO::Select->select($select, $select, undef, 30);

		return unless $readable;
		if (@$readable)
		{
			return unless sysread $ws->{socket}, my $ignored, 65536;
		}
		if (@$writable)
		{
			my $sent = syswrite $ws->{socket}, $bytes, 65536;

			substr($bytes, 0, $sent, '') if $sent;
		}
	}
	return;
}

sub read_for
{
	my ($self, $ws, $seconds) = @_;
	my $select = IO::Select->new($ws->{socket});
	my $end = time + $seconds;

	while (time < $end)
	{
		next unless $select->can_read(0.1);
		last unless sysread $ws->{socket}, my $ignored, 65536;
	}
	return;
}

# Start attacks, all when none is named.
sub launch
{
	my ($self, @names) = @_;

	@names = names() unless @names;
	foreach my $name (@names)
	{
		my $pid = fork // die "could not fork: $!\n";

		if ($pid == 0)
		{
			$SIG{PIPE} = 'IGNORE';
			srand 7;
			eval { $attacks{$name}->($self); 1 } or warn "$name: $@";
			_exit($@ ? 1 : 0);
		}
		$self->{children}{$pid} = $name;
	}
	return;
}

# Serve the honest until every attacker has ended: how many rounds it were, the
# longest that a heartbeat took, and what went wrong.
sub serve_meanwhile
{
	my ($self, $each_round) = @_;
	my %report = (rounds => 0, slowest => 0, faults => []);
	my $deadline = time + 120;

	do
	{
		$self->serve_once(\%report);
		$each_round->() if $each_round;
		foreach my $pid (keys %{ $self->{children} })
		{
			next if waitpid($pid, WNOHANG) != $pid;
			push @{ $report{faults} }, "no good attack: $self->{children}{$pid}"
			  if $? != 0;
			delete $self->{children}{$pid};
		}
		if (time > $deadline)
		{
			push @{ $report{faults} }, 'still at it: ' . join ', ',
			  values %{ $self->{children} };
			kill 'KILL', keys %{ $self->{children} };
		}
	} while (%{ $self->{children} });

	# Nothing came that was not said.
	$self->serve_once(\%report);
	return \%report;
}

sub serve_once
{
	my ($self, $report) = @_;
	my $content = ++$self->{said} . ' ' . 'a' x 2000;

	$self->{node}->say($self->{talk}, $self->{person}, $content);
	foreach my $ws (@{ $self->{honest} })
	{
		my $start = time;
		my $got = eval {
			$ws->next_event('postgres_changes')->{data}{record}{content};
		} // "nothing: $@";

		push @{ $report->{faults} },
		  "message $self->{said}: " . substr $got, 0, 60
		  if $got ne $content;
		push @{ $report->{faults} }, 'no heartbeat'
		  if eval { $ws->heartbeat // '' } ne 'ok';
		$report->{slowest} = time - $start if time - $start > $report->{slowest};
	}
	$report->{rounds}++;
	return;
}

1;
