
# The API over HTTP: every route, and every way in which it refuses.

use strict;
use warnings;

use GatewayCluster;
use HttpClient;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use WebSocket;

my $node = GatewayCluster->new('main',
	'openhr_msg.allowed_origins' => "'https://example.org'",
	'openhr_msg.max_message_bytes' => 4096)->serve;
my $http = HttpClient->new($node);
my ($ana, $ben, $eve) = map { $node->person($_) } qw(Ana Ben Eve);
my $service = WebSocket::token($GatewayCluster::SECRET, role => 'service_role');
my $anon = WebSocket::token($GatewayCluster::SECRET, role => 'anon');
my $nowhere = '00000000-0000-7000-8000-000000000000';

sub answers
{
	my ($name, $answer, $status, $body) = @_;

	is($answer->{status}, $status, "$name: $status")
	  or diag($answer->{content});
	is_deeply($answer->{json}, $body, '... as it says') if defined $body;
	like($answer->{headers}{'x-request-id'}, qr/^\S+$/, '... with an id')
	  if $status != 404 || $body;
	return $answer;
}

# A conversation, and what is said in it

my $made = answers('a conversation is opened',
	$http->post($ana, '/v1/conversations',
		{ participants => [$ben], title => "\xdcml\xe4ut" }), 201);
my $talk = $made->{json}{id};
is($made->{json}{title}, "\xdcml\xe4ut", '... with its title');
is($made->{headers}{location}, "/v1/conversations/$talk",
	'... and is told where it is');
is($made->{headers}{'content-type'}, 'application/json', '... in JSON');

my $messages = "/v1/conversations/$talk/messages";
my $sent = answers('a message is sent',
	$http->post($ana, $messages,
		{ content => 'hello', metadata => { a => [ 1, undef ] } }), 201);
my $message = $sent->{json}{id};
is_deeply(
	[ @{ $sent->{json} }{qw(conversation_id sender_profile_id content
		  content_type metadata seq version is_edited)} ],
	[ $talk, $ana, 'hello', 'text', { a => [ 1, undef ] }, 1, 1,
		JSON::PP::false ],
	'... and is the answer');
is($sent->{headers}{etag}, '"1"', '... with its version');
like($sent->{json}{created_at}, qr/^\d{4}-\d\d-\d\dT[\d:.]+\+00:00$/,
	'... and its time in ISO 8601');
is_deeply([ sort keys %{ $sent->{json} } ],
	[ split /,/, $node->value("SELECT string_agg(attname, ',' ORDER BY attname COLLATE \"C\")
		FROM pg_attribute WHERE attrelid = 'messages'::regclass AND attnum > 0 AND NOT attisdropped") ],
	'... and all its columns');

my %key = (Idempotency_Key => '"the-key"');
my $first = answers('a message with a key',
	$http->post($ana, $messages, { content => 'once' }, %key), 201);
my $again = answers('it again',
	$http->post($ana, $messages, { content => 'once' }, %key), 201);
is($again->{json}{id}, $first->{json}{id}, '... is the same one');
answers('the key with something else',
	$http->post($ana, $messages, { content => 'twice' }, %key), 409,
	{ error => 'Client message id was used for another message' });
is($http->post($ana, $messages,
		{ content => 'once', client_message_id => 'the-key' })->{json}{id},
	$first->{json}{id}, 'the key may be in the body');
answers('two keys',
	$http->post($ana, $messages,
		{ content => 'once', client_message_id => 'another' }, %key),
	400, { error => 'Idempotency-Key and client_message_id differ' });

my $reply = answers('a reply',
	$http->post($ben, $messages,
		{ content => 'yes', reply_to_message_id => $message }), 201);
is($reply->{json}{reply_to_message_id}, $message, '... to that');

# Reading

sub contents { return [ map { $_->{content} } @{ $_[0]{json} } ] }

is_deeply(contents(answers('the newest', $http->get($ben, $messages), 200)),
	[ 'yes', 'once', 'hello' ], '... come first');
is_deeply(contents($http->get($ben, "$messages?limit=1")), ['yes'],
	'a page of one');
is_deeply(contents($http->get($ben, "$messages?limit=2&before_seq=3")),
	[ 'once', 'hello' ], 'before a message');
is_deeply(contents($http->get($ben, "$messages?after_seq=1")),
	[ 'once', 'yes' ], 'after a message');
is(contents($http->get($ben, "$messages?since_version=2"))->[0], 'yes',
	'since a version');
(my $time = $first->{json}{created_at}) =~ s/\+/%2B/;
is_deeply(contents($http->get($ben, "$messages?before=$time")), ['hello'],
	'before a time');
is_deeply(
	contents($http->get($ben, "$messages?before=$first->{json}{created_at}")),
	['hello'], '... whose plus was not escaped');
is_deeply(contents($http->get($ben, "$messages?before=2025-11-30T10:00:00Z")),
	[], '... as the document has it');
is($http->get($ben, "$messages?apikey=x")->{status}, 200,
	'a key in the query is no parameter');
my $head = answers('HEAD', $http->request('HEAD', $ben, $messages), 200);
is($head->{content} // '', '', '... has no body');
is($head->{headers}{'content-length'},
	length $http->get($ben, $messages)->{content}, '... but its length');

my $one = answers('one conversation',
	$http->get($ben, "/v1/conversations/$talk"), 200)->{json};
is_deeply([ @{$one}{qw(id unread_count last_seq)} ], [ $talk, 0, 3 ],
	'... as its reader has it');
is($one->{last_message}{content}, 'yes', '... with the last message');
my $other = $node->conversation($ben, $eve);
is_deeply(
	[ map { $_->{id} } @{ answers('all conversations',
			$http->get($ben, '/v1/conversations'), 200)->{json} } ],
	[ $other, $talk ], '... the last active first');
is(@{ $http->get($ben, '/v1/conversations?limit=1')->{json} }, 1,
	'... a page of one');
is_deeply($http->get($eve, '/v1/conversations?before=2020-01-01T00:00:00Z')->{json},
	[], '... before a time');
$node->value("UPDATE conversations SET is_archived = true WHERE id = '$other'");
is(@{ $http->get($ben, '/v1/conversations')->{json} }, 1,
	'... without those that were put away');
is(@{ $http->get($ben, '/v1/conversations?include_archived=true')->{json} },
	2, '... unless they are wanted');

# Changing

my $path = "/v1/messages/$message";
my $tag = '"' . $node->value("SELECT version FROM messages WHERE id = '$message'") . '"';
my $edited = answers('an edit',
	$http->patch($ana, $path, { content => 'hallo' }, If_Match => $tag), 200);
is_deeply([ @{ $edited->{json} }{qw(content is_edited)} ],
	[ 'hallo', JSON::PP::true ], '... is the answer');
is($edited->{headers}{etag}, '"' . $edited->{json}{version} . '"',
	'... with the next version');
answers('an edit of what was changed meanwhile',
	$http->patch($ana, $path, { content => 'late' }, If_Match => $tag), 412,
	{ error => 'Message has another version',
		hint => 'Read it anew, and try again with its version.' });
answers('an edit of any version',
	$http->patch($ana, $path, { content => 'any' }, If_Match => '*'), 200);
answers('another\'s message', $http->patch($ben, $path, { content => 'x' }),
	403, { error => 'Only its sender may change a message' });
answers('a message of others', $http->patch($eve, $path, { content => 'x' }),
	404, { error => 'Message does not exist' });

is(answers('reading up to a message',
		$http->post($ana, "/v1/conversations/$talk/read", { up_to_seq => 2 }),
		200)->{json}{last_read_seq}, 2, '... moves the marker');
is(answers('reading all',
		$http->post($ana, "/v1/conversations/$talk/read"), 200)
	  ->{json}{last_read_seq}, 3, '... needs no body');

my $report = answers('a report',
	$http->post($ben, "$path/report", { reason => 'rude', severity => 'high' }),
	201)->{json};
is_deeply([ @{$report}{qw(message_id reporter_profile_id severity)} ],
	[ $message, $ben, 'high' ], '... is kept');
answers('the same report',
	$http->post($ben, "$path/report", { reason => 'very rude' }), 201);
is($node->value('SELECT reason FROM openhr_msg.message_reports'), 'very rude',
	'... changes it');
answers('a report of nothing visible',
	$http->post($eve, "$path/report", { reason => 'x' }), 404);
answers('an invalid severity',
	$http->post($ben, "$path/report", { reason => 'x', severity => 'x' }), 400,
	{ error => 'Invalid severity',
		hint => 'Severities are "low", "medium" and "high".' });

my $deleted = answers('a deletion', $http->delete($ana, $path), 200);
is_deeply([ @{ $deleted->{json} }{qw(content is_deleted)} ],
	[ '', JSON::PP::true ], '... leaves a tombstone');
answers('it again', $http->delete($ana, $path), 200);
answers('an edit of it', $http->patch($ana, $path, { content => 'x' }), 409,
	{ error => 'Message has been deleted' });

# Who may not

answers('a stranger who reads', $http->get($eve, $messages), 403,
	{ error => 'Not a participant' });
answers('a stranger who sends',
	$http->post($eve, $messages, { content => 'x' }), 403,
	{ error => 'Not a participant' });
answers('a stranger who looks', $http->get($eve, "/v1/conversations/$talk"),
	403, { error => 'Not a participant' });
answers('a stranger of a conversation that does not exist',
	$http->get($eve, "/v1/conversations/$nowhere"), 403,
	{ error => 'Not a participant' });
answers('a service', $http->get($service, "/v1/conversations/$nowhere"), 404,
	{ error => 'Conversation does not exist' });
is_deeply(contents($http->get($service, $messages)), [ 'yes', 'once', '' ],
	'a service sees all');
answers('a message of a service',
	$http->post($service, $messages,
		{ content => 'maintenance', content_type => 'system' }), 201);
answers('the same of a profile',
	$http->post($ana, $messages, { content => 'x', content_type => 'system' }),
	403, { error => 'Only a service may send this content type' });

foreach my $case (
	[ 'nobody', undef, 401, 'No token in the request' ],
	[ 'an anonymous token', $anon, 401, 'Unauthorized' ],
	[ 'no token at all', 'a.b.c', 401, 'The token provided is not a valid JWT' ],
	[ 'a forged one', WebSocket::token('x' x 32, sub => $ana), 401,
		'Failed to validate JWT signature' ],
	[ 'an expired one', $node->token($ana, exp => time - 100), 401,
		'Token has expired' ],
	[ 'another role', $node->token($ana, role => 'postgres'), 403,
		'Unauthorized' ])
{
	my ($name, $token, $status, $error) = @$case;

	answers($name, $http->get($token, '/v1/conversations'), $status,
		{ error => $error });
	answers("$name who sends",
		$http->post($token, $messages, { content => 'x' }), $status,
		{ error => $error });
}

# What cannot be understood

my $long = 'x' x 4097;
foreach my $case (
	[ 400, POST => $messages, {}, 'content is required' ],
	[ 400, POST => $messages, undef, 'content is required' ],
	[ 400, POST => $messages, { content => 5 }, 'content must be a string' ],
	[ 400, POST => $messages, { content => 'a', metadata => [] }, 'metadata must be an object' ],
	[ 400, POST => $messages, { content => 'a', more => 1 }, 'Unknown member in the body' ],
	[ 400, POST => $messages, '{"content":"a","content":"b"}', 'The body must be a JSON object' ],
	[ 400, POST => $messages, '{"content":"a"', 'The body must be a JSON object' ],
	[ 400, POST => $messages, '"a"', 'The body must be a JSON object' ],
	[ 400, POST => $messages, "{\"content\":\"\xff\"}", 'The body must be a JSON object' ],
	[ 400, POST => $messages, '{"content":"a\u0000"}', 'The body must be a JSON object' ],
	[ 400, POST => $messages, { content => ' ' }, 'Content must not be blank' ],
	[ 400, POST => $messages, { content => 'a', content_type => 'b' }, 'Invalid content type' ],
	[ 400, POST => $messages, { content => $long }, 'Content is too long' ],
	[ 400, POST => $messages, { content => 'a', reply_to_message_id => 'b' }, 'Invalid input syntax for type uuid: "b"' ],
	[ 409, POST => $messages, { content => 'a', reply_to_message_id => $nowhere }, 'The message that is replied to is not in the conversation' ],
	[ 400, POST => '/v1/conversations/1/messages', { content => 'a' }, 'The id in the path is not a UUID' ],
	[ 400, POST => '/v1/conversations//messages', { content => 'a' }, 'The id in the path is not a UUID' ],
	[ 400, POST => '/v1/conversations', {}, 'participants is required' ],
	[ 400, POST => '/v1/conversations', { participants => 'x' }, 'participants must be an array of strings' ],
	[ 400, POST => '/v1/conversations', { participants => [1] }, 'participants must be an array of strings' ],
	[ 400, POST => '/v1/conversations', { participants => ['x'] }, 'Invalid input syntax for type uuid: "x"' ],
	[ 400, POST => '/v1/conversations', { participants => [] }, 'A one-to-one conversation has two participants' ],
	[ 400, POST => "/v1/conversations/$talk/read", { up_to_seq => 'x' }, 'up_to_seq must be an integer' ],
	[ 400, POST => "/v1/conversations/$talk/read", { up_to_seq => -1 }, 'Argument "up_to_seq" must not be negative' ],
	[ 400, PATCH => $path, {}, 'content is required' ],
	[ 400, POST => "$path/report", {}, 'reason is required' ],
	[ 400, GET => "$messages?limit=0", undef, 'limit must be between 1 and 100' ],
	[ 400, GET => "$messages?limit=101", undef, 'limit must be between 1 and 100' ],
	[ 400, GET => "$messages?limit=ten", undef, 'limit must be between 1 and 100' ],
	[ 400, GET => "$messages?before=yesterday", undef, 'before must be a time (ISO 8601)' ],
	[ 400, GET => "$messages?before=infinity", undef, 'before must be a time (ISO 8601)' ],
	[ 400, GET => "$messages?before_seq=-1", undef, 'before_seq must be an integer' ],
	[ 400, GET => "$messages?offset=1", undef, 'Unknown parameter in the query' ],
	[ 400, GET => "$messages?before_seq=3&after_seq=1", undef, 'Only one of "before", "before_seq" and "after_seq" may be given' ],
	[ 400, GET => "$messages?since_version=1&before_seq=2", undef, 'since_version excludes before, before_seq and after_seq' ],
	[ 400, GET => '/v1/conversations?include_archived=1', undef, 'include_archived must be true or false' ])
{
	my ($status, $method, $where, $body, $error) = @$case;
	my $answer = $http->request($method, $ana, $where, $body);

	is($answer->{status}, $status, "$method: $error") or diag($where);
	is($answer->{json}{error}, $error, '... as it says');
}
answers('a tag that is none',
	$http->patch($ana, $path, { content => 'x' }, If_Match => 'W/"1"'), 400,
	{ error => 'If-Match must be one ETag of this message' });
answers('a key that is too long',
	$http->post($ana, $messages, { content => 'x' },
		Idempotency_Key => 'k' x 65), 400,
	{ error => 'Idempotency-Key must have 1 to 64 characters' });

# The rules of HTTP

foreach my $case (
	[ '/v1/conversations', 'GET, HEAD, POST', 'PUT', 'PATCH', 'DELETE' ],
	[ "/v1/conversations/$talk", 'GET, HEAD', 'POST', 'PUT', 'DELETE' ],
	[ $messages, 'GET, HEAD, POST', 'PUT', 'DELETE' ],
	[ $path, 'PATCH, DELETE', 'GET', 'POST', 'PUT' ],
	[ "/v1/conversations/$talk/read", 'POST', 'GET', 'PUT' ],
	[ "$path/report", 'POST', 'GET', 'DELETE' ])
{
	my ($where, $methods, @others) = @$case;

	foreach my $method (@others)
	{
		my $answer = answers("$method $where",
			$http->request($method, $ana, $where), 405,
			{ error => 'Method Not Allowed' });
		is($answer->{headers}{allow}, "$methods, OPTIONS",
			'... and told what is');
	}

	my $asked = $http->request('OPTIONS', undef, $where, undef,
		Origin => 'https://example.org');
	is($asked->{status}, 204, "a page may ask for $where");
	is($asked->{headers}{'access-control-allow-origin'},
		'https://example.org', '... from its origin');
	is($asked->{headers}{'access-control-allow-methods'},
		"$methods, OPTIONS", '... and is told the methods');
	like($asked->{headers}{'access-control-allow-headers'}, qr/\b$_\b/,
		"... and that it may send $_")
	  foreach qw(authorization idempotency-key if-match);
	is($http->request('OPTIONS', undef, $where, undef,
			Origin => 'https://example.com')->{status}, 403,
		'... but not from another');
}
my $page = $http->get($ana, '/v1/conversations', undef,
	Origin => 'https://example.org');
like($page->{headers}{'access-control-expose-headers'}, qr/\b$_\b/,
	"a page may read $_") foreach qw(ETag Location Retry-After X-Request-Id);
is($http->post($ana, $messages, { content => 'x' },
		Origin => 'https://example.com')->{status}, 403, '... of its origin');

answers('another path', $http->get($ana, '/v1/users'), 404);
answers('another type of body',
	$http->post($ana, $messages, 'content=x',
		Content_Type => 'application/x-www-form-urlencoded'), 415,
	{ error => 'Unsupported Media Type. Use application/json' });
answers('a body that is too large',
	$http->post($ana, $messages, { content => 'x' x 30000 }), 413,
	{ error => 'Payload too large' });
is($http->get($ana, '/v1/conversations', undef, X_Request_Id => 'mine.1')
	->{headers}{'x-request-id'}, 'mine.1', 'an id of the caller\'s is kept');
isnt($http->get($ana, '/v1/conversations', undef, X_Request_Id => 'a b')
	->{headers}{'x-request-id'}, 'a b', '... unless it is none');

# One connection for all of it; and one request at a time over it.

my $client = WebSocket->dial(port => $node->gateway_port);
my $request = "GET /v1/conversations HTTP/1.1\r\nHost: a\r\n"
  . 'Authorization: Bearer ' . $node->token($eve) . "\r\n";
for my $n (1 .. 3)
{
	$client->send_bytes("$request\r\n");
	$client->_read_until(
		sub { $client->{input} =~ s/\AHTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)*\r\n\[[^\r]*\]//s });
	pass("request $n over one connection");
}
$client->send_bytes("$request\r\n$request\r\n");
is($client->read_answer, 200, 'of two at once the first is answered');
like($client->{head}, qr/^Connection: close\r$/m, '... and no other');

# The rate limit

$node->append_conf('postgresql.conf', 'openhr_msg.rate_limit = 2');
$node->reload;
my @limited;
$node->wait_until(
	sub {
		@limited = map { $http->post($ben, $messages, { content => 'x' }) } 1 .. 3;
		return $limited[2]{status} == 429;
	},
	'the limit holds');
is($limited[2]{json}{error}, 'Too many messages', 'too many messages');
cmp_ok($limited[2]{headers}{'retry-after'}, '<=', 60, '... and when to retry');
cmp_ok($limited[2]{headers}{'retry-after'}, '>', 0, '... which is later');

# rpc, as PostgREST has it

sub rpc_fails
{
	my ($name, $answer, $status, $code, $message) = @_;

	is($answer->{status}, $status, "$name: $status")
	  or diag($answer->{content});
	is_deeply([ sort keys %{ $answer->{json} } ],
		[qw(code details hint message)], '... in PostgREST\'s form');
	is($answer->{json}{code}, $code, '... with its code');
	is($answer->{json}{message}, $message, '... and message')
	  if defined $message;
	return;
}

is($http->rpc($ana, 'send_message', { conversation_id => $talk, content => 'by rpc' })
	->{json}{content}, 'by rpc', 'a function that returns a row');
is(ref $http->rpc($ana, 'list_messages', { conversation_id => $talk })->{json},
	'ARRAY', '... a set');
is($http->rpc($ana, 'list_messages', { conversation_id => $talk, max => 1 },
		Accept => 'application/vnd.pgrst.object+json')->{json}{content},
	'by rpc', '... a set of one as an object');
rpc_fails('a set of more as an object',
	$http->rpc($ana, 'list_messages', { conversation_id => $talk },
		Accept => 'application/vnd.pgrst.object+json'), 406, 'PGRST116');
is($http->rpc($ben, 'remove_participant', { conversation_id => $other, profile_id => $ben })
	->{content}, 'true', '... a scalar');
is_deeply(contents($http->get($ana,
			"/rest/v1/rpc/list_messages?conversation_id=$talk&max=1")),
	['by rpc'], 'GET, where nothing is written');
rpc_fails('GET, where something is',
	$http->get($ana, "/rest/v1/rpc/mark_read?conversation_id=$talk"), 405,
	'25006');
foreach my $name (qw(authenticate uid stop_workers status apply_receipts
	send_messages uuid_v7 message_before_insert), 'x' x 70, "a'b", '%2e%2e')
{
	rpc_fails("function $name", $http->rpc($service, $name), 404, 'PGRST202');
}
rpc_fails('an argument that there is not',
	$http->rpc($ana, 'mark_read', { conversation_id => $talk, x => 1 }), 404,
	'PGRST202');
rpc_fails('an argument that is missing', $http->rpc($ana, 'mark_read'), 404,
	'PGRST202');
rpc_fails('a stranger', $http->rpc($eve, 'list_messages', { conversation_id => $talk }),
	403, '42501', 'not a participant of the conversation');
rpc_fails('an anonymous token',
	$http->rpc($anon, 'list_messages', { conversation_id => $talk }), 401,
	'42501');
rpc_fails('nobody', $http->rpc(undef, 'list_conversations'), 401, 'PGRST301',
	'No token in the request');
rpc_fails('no object', $http->post($ana, '/rest/v1/rpc/list_conversations', '[]'),
	400, 'PGRST102');
rpc_fails('filters', $http->post($ana, '/rest/v1/rpc/list_conversations?id=eq.1', {}),
	400, 'PGRST102');
rpc_fails('another method', $http->request('PUT', $ana, '/rest/v1/rpc/mark_read', {}),
	405, 'PGRST117');
rpc_fails('too many messages',
	$http->rpc($ben, 'send_message', { conversation_id => $talk, content => 'x' }),
	429, 'PT429', 'too many messages');
is($http->rpc($service, 'create_conversation',
		{ participants => [ $ana, $ben ], type => 'one_to_one', title => undef })
	->{status}, 200, 'an array and a null as arguments');

# Nothing that was said, or refused, is in the log.
unlike(slurp_file($node->logfile), qr/xxxx|maintenance|by rpc|rude|PANIC|ERROR/,
	'the log tells nothing of it');

$node->stop;
done_testing();
