# TLS on the gateway's port: clients of several kinds, certificates that are
# replaced, and files that are no good.  (What the bytes may be is tested
# without a server, in test/unit/net_tls_test.c.)

use strict;
use warnings;

use GatewayCluster;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use WebSocket;

my $files = PostgreSQL::Test::Utils::tempdir;
my ($cert, $key) = ("$files/cert.pem", "$files/key.pem");

# A certificate of localhost; its authority is itself.
sub make_certificate
{
	my ($cert, $key, $days, $kind) = @_;
	my @kind = $kind eq 'rsa' ? ('rsa:2048') : ('ec', '-pkeyopt',
		'ec_paramgen_curve:P-256');

	my $words;

	IPC::Run::run([ 'openssl', 'req', '-x509', '-newkey', @kind, '-nodes',
			'-keyout', $key, '-out', $cert, '-days', $days, '-subj',
			'/CN=localhost', '-addext', 'subjectAltName=DNS:localhost' ],
		'>&' => \$words) or die $words;
	chmod 0600, $key;
	return;
}

make_certificate($cert, $key, 30, 'rsa');
my $node = GatewayCluster->new('main',
	'openhr_msg.executors' => 1,
	'openhr_msg.max_message_bytes' => "'1MB'",
	'openhr_msg.ssl_cert_file' => "'$cert'",
	'openhr_msg.ssl_key_file' => "'$key'")->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my $port = $node->gateway_port;

# Status and body by curl, or its exit code alone.
sub curl
{
	my (@args) = @_;
	my $out = '';

	IPC::Run::run([ 'curl', '-sS', '--max-time', 20, '-w', ' %{http_code}', @args ],
		'>' => \$out, '2>' => \my $err);
	return $? ? 'failed: ' . ($? >> 8) : $out;
}

my $curl_ok = qr/^\{"status":"ok".*\} 200$/;
my $health = "https://localhost:$port/healthz";

like(curl('--cacert', $cert, $health), $curl_ok, 'curl by TLS');
like(curl('--cacert', $cert, '--tls-max', '1.2', $health), $curl_ok,
	'... 1.2, too');
is(curl('--cacert', $cert, '--tls-max', '1.1', '--ciphers', 'ALL:@SECLEVEL=0',
		$health), 'failed: 35', '... but nothing older');
like(curl('--cacert', $cert, '--http2', $health), $curl_ok,
	'... and one who would speak HTTP/2');
is(curl("http://localhost:$port/healthz"),
	'{"error":"this port speaks TLS, use https or wss"} 400',
	'plain HTTP is told so');
is(curl($health), 'failed: 60', 'who does not know the authority leaves');

my $script = <<'JS';
const [cert, port, token] = process.argv.slice(1);
const https = require('https');
const ca = require('fs').readFileSync(cert);
const request = https.request({ host: 'localhost', port, ca,
	path: '/realtime/v1/websocket?vsn=2.0.0&apikey=' + token,
	headers: { Connection: 'Upgrade', Upgrade: 'websocket',
		'Sec-WebSocket-Version': 13,
		'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' } });
request.on('upgrade', (response, socket) => {
	console.log(response.statusCode, socket.getProtocol(), socket.authorized);
	socket.destroy();
});
request.on('response', (response) => { console.log(response.statusCode); response.destroy(); });
request.end();
JS
IPC::Run::run([ 'node', '-e', $script, $cert, $port, $node->token($ana) ],
	'>' => \my $said);
is($said, "101 TLSv1.3 true\n", 'Node.js upgrades to a WebSocket');

# Messages

my @tls = (host => 'localhost', tls => $cert);
my $ws = $node->subscribe($ben, @tls, pongs => 1);
$node->say($talk, $ana, 'a secret');
is($ws->next_event('postgres_changes')->{data}{record}{content}, 'a secret',
	'a WebSocket by TLS hears a message');
my $long = 'x' x 100000;
$node->value("INSERT INTO messages (conversation_id, content)
	SELECT '$talk', repeat('x', 100000) FROM generate_series(1, 6)");
my @heard = map { $ws->next_event('postgres_changes')->{data}{record}{content} } 1 .. 6;
is(scalar(grep { $_ eq $long } @heard), 6, '... and large ones');
is($ws->heartbeat, 'ok', '... and is heard');

sub number
{
	my ($name) = @_;

	return $node->value("SELECT sum(value) FROM openhr_msg.stats
		WHERE metric || labels = '$name'");
}

cmp_ok(number('openhr_msg_tls_handshakes_total{}'), '>=', 5,
	'handshakes are counted');
cmp_ok(number('openhr_msg_refused_total{"reason": "tls"}'), '>=', 1,
	'... and who was refused');
my $expiry = 'openhr_msg_certificate_expiry_timestamp_seconds{"gateway": "0"}';
my $days = sub { return sprintf '%.0f', (number($expiry) - time) / 86400 };
is($days->(), 30, 'when the certificate expires is told');

# What an idle connection costs

my $pid = $node->status('pid', 'gateway');

sub memory
{
	return slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+) kB/m ? $1 : die;
}

my @idle = map { $node->connect($ben, @tls) } 1 .. 6;
my $before = memory();
push @idle, map { $node->connect($ben, @tls) } 1 .. 200;
my $each = (memory() - $before) / 200;
note "an idle connection takes $each kB";
cmp_ok($each, '<', 25, 'an idle connection takes little memory');
$_->close foreach @idle;

# Another certificate

my $old = "$files/old.pem";
append_to_file($old, slurp_file($cert));

sub reloaded
{
	my ($log) = @_;
	my $offset = -s $node->logfile;

	$node->reload;
	$node->wait_for_log($log, $offset) if $log;
	return;
}

make_certificate($cert, $key, 60, 'ec');
reloaded();
$node->wait_until(sub { curl('--cacert', $cert, $health) =~ $curl_ok },
	'the new certificate is shown');
is(curl('--cacert', $old, $health), 'failed: 60', 'a new certificate is shown');
is($days->(), 60, '... which expires later');
$node->say($talk, $ana, 'still there?');
is($ws->next_event('postgres_changes')->{data}{record}{content},
	'still there?', '... and who was connected stays so');

# Files that are no good leave the old ones in force.

my $kept = qr/What held before stays in force/;
chmod 0640, $key;
reloaded(qr/private key file ".*" has group or world access\n.*$kept/);
like(curl('--cacert', $cert, $health), $curl_ok, 'a key that others can read');
chmod 0600, $key;
my $good = slurp_file($cert);
unlink $cert;
append_to_file($cert, 'no certificate');
reloaded(qr/could not load certificate file ".*": no start line\n.*$kept/);
append_to_file("$files/good.pem", $good);
like(curl('--cacert', "$files/good.pem", $health), $curl_ok,
	'a certificate that is none');
unlink $cert;
reloaded(qr/could not load certificate file ".*": No such file or directory/);
append_to_file($cert, slurp_file($old));
reloaded(qr/could not load private key file|is not that of the certificate/);
like(curl('--cacert', "$files/good.pem", $health), $curl_ok,
	'the key of another certificate');
is($ws->heartbeat, 'ok', 'nobody has noticed');

# At start they let nobody in.

my $start = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/Nobody can connect to gateway 0/, $start);
sleep 0.5;
ok(!$node->is_listening, 'a gateway without its certificate does not listen');
isnt($node->status('state', 'gateway'), 'running', '... and does not say so');
unlink $cert;
append_to_file($cert, $good);
reloaded(qr/gateway 0 is listening/);
like(curl('--cacert', $cert, $health), $curl_ok, '... until it has one');

# From TLS to none, for those who come from then on

$ws = $node->subscribe($ben, @tls);
$node->append_conf('postgresql.conf', "openhr_msg.ssl_key_file = ''");
reloaded(qr/TLS needs both/);
like(curl('--cacert', $cert, $health), $curl_ok, 'a certificate without a key');
$node->append_conf('postgresql.conf', "openhr_msg.ssl_cert_file = ''");
reloaded();
$node->wait_until(sub { curl("http://localhost:$port/healthz") =~ $curl_ok },
	'it speaks without TLS');
pass('a reload ends TLS');
is($ws->heartbeat, 'ok', '... not for those who were there');
is(number($expiry), '', '... and nothing is told of a certificate');

$node->stop;

unlike(slurp_file($node->logfile), qr/a secret|still there/, 'no text in the log');

done_testing();
