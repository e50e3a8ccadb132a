# The gateway among the other workers: it waits for its port, follows a
# reload, says good-bye, and loses nothing when others go and come back.

use strict;
use warnings;

use GatewayCluster;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use WebSocket;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $other = IO::Socket::INET->new(
	LocalAddr => '127.0.0.1',
	LocalPort => $port,
	Proto => 'tcp',
	ReuseAddr => 1,
	Listen => 1) or die "could not listen: $!";
my $node = GatewayCluster->new('main',
	'openhr_msg.port' => $port,
	'openhr_msg.max_queue_bytes' => "'16MB'",
	'openhr_msg.jwt_secret' => undef);

sub logged
{
	my ($pattern, $what) = @_;

	$node->wait_until(sub { slurp_file($node->logfile) =~ $pattern }, $what);
	pass($what);
	return;
}

sub count_logged { return scalar(() = slurp_file($node->logfile) =~ /$_[0]/g) }

# A port that is taken, and no key

$node->start;
$node->create_extension;
logged(qr/could not listen on address .*port $port: Address already in use/,
	'a port that is taken is logged');
logged(qr/HINT:  Is another server using port $port\?/, '... with a hint');
is($node->status('state', 'gateway'), 'starting', '... and shown');
logged(qr/no client can connect, because there is no key/,
	'that there is no key is logged');
sleep 2;
is(count_logged('Address already in use'), 1, 'both are tried quietly');
$other->close;
$node->wait_until(sub { $node->is_listening }, 'the gateway listens');
logged(qr/gateway 0 is listening on "localhost", port $port/,
	'the port is taken once it is free');
is(count_logged('there is no key'), 1, 'no restart was needed for that');

my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);

# Settings

sub refusal
{
	my ($token) = @_;
	my $ws = WebSocket->dial(port => $port);

	$ws->handshake(token => $token);
	return $ws->{body} // 'none';
}

sub accepts
{
	my ($token) = @_;

	my $answer =
	  eval { WebSocket->new(port => $port, token => $token)->heartbeat };

	return defined $answer && $answer eq 'ok';
}

sub reload
{
	$node->append_conf('postgresql.conf', $_) foreach @_;
	$node->reload;
	return;
}

like(refusal($node->token($ana)), qr/Failed to generate JWT signer/,
	'without a key nobody is let in');

reload("openhr_msg.jwt_secret = '$GatewayCluster::SECRET'");
$node->wait_until(sub { accepts($node->token($ana)) }, 'the key is known');
pass('a key is taken from a reload');

my $file = $node->data_dir . '/keys.json';
append_to_file($file, '{"keys": 7}');
my $before = $node->connect($ana);
reload("openhr_msg.jwt_jwks_file = '$file'");
logged(qr/the keys that verify tokens cannot be used/, 'bad keys are logged');
ok(accepts($node->token($ana)), '... and the old ones stay in force');
reload("openhr_msg.jwt_jwks_file = ''", "openhr_msg.jwt_secret = '" . 'n' x 40 . "'");
$node->wait_until(
	sub { accepts(WebSocket::token('n' x 40, sub => $ana)) }, 'the new key is known');
like(refusal($node->token($ana)), qr/Failed to validate JWT signature/,
	'a key that is replaced is worth nothing');
is($before->heartbeat, 'ok', 'a reload closes no connection');

reload("openhr_msg.jwt_secret = '$GatewayCluster::SECRET'",
	'openhr_msg.max_message_bytes = 2kB');
$node->wait_until(
	sub {
		my $ws = eval { $node->connect($ana) } or return 0;
		$ws->send_frame(1, 'x' x 3000);
		$ws->send_frame(8, '');		# answered at once, if that is allowed
		return ($ws->close_code // 0) == 1009;
	},
	'the limit of a message is known');
pass('a limit is taken from a reload');

# Idle

my @idle = map { $node->subscribe($_ % 2 ? $ana : $ben) } 1 .. 200;
sleep 1;
my $turns = $node->status('wakeups', 'gateway');
sleep 4;
$turns = $node->status('wakeups', 'gateway') - $turns;
cmp_ok($turns, '<=', 8, "200 idle connections: $turns wake-ups in 4 s");
$_->close foreach @idle;
$before->close;
$node->wait_until(
	sub { $node->status('connections', 'gateway') == 0 }, 'all are closed');
$turns = $node->status('wakeups', 'gateway');
sleep 4;
$turns = $node->status('wakeups', 'gateway') - $turns;
cmp_ok($turns, '<=', 2, "no connection: $turns wake-ups in 4 s");

# Others go and come back

my $reader = $node->subscribe($ana);

# The messages with these contents come next, each once.
sub hears
{
	my ($name, @contents) = @_;
	my @heard = map {
		$reader->next_event('postgres_changes')->{data}{record}{content}
	} @contents;

	is_deeply(\@heard, \@contents, $name);
	return;
}

$node->say($talk, $ben, 'one');
hears('a message', 'one');

my $gateway = $node->status('pid', 'gateway');
$node->value(
	"SELECT pg_terminate_backend((SELECT pid FROM openhr_msg.status()
		WHERE worker = 'streamer'), 10000)");
$node->say($talk, $ben, $_) foreach 'two', 'three';
hears('messages sent while there is no streamer', 'two', 'three');

$node->terminate('streamer');
$node->say($talk, $ben, 'four');
hears('nothing comes twice from a new one', 'four');

$node->value("INSERT INTO messages (conversation_id, sender_profile_id, content)
	SELECT '$talk', '$ben', 'row ' || n FROM generate_series(1, 3500) n");
hears('a transaction of 3,500 messages', map { "row $_" } 1 .. 3500);

foreach my $number (0, 1)
{
	$node->value("SELECT pg_terminate_backend(pid, 10000)
		FROM openhr_msg.status()
		WHERE worker = 'executor' AND number = $number");
	my $carl = $node->person("Carl $number");
	my $hall = $node->conversation($carl, $ben);
	my $new = $node->subscribe($carl);

	$node->say($hall, $ben, "hello $number");
	is($new->next_event('postgres_changes')->{data}{record}{content},
		"hello $number", "a join after executor $number has died");
}

is($node->status('pid', 'gateway'), $gateway, 'the gateway has not been restarted');

$node->value('DROP EXTENSION openhr_msg CASCADE');
is($reader->close_code, 1012, 'DROP EXTENSION sends the clients away');
$node->create_extension;
$ana = $node->person('Ana') unless $node->value(
	"SELECT count(*) FROM profiles WHERE id = '$ana'");
$talk = $node->conversation($ana);
$reader = $node->subscribe($ana);
$node->say($talk, $ana, 'again');
hears('a new extension is served by the same gateway', 'again');

# Good-bye

my @clients = ($reader, map { $node->connect($ana) } 1 .. 300);
$node->terminate('gateway');
is(scalar(grep { ($_->close_code // 0) == 1012 } @clients), 301,
	'a gateway that is terminated asks everybody to come back');
$node->wait_until(sub { $node->is_listening }, 'the gateway listens again');
is(count_logged('Address already in use'), 1, '... on its port, at once');

# Keys that are no good at the start leave a gateway that lets nobody in.
reload("openhr_msg.jwt_jwks_file = '$file'");
$node->terminate('gateway');
$node->wait_until(sub { $node->is_listening }, 'the gateway listens again');
like(refusal($node->token($ana)), qr/Failed to generate JWT signer/,
	'with bad keys from the start nobody is let in');
reload("openhr_msg.jwt_jwks_file = ''");
$node->wait_until(sub { accepts($node->token($ana)) }, 'the key is known');
pass('... until they are mended');

$node->stop;
done_testing();
