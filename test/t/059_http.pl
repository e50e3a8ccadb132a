
# Requests for no WebSocket, on the gateway's port: who may broadcast by HTTP,
# and that no request can hold up, fill or end a gateway.  (What the bytes of a
# request may do is tested without a server, in test/unit.)

use strict;
use warnings;

use GatewayCluster;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

my $node = GatewayCluster->new('main',
	'openhr_msg.gateways' => 2,
	'openhr_msg.allowed_origins' => "'https://example.org'",
	'openhr_msg.max_message_bytes' => 4096)->serve;
my $base = '/realtime/v1/api/broadcast';
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $eve = $node->person('Eve');
my $talk = $node->conversation($ana, $ben);
my $single = "$base/room%3A$talk/events";
my $json = JSON::PP->new->canonical->utf8;
my %token = map { $_ => $node->token($_) } $ana, $ben, $eve;

# The text of a request.
sub request
{
	my ($path, $body, %args) = @_;
	my %headers = (
		'Host' => 'localhost',
		'Connection' => 'close',
		'Content-Type' => 'application/json',
		'Content-Length' => length $body,
		$args{token} ? (Authorization => "Bearer $args{token}") : (),
		%{ $args{headers} // {} });

	return join "\r\n", ($args{method} // 'POST') . " $path HTTP/1.1",
	  (map { "$_: $headers{$_}" }
		  grep { defined $headers{$_} } sort keys %headers), '', $body;
}

# Send one, in pieces if wanted, and return the client with its answer.
sub call
{
	my @pieces = @_;
	my $client = WebSocket->dial(port => $node->gateway_port);

	foreach my $piece (@pieces)
	{
		$client->send_bytes($piece);
		sleep 0.02 if @pieces > 1;
	}
	$client->{status} = $client->read_answer;
	return $client;
}

sub answered
{
	my ($name, $status, $body, @request) = @_;
	my $client = call(request(@request));

	is_deeply([ $client->{status}, $client->{body} ], [ $status, $body ],
		"$name: $status");
	like($client->{head}, qr/^Connection: close\r$/m, '... and that is all');
	return $client;
}

sub batch
{
	return $json->encode(
		{ messages => [
				map { { topic => $_->[0], event => $_->[1], payload => $_->[2] } } @_
		] });
}

# Members hear it, on whatever gateway they are.

my @ears = map { $node->connect($_ % 2 ? $ana : $ben) } 1 .. 6;
my $stranger = $node->connect($eve);
$_->join("room:$talk") foreach @ears, $stranger;

answered('one message', 202, '', "$single/hello", '{"a":[1,"ü"]}',
	token => $token{$ana});
is_deeply($_->next_event('broadcast'),
	{ type => 'broadcast', event => 'hello', payload => { a => [ 1, "\xfc" ] } },
	'a member hears it')
  foreach @ears;

answered('a batch', 202, '', $base,
	batch([ "room:$talk", 'one', {} ], [ 'room:x', 'none', {} ],
		[ "room:$talk", 'two', {} ]),
	token => $token{$ben});
foreach my $ear (@ears)
{
	is_deeply([ map { $ear->next_event('broadcast')->{event} } 1 .. 2 ],
		[ 'one', 'two' ], 'a batch comes in its order');
}

# Who may, and how

my $unauthorized = '{"message":"Unauthorized"}';
answered('no token', 401, $unauthorized, "$single/x", '{}');
answered('a forged token', 401, $unauthorized, "$single/x", '{}',
	token => WebSocket::token('x' x 32, sub => $ana));
answered('a stranger', 403, $unauthorized, "$single/x", '{}',
	token => $token{$eve});
answered('a stranger\'s batch', 202, '', $base, batch([ "room:$talk", 'x', {} ]),
	token => $token{$eve});
answered('a topic of no conversation', 403, $unauthorized,
	"$base/lobby/events/x", '{}', token => $token{$ana});
answered('another path', 404, '{"error":"not found"}', "$base/x", '{}',
	token => $token{$ana});
answered('another type', 415,
	'{"error":"Unsupported Media Type. Use application/json or application/octet-stream"}',
	"$single/x", '{}', token => $token{$ana},
	headers => { 'Content-Type' => 'text/plain' });
answered('no JSON', 422, '{"errors":{"payload":["is not valid JSON"]}}',
	"$single/x", '{', token => $token{$ana});
answered('a batch of nothing', 422,
	'{"errors":{"messages":["can\'t be blank"]}}',
	$base, '{"messages":[]}', token => $token{$ana});
answered('chunks', 411, '{"error":"Content-Length is missing"}', $base, '',
	token => $token{$ana},
	headers =>
	  { 'Content-Length' => undef, 'Transfer-Encoding' => 'chunked' });

foreach my $method (qw(GET HEAD PUT DELETE))
{
	my $client = call(request("$single/x", '', method => $method));

	is($client->{status}, 405, "$method is not allowed");
	like($client->{head}, qr/^Allow: POST, OPTIONS\r$/m, '... but others are');
	is($client->{body},
		$method eq 'HEAD' ? '' : '{"message":"Method Not Allowed"}',
		'... as it says');
}

my $asked = call(request($base, '', method => 'OPTIONS',
		headers => { Origin => 'https://example.org' }));
is($asked->{status}, 204, 'a web page may call us');
like($asked->{head}, qr/^Access-Control-Allow-$_\r$/m, "... with $_")
  foreach 'Origin: https://example\.org', 'Methods: POST, OPTIONS',
  'Headers: apikey, authorization, content-type, x-client-info, x-api-key, .*';
is(call(request($base, '', method => 'OPTIONS',
			headers => { Origin => 'https://example.com' }))->{status},
	403, '... but not any');

# Bodies

my $whole = request("$single/pieces", '{"text":"' . 'x' x 1000 . '"}',
	token => $token{$ana});
is(call($whole =~ /(.{1,300})/gs)->{status}, 202, 'a body in pieces');
is($_->next_event('broadcast')->{event}, 'pieces', '... is heard')
  foreach @ears;
is(call($whole . $whole)->{status}, 202, 'two requests in one');
answered('the end', 202, '', "$single/end", '1', token => $token{$ana});
foreach my $ear (@ears)
{
	is_deeply([ map { $ear->next_event('broadcast')->{event} } 1 .. 2 ],
		[ 'pieces', 'end' ], '... the second is not served');
}

my $patient = WebSocket->dial(port => $node->gateway_port);
$patient->send_bytes(request("$single/x", '', token => $token{$ana},
		headers => { 'Content-Length' => 2, Expect => '100-continue' }));
$patient->_read_until(sub { $patient->{input} =~ s/\AHTTP\/1\.1 100 Continue\r\n\r\n// });
$patient->send_bytes('{}');
is($patient->read_answer, 202, 'a client may wait until its body is wanted');

my $large = '"' . 'x' x 4095 . '"';
answered('a payload that is too long', 413, '{"message":"Payload too large"}',
	"$single/x", $large, token => $token{$ana});
answered('a batch may be longer', 202, '', $base,
	batch(map { [ "room:$talk", 'y', { text => 'x' x 4000 } ] } 1 .. 10),
	token => $token{$ana});
is(call(request($base, 'x' x 65537, token => $token{$ana}))->{status},
	413, '... but not any length');
answered('one payload of it that is too long', 422,
	'{"errors":{"messages":[{"payload":["is too long"]}]}}', $base,
	"{\"messages\":[{\"topic\":\"t\",\"event\":\"e\",\"payload\":$large}]}",
	token => $token{$ana});
is(call(request("$single/x", 'x' x 1000000, token => $token{$ana}))->{status},
	413, 'who goes on sending still gets the answer');

# Too many

my %got;
my $limited;
for (1 .. 400)
{
	my $client = call(request("$single/many", '1', token => $token{$ben}));

	$got{ $client->{status} }++;
	$limited //= $client if $client->{status} == 429;
}
is_deeply([ sort keys %got ], [ 202, 429 ], 'a profile has its share');
cmp_ok($got{202}, '>=', 100, '... of a hundred at once');
like($limited->{head}, qr/^Retry-After: \d+\r$/m, '... and is told when');
is($limited->{body}, '{"message":"Too many requests"}', '... and why');
is(call(request($base, batch(map { [ 't', 'e', 1 ] } 1 .. 101),
			token => $token{$eve}))->{status},
	429, 'a batch of 101');

# Bodies that do not come

my $neighbour = $node->connect($ben);
my @slow = map { WebSocket->dial(port => $node->gateway_port) } 1 .. 100;
my $start = time;
$_->send_bytes(request($base, '{', token => $token{$ana},
		headers => { 'Content-Length' => 60000 }))
  foreach @slow;
is($neighbour->heartbeat, 'ok', 'others are served meanwhile');
is(call(request("$single/x", '1', token => $token{$ana}))->{status},
	202, '... and heard');
cmp_ok(time - $start, '<', 9, '... at once');
$_->is_gone foreach @slow;
cmp_ok(time - $start, '<', 40, 'who does not go on is sent away');

# When nobody can tell who is a member, the answer is not kept waiting.
my $other = $node->person('Other');
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE conversation_participants');
$start = time;
my $waiting = WebSocket->dial(port => $node->gateway_port);
$waiting->send_bytes(request("$single/x", '1', token => $node->token($other)));
is($neighbour->heartbeat, 'ok', 'a question that hangs does not stop others');
is($waiting->read_answer, 503, 'a question that hangs is given up');
like($waiting->{head}, qr/^Retry-After: \d+\r$/m, '... for now');
cmp_ok(time - $start, '<', 30, '... in time');
$lock->query_safe('COMMIT');
$lock->quit;

# A stranger has heard nothing, and nothing is left.
is($stranger->heartbeat, 'ok', 'the stranger is there');
is_deeply($stranger->{events}, [], '... and has heard nothing');
$_->close foreach @ears, $stranger, $neighbour;
$node->wait_until(
	sub {
		$node->value("SELECT sum(connections) FROM openhr_msg.status()
			WHERE worker = 'gateway'") eq '0';
	},
	'no connection is left');
pass('no connection is left');
unlike(slurp_file($node->logfile), qr/xxxx|PANIC/,
	'nothing that a client sent is in the log');

$node->stop;
done_testing();
