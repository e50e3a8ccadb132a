# The gateway's port: who is let in, what the others are told, and that
# nothing that a socket can do harms anybody else.  (What the bytes of RFC 6455
# and of HTTP may do is tested without a server, in test/unit.)

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

my $node = GatewayCluster->new('main',
	'openhr_msg.allowed_origins' => "'https://example.org, http://localhost:3000'",
	'openhr_msg.max_queue_bytes' => 65536,
	'openhr_msg.max_connections' => 300)->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my $good = $node->token($ana);

# Who is let in

sub refused
{
	my ($name, $status, $error, %args) = @_;
	my $ws = WebSocket->dial(port => $node->gateway_port);

	is_deeply(
		[ $ws->handshake(token => $good, %args), $ws->{body} ],
		[ $status, qq({"error":"$error"}) ],
		"$name: $status, $error");
	return;
}

refused('no key', 401, 'API key is missing', token => undef);
refused('garbage', 401, 'The token provided is not a valid JWT', token => 'x');
refused('a forged token', 401, 'Failed to validate JWT signature',
	token => WebSocket::token('x' x 32, sub => $ana));
refused('an expired token', 401, 'Token has expired',
	token => $node->token($ana, exp => time - 60));
refused('a token without a role', 401,
	'Fields `role` and `exp` are required in JWT',
	token => $node->token($ana, role => undef));
refused('another algorithm', 401,
	'Failed to generate JWT signer, check your JWT secret or JWKS configuration',
	token => join '.', map { MIME::Base64::encode_base64url($_) }
	  '{"alg":"none"}', '{"role":"anon","exp":4000000000}', '');
refused('another version of the protocol', 403, 'vsn is not supported',
	vsn => '3.0.0');
refused('another origin', 403, 'origin is not allowed',
	headers => { Origin => 'https://example.com' });
refused('another path', 404, 'not found', path => '/realtime/v1/other');
refused('no upgrade', 426, 'this is a WebSocket endpoint',
	headers => { Upgrade => undef, Connection => undef });
refused('cleartext HTTP/2', 426, 'this is a WebSocket endpoint',
	headers => { Upgrade => 'h2c' });
refused('an old WebSocket', 426, 'WebSocket version 13 is required',
	headers => { 'Sec-WebSocket-Version' => 8 });

foreach my $case (
	[ 'a listed origin', headers => { Origin => 'http://localhost:3000' } ],
	[ 'any prefix', path => '/socket/websocket' ],
	[ 'a key in a header', token => undef, headers => { 'x-api-key' => $good } ],
	[ 'a bearer token', token => undef,
		headers => { Authorization => "Bearer $good" } ],
	[ 'an unknown extension', headers =>
		  { 'Sec-WebSocket-Extensions' => 'x-webkit-deflate-frame' } ])
{
	my ($name, %args) = @$case;
	my $ws = $node->connect($ana, %args);

	is($ws->heartbeat, 'ok', "$name: served");
	unlike($ws->{head}, qr/Sec-WebSocket-(Extensions|Protocol)/,
		'... and nothing is negotiated');
}

# Compression

my %offer = (headers => { 'Sec-WebSocket-Extensions' => 'permessage-deflate' });
my $packed = $node->subscribe($ana, %offer);
my $text = join ' ', map { "word$_" } 1 .. 500;

like($packed->{head}, qr/^Sec-WebSocket-Extensions: permessage-deflate;/m,
	'compression is agreed on');
$node->say($talk, $ben, $text);
is($packed->next_event('postgres_changes')->{data}{record}{content}, $text,
	'... a large message arrives');
is($packed->{compressed}, 1, '... compressed');
is($packed->heartbeat, 'ok', '... a small answer, too');
is($packed->{compressed}, 1, '... as it is');
$packed->send_compressed('[null,"9","phoenix","heartbeat",{}]');
is($packed->reply('9')->{status}, 'ok', 'what a client compresses is understood');

foreach my $case (
	[ 'a bomb', 1009, ' ' x 3000000 ],
	[ 'what cannot be inflated', 1007, undef ])
{
	my ($name, $code, $message) = @$case;
	my $ws = $node->connect($ana, %offer);

	defined $message
	  ? $ws->send_compressed($message)
	  : $ws->send_frame(0x41, 'not compressed');
	is($ws->close_code, $code, "$name: closed with $code");
}
is($packed->heartbeat, 'ok', '... and nobody else is');

$node->append_conf('postgresql.conf', 'openhr_msg.compression = off');
$node->reload;
$node->wait_until(
	sub {
		$node->connect($ana, %offer)->{head} !~ /Sec-WebSocket-Extensions/;
	},
	'compression is off');
$packed->send_compressed('[null,"10","phoenix","heartbeat",{}]');
is($packed->reply('10')->{status}, 'ok',
	'what was agreed on before it was switched off stays');

# The whole way

my $reader = $node->subscribe($ana);
$node->say($talk, $ben, 'hello');
my $change = $reader->next_event('postgres_changes');
is($change->{data}{record}{content}, 'hello', 'a message inserted is received');

my $version1 = $node->connect($ana, vsn => undef);
$version1->send_frame(1,
	'{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"7"}');
like(($version1->read_frame)[1], qr/^\{.*"ref":"7"/, 'protocol 1.0.0');

# What a socket can do

my $neighbour = $node->connect($ben);

sub lives
{
	my ($name) = @_;
	my $start = time;

	is($neighbour->heartbeat, 'ok', "$name: others are served");
	cmp_ok(time - $start, '<', 5, '... at once');
	return;
}

sub closed
{
	my ($name, $code, $bytes) = @_;
	my $ws = $node->connect($ana);

	$ws->send_bytes($bytes);
	is($ws->close_code, $code, "$name: closed with $code");
	return;
}

closed('a message of 17 kB', 1009, WebSocket::frame(1, 'x' x 17000));
closed('invalid UTF-8', 1007, WebSocket::frame(1, "\xff"));
closed('a frame that is not masked', 1002, "\x81\x05hello");

my $odd = $node->connect($ana);
$odd->send_frame(1, $_)
  foreach '', 'x', '[]', '{}', '[1,2', 'null', '[null,null,null,null,null]',
  '[' x 8000, '["1","1","realtime:x","phx_join",{"config":7}]', "\0" x 100;
$odd->send_frame(2, pack 'C*', map { $_ % 256 } 1 .. 5000);
is($odd->heartbeat, 'ok', 'messages that make no sense do no harm');
lives('nonsense');

my $eager = $node->connect($ana);
for my $i (1 .. 5000)
{
	last
	  unless $eager->push_event("realtime:room$i", 'phx_join',
		{ config => { postgres_changes =>
				  [ { event => '*', schema => 'public', table => 'messages' } ] } },
		"$i");
}
lives('5,000 joins');
cmp_ok($node->status('channels', 'gateway'), '<=', 150,
	'... most of which were refused');
$eager->close;

my @half_open = map { WebSocket->dial(port => $node->gateway_port) } 1 .. 100;
$_->send_bytes("GET /realtime/v1/websocket HTTP/1.1\r\n") foreach @half_open;
lives('100 requests that have only begun');
my $start = time;
$_->is_gone foreach @half_open;
cmp_ok(time - $start, '<', 30, '... which end soon');

# A reader that does not read, with more to come than any buffer holds.
my $deaf = $node->subscribe($ana);
my $pid = $node->status('pid', 'gateway');
my $before = $node->status('connections', 'gateway');
my $rounds = 0;
while ($node->status('connections', 'gateway') >= $before && $rounds++ < 100)
{
	$node->value(
		"INSERT INTO messages (conversation_id, sender_profile_id, content)
		SELECT '$talk', '$ben', repeat('x', 4000) FROM generate_series(1, 20)");
	$reader->next_event('postgres_changes') foreach 1 .. 20;
}
cmp_ok($rounds, '<', 100, 'a reader that does not read is cut off');
lives('... which others do not notice');
$deaf->is_gone;

is($node->status('pid', 'gateway'), $pid, 'the gateway has lived through it');

# Limits

my @many = map { $node->connect($ana) }
  $node->status('connections', 'gateway') + 1 .. 300;
my $extra = $node->connect($ana);
is($extra->close_code, 1013, 'one connection too many is asked to come back');
$_->close foreach @many;
$node->wait_until(
	sub { $node->status('connections', 'gateway') < 20 },
	'the connections are closed');
is($node->connect($ana)->heartbeat, 'ok', '... and can');

# Who was refused is counted in the log, in one line at once and another at the
# end of the minute, or of the gateway.
$node->stop;
my @refusals = slurp_file($node->logfile) =~
  /connections refused: (\d+)\n.*?DETAIL:  (.*)/g;
is_deeply([ @refusals[ 0, 1 ] ], [ 1, 'API key is missing: 1.' ],
	'the first refusal is logged at once');
my %refused;
while (my ($count, $reasons) = splice @refusals, 0, 2)
{
	$refused{$1} += $2 while $reasons =~ /(.*?): (\d+)(?:; |\.$)/g;
}
is_deeply(
	[ @refused{ 'API key is missing', 'Token has expired',
			'origin is not allowed', 'request takes too long' } ],
	[ 1, 1, 1, 100 ], '... and all are counted by what was wrong');
ok(!grep({ /not found|endpoint/ } keys %refused),
	'... but not who asks for something else');
$node->start;
$node->wait_until(sub { $node->is_listening }, 'the gateway listens again');

# Nothing that a client sent is in the log.
my $log = slurp_file($node->logfile);
ok($log !~ /eyJ/, 'no token in the log');
ok($log !~ /hello/, 'no message in the log');
is($node->value("SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'openhr_msg gateway'
	AND query = 'serving WebSocket clients'"),
	1, 'pg_stat_activity says what a gateway does, and not for whom');

$node->stop;
done_testing();
