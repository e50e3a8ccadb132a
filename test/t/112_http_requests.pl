
# What becomes of requests when things go wrong: nothing of a caller is left to
# the next one, what is slow is given up, what dies is not done twice, who goes
# away is not worked for, and what was acknowledged is there after a crash.

use strict;
use warnings;

use GatewayCluster;
use HttpClient;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

my $node = GatewayCluster->new('main', 'openhr_msg.executors' => 2,
	'max_wal_senders' => 2)->serve;
my $http = HttpClient->new($node);
my ($ana, $ben, $eve) = map { $node->person($_) } qw(Ana Ben Eve);
my $service = WebSocket::token($GatewayCluster::SECRET, role => 'service_role');
my $anon = WebSocket::token($GatewayCluster::SECRET, role => 'anon');
my $talk = $node->conversation($ana, $ben);
my $messages = "/v1/conversations/$talk/messages";

# The executor that serves requests: with two, it is the second one.
sub executor
{
	return $node->value("SELECT pid FROM openhr_msg.status()
		WHERE worker = 'executor' AND number = 1");
}

# Whatever a session is asked about its caller, as the function sees it.
$node->value(q{
	CREATE FUNCTION openhr_msg.whoami() RETURNS json LANGUAGE sql STABLE
	AS $$SELECT json_build_object('uid', openhr_msg.uid(), 'user', current_user,
		'role', current_setting('role'), 'lent', current_setting('openhr_msg.identity'),
		'claims', nullif(current_setting('request.jwt.claims', true), '')::json->>'sub',
		'readonly', current_setting('transaction_read_only'))$$;
	CREATE FUNCTION openhr_msg.try_hard(what text) RETURNS text LANGUAGE plpgsql
	AS $$BEGIN
		EXECUTE what;
		RETURN current_user;
	END$$;
	CREATE FUNCTION openhr_msg.nap(seconds float8) RETURNS void LANGUAGE sql
	AS $$SELECT pg_sleep(seconds)$$;
	CREATE TABLE openhr_msg.traces (what text);
	CREATE FUNCTION openhr_msg.trace(what text, seconds float8 DEFAULT 0) RETURNS void LANGUAGE sql
	SECURITY DEFINER AS $$INSERT INTO openhr_msg.traces VALUES (what); SELECT pg_sleep(seconds)$$;
	REVOKE ALL ON FUNCTION openhr_msg.whoami(), openhr_msg.try_hard(text),
		openhr_msg.nap(float8), openhr_msg.trace(text, float8) FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION openhr_msg.whoami(), openhr_msg.try_hard(text),
		openhr_msg.nap(float8), openhr_msg.trace(text, float8)
	TO anon, authenticated, service_role;
});
my $pid = executor();

# Identity

sub whoami
{
	my ($who) = @_;
	my $json = $http->rpc($who, 'whoami')->{json};

	return [ @{$json}{qw(uid user role claims)} ];
}

my %is = (
	ana => [ $ana, [ $ana, 'authenticated', 'authenticated', $ana ] ],
	ben => [ $ben, [ $ben, 'authenticated', 'authenticated', $ben ] ],
	service => [ $service, [ undef, 'service_role', 'service_role', undef ] ],
	anon => [ $anon, [ undef, 'anon', 'anon', undef ] ]);
is_deeply(whoami($is{$_}[0]), $is{$_}[1], "$_ is who that is")
  foreach qw(ana service anon ben anon service ana);

# After all that a caller may try, and in whatever way it ends, the next one is
# who that is.
my $claims = '{"sub":"' . $ben . '","role":"authenticated"}';
foreach my $case (
	[ 'an error', 'SELECT 1/0', 400 ],
	[ 'settings', "SET request.jwt.claims = '$claims'; SET search_path = pg_temp; SET lock_timeout = 1", 200 ],
	[ 'local settings', "SET LOCAL request.jwt.claims = '$claims'", 200 ],
	[ 'another role', 'SET ROLE service_role', 403 ],
	[ 'another role for the transaction', 'SET LOCAL ROLE postgres', 403 ],
	[ 'no role', 'RESET ROLE', 403 ],
	[ 'another user', 'SET SESSION AUTHORIZATION anon', 403 ],
	[ 'the former user', 'RESET SESSION AUTHORIZATION', 403 ],
	[ 'an identity', "SET openhr_msg.identity = '9999999999 0 $ben authenticated'", 403 ],
	[ 'no identity', "SET openhr_msg.identity = ''", 200 ],
	[ 'everything reset', 'RESET ALL', 200 ],
	[ 'a savepoint', 'DO $do$BEGIN PERFORM 1/0; EXCEPTION WHEN OTHERS THEN NULL; END$do$', 200 ],
	[ 'a commit', 'COMMIT', 400 ],
	[ 'a held cursor', "DECLARE c CURSOR WITH HOLD FOR SELECT set_config('role', 'none', true)", 403 ],
	[ 'a table', 'CREATE TEMP TABLE t (a int)', 200 ],
	[ 'the table again, which did not stay', 'CREATE TEMP TABLE t (a int)', 200 ],
	[ 'a catalog of its own', 'CREATE TEMP VIEW pg_extension AS SELECT 1/0 AS extname', 200 ],
	[ 'a statement', 'PREPARE p AS SELECT 1', 200 ],
	[ 'the statement again', 'PREPARE p AS SELECT 1', 200 ],
	[ 'a lock', 'SELECT pg_advisory_lock(1)', 200 ],
	[ 'its own end', 'SELECT pg_terminate_backend(pg_backend_pid())', 403 ],
	[ 'its own cancel', 'SELECT pg_cancel_backend(pg_backend_pid())', 403 ])
{
	my ($name, $what, $status) = @$case;
	my $answer = $http->rpc($ana, 'try_hard', { what => $what });

	is($answer->{status}, $status, "$name: $status") or diag($answer->{content});
	foreach my $next (qw(anon service ben))
	{
		is_deeply(whoami($is{$next}[0]), $is{$next}[1],
			"... and then $next is who that is");
	}
}
is($node->value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0,
	'no lock is left');
is($http->rpc($ana, 'whoami')->{json}{readonly}, 'on',
	'what only reads, may only read');
is($http->rpc($ana, 'try_hard', { what => "SELECT openhr_msg.authenticate('x')" })
	->{status}, 403, 'nobody becomes somebody else by a token');
is_deeply(whoami($anon), $is{anon}[1], '... or stays it');
is(executor(), $pid, 'it was one executor all the time')
  or diag(slurp_file($node->logfile));

# A token that was good for the gateway is judged again where it counts.
is($http->post($ana, $messages, { content => 'before' })->{status}, 201,
	'a good token');
$node->value("INSERT INTO openhr_msg.token_revocations VALUES ('$eve', 'infinity')");
$node->value("INSERT INTO conversation_participants (conversation_id, profile_id)
	VALUES ('$talk', '$eve')");
is($http->get($eve, $messages)->{status}, 403, 'a revoked one');

# What takes too long

my $start = time;
my $slow = $http->rpc($ana, 'nap', { seconds => 60 });
is($slow->{json}{code}, '57014', 'what takes too long is cancelled');
cmp_ok(time - $start, '<', 8, '... soon');
my $lock = $node->background_psql('postgres');
$lock->query_safe("BEGIN; SELECT FROM conversations WHERE id = '$talk' FOR UPDATE");
$start = time;
my $locked = $http->post($ana, $messages, { content => 'waits' });
is($locked->{status}, 500, 'so is what waits for a lock');
is_deeply($locked->{json}, { error => 'Failed to send message' },
	'... of which no more is told');
cmp_ok(time - $start, '<', 6, '... soon');

# Meanwhile others are served, and memberships are read at once.
my $waiting = WebSocket->dial(port => $node->gateway_port);
my $body = '{"content":"is given up"}';
$waiting->send_bytes("POST $messages HTTP/1.1\r\nHost: a\r\n"
	  . 'Authorization: Bearer ' . $node->token($ana)
	  . "\r\nContent-Type: application/json\r\nContent-Length: "
	  . length($body) . "\r\n\r\n$body");
$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity
	WHERE pid = $pid AND wait_event_type = 'Lock')")
  or die 'nobody waits';
$start = time;
my $listener = $node->subscribe($ben);
cmp_ok(time - $start, '<', 1, 'a subscription does not wait behind a request');

# Who goes away

$waiting->close;
$start = time;
$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
	WHERE pid = $pid AND wait_event_type = 'Lock')")
  or die 'somebody waits';
cmp_ok(time - $start, '<', 1.5, 'who goes away is not waited for');
$lock->query_safe('COMMIT');
$lock->quit;
is($node->value("SELECT count(*) FROM messages WHERE content = 'is given up'"),
	0, '... and what was to be done is not');
is($http->post($ana, $messages, { content => 'next' })->{status}, 201,
	'the next request is not the one that is cancelled');

# Many that come and go, so that cancels meet requests of others.
my $failed = 0;
for my $round (1 .. 100)
{
	my $goes = WebSocket->dial(port => $node->gateway_port);
	my $text = '{"seconds":' . (rand(0.004)) . '}';

	$goes->send_bytes("POST /rest/v1/rpc/nap HTTP/1.1\r\nHost: a\r\n"
		  . 'Authorization: Bearer ' . $node->token($ana)
		  . "\r\nContent-Type: application/json\r\nContent-Length: "
		  . length($text) . "\r\n\r\n$text");
	sleep rand 0.004;
	$goes->close;
	$failed++ if $http->rpc($ben, 'nap', { seconds => 0.003 })->{status} != 204;
}
is($failed, 0, 'a cancel never meets another\'s request');

# An executor that dies

sub dies_meanwhile
{
	my ($function, $args) = @_;
	my $client = WebSocket->dial(port => $node->gateway_port);
	my $text = JSON::PP->new->encode($args);
	my $victim = executor();

	$client->send_bytes("POST /rest/v1/rpc/$function HTTP/1.1\r\nHost: a\r\n"
		  . 'Authorization: Bearer ' . $node->token($ana)
		  . "\r\nContent-Type: application/json\r\nContent-Length: "
		  . length($text) . "\r\n\r\n$text");
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity
		WHERE pid = $victim AND wait_event = 'PgSleep')")
	  or die 'it does not work';
	$node->value("SELECT pg_terminate_backend($victim, 10000)");
	return ($client->read_answer, $client->{body});
}

my ($status, $answer) = dies_meanwhile('trace', { what => 'once', seconds => 3 });
is($status, 500, 'a request whose executor dies fails');
like($answer, qr/It is not known whether this was done/, '... and says so');
$node->wait_until(
	sub { $http->rpc($ana, 'whoami')->{status} == 200 }, 'there is another');
is($node->value("SELECT count(*) FROM openhr_msg.traces WHERE what = 'once'"), 0,
	'... and is not done once more');
is_deeply(whoami($ben), $is{ben}[1], 'the next executor knows nobody');

# More than there is room for

my @many;
my $nap = '{"seconds":0.5}';
my $request = "POST /rest/v1/rpc/nap HTTP/1.1\r\nHost: a\r\n"
  . 'Authorization: Bearer ' . $node->token($ana)
  . "\r\nContent-Type: application/json\r\nContent-Length: "
  . length($nap) . "\r\n\r\n$nap";
for (1 .. 140)
{
	my $one = WebSocket->dial(port => $node->gateway_port);
	$one->send_bytes($request);
	push @many, $one;
}
my $over = WebSocket->dial(port => $node->gateway_port);
$over->send_bytes($request);
is($over->read_answer, 503, 'a profile has its part of the line');
like($over->{head}, qr/^Retry-After: \d+\r$/m, '... and is told to come again');
$_->close foreach @many;
$start = time;
is($http->rpc($ben, 'whoami')->{status}, 200, 'others are served');
cmp_ok(time - $start, '<', 3, '... soon, as those who left are not waited for');

# Durability: under load, the server is stopped at once, several times; what
# was acknowledged must be there.  The rest may be or not.
sub flood
{
	my ($seconds) = @_;
	my @clients = map { WebSocket->dial(port => $node->gateway_port) } 1 .. 16;
	my (%sent, @acknowledged);
	my $number = 0;
	my $end = time + $seconds;
	my $say = sub {
		my ($client) = @_;
		my $content = "flood-$seconds-" . ++$number;
		my $text = "{\"content\":\"$content\"}";

		$sent{$client} = $content;
		$client->send_bytes("POST $messages HTTP/1.1\r\nHost: a\r\n"
			  . 'Authorization: Bearer ' . $node->token($ana)
			  . "\r\nContent-Type: application/json\r\nContent-Length: "
			  . length($text) . "\r\n\r\n$text");
	};
	my $stopped = 0;

	$say->($_) foreach @clients;
	while (@clients)
	{
		my @alive;

		if (!$stopped && time > $end)
		{
			$node->stop('immediate');
			$stopped = 1;
		}
		foreach my $client (@clients)
		{
			my $socket = $client->{socket};
			my $read = '';

			vec($read, fileno $socket, 1) = 1;
			if (select($read, undef, undef, 0.001))
			{
				my $n = sysread $socket, my $bytes, 65536;

				next if !$n;
				$client->{input} .= $bytes;
				if ($client->{input} =~ /\r\n\r\n.*\}$/s)
				{
					push @acknowledged, $sent{$client}
					  if $client->{input} =~ /^HTTP\/1\.1 201/;
					$client->{input} = '';
					$say->($client) if !$stopped;
				}
			}
			push @alive, $client;
		}
		@clients = $stopped && time > $end + 3 ? () : @alive;
	}
	return @acknowledged;
}

my $answered = 0;
for my $round (1 .. 3)
{
	$node->value('SELECT 1');
	my @acknowledged = eval { flood(1 + $round / 10) };
	die $@ if $@ && $@ !~ /Broken pipe|closed|reset/i;

	$node->start;
	$node->wait_until(sub { $node->is_listening }, 'the gateway listens');
	my %there = map { $_ => 1 } split /\n/,
	  $node->value("SELECT content FROM messages WHERE content LIKE 'flood%'");
	is_deeply([ grep { !$there{$_} } @acknowledged ], [],
		'nothing acknowledged is lost by a crash: ' . @acknowledged);
	$answered += @acknowledged;
}
cmp_ok($answered, '>', 50, 'something was acknowledged');

# A synchronous standby that is not there is waited for, as ordered: until then
# nothing is acknowledged.
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
$http = HttpClient->new($node);
sleep 0.5;
my @asked = map { my $one = WebSocket->dial(port => $node->gateway_port); $one->send_bytes(
		"POST $messages HTTP/1.1\r\nHost: a\r\n"
		  . 'Authorization: Bearer ' . $node->token($ana)
		  . "\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"content\":\"s\"}") && $one } 1 .. 4;
isnt($_->read_answer, 201, 'nothing is acknowledged without the standby')
  foreach @asked;
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->reload;
$node->wait_until(
	sub { $http->post($ana, $messages, { content => 'again' })->{status} == 201 },
	'it goes on');
pass('it goes on when no standby is asked for');

unlike(slurp_file($node->logfile), qr/left over|PANIC|TRAP|is given up/,
	'the log is in order');
$node->stop;
done_testing();
