# The proxies of docs/proxies.md, as it has them but for ports and files: a
# WebSocket, a request and the health check pass, the metrics do not.

use strict;
use warnings;

use FindBin;
use GatewayCluster;
use HTTP::Tiny;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use WebSocket;

my $files = PostgreSQL::Test::Utils::tempdir;
my $document = slurp_file("$FindBin::Bin/../../docs/proxies.md");
my $node = GatewayCluster->new('main', 'openhr_msg.executors' => 1)->serve;
my $gateway = $node->gateway_port;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my $words;

IPC::Run::run([ qw(openssl req -x509 -newkey ec -pkeyopt
		ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext
		subjectAltName=DNS:localhost -keyout), "$files/key", '-out',
		"$files/cert" ], '>&' => \$words) or die $words;
append_to_file("$files/both", slurp_file("$files/cert") . slurp_file("$files/key"));

# The configuration under a heading, with our ports and files.
sub configuration
{
	my ($heading, %changes) = @_;
	my ($text) = $document =~ /^## $heading\n\n((?:(?: {4}.*)?\n)+)/m
	  or die "no $heading\n";

	$text =~ s/^ {4}//mg;
	foreach my $change (sort keys %changes)
	{
		$text =~ s/\Q$change\E/$changes{$change}/g or die "no $change\n";
	}
	return $text;
}

sub passes
{
	my ($name, $port, $program, @command) = @_;
	my $said = '';
	my $proxy = IPC::Run::start([ $program, @command ], '>&' => \$said);
	my $web = HTTP::Tiny->new(verify_SSL => 1, timeout => 20,
		SSL_options => { SSL_ca_file => "$files/cert" });
	my $base = "https://localhost:$port";

	$node->wait_until(
		sub { $web->get("$base/healthz")->{status} == 200 }, "$name serves");
	pass("$name: the health check passes");
	is($web->get("$base/metrics")->{status} =~ /^40[34]$/, 1,
		'... and the metrics do not');

	my $ws = $node->subscribe($ben, host => 'localhost', port => $port,
		tls => "$files/cert");
	$ws->join("room:$talk");
	$node->say($talk, $ana, "by $name");
	is($ws->next_event('postgres_changes')->{data}{record}{content},
		"by $name", '... a WebSocket hears a message');
	my $answer = $web->post(
		"$base/realtime/v1/api/broadcast/room%3A$talk/events/hello",
		{ headers => {
				'Content-Type' => 'application/json',
				'Authorization' => 'Bearer ' . $node->token($ana) },
			content => '{}' });
	is($answer->{status}, 202, '... a request passes');
	is($ws->next_event('broadcast')->{event}, 'hello', '... and is heard');
	is($ws->heartbeat, 'ok', '... the WebSocket is');
	$ws->close;
	$proxy->signal('TERM');
	$proxy->finish;
	return;
}

my $port = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$files/nginx.conf", <<"CONF"
daemon off;
pid $files/nginx.pid;
error_log stderr;
events {}
http {
	client_body_temp_path $files/body;
	proxy_temp_path $files/proxy;
	fastcgi_temp_path $files/fastcgi;
	uwsgi_temp_path $files/uwsgi;
	scgi_temp_path $files/scgi;
	access_log off;
CONF
	  . configuration('nginx',
		'127.0.0.1:4000' => "127.0.0.1:$gateway",
		'listen 443 ssl' => "listen 127.0.0.1:$port ssl",
		'server_name chat.example.org' => 'server_name localhost',
		'/etc/ssl/private/chat.example.org.pem' => "$files/cert",
		'/etc/ssl/private/chat.example.org.key' => "$files/key")
	  . "}\n");
passes('nginx', $port, '/usr/sbin/nginx', '-e', 'stderr', '-c',
	"$files/nginx.conf");

$port = PostgreSQL::Test::Cluster::get_free_port();
my $nobody = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$files/haproxy.cfg",
	configuration('HAProxy',
		'bind :443' => "bind 127.0.0.1:$port",
		'/etc/haproxy/chat.example.org.pem' => "$files/both",
		'10.0.0.11:4000' => "127.0.0.1:$gateway",
		'10.0.0.12:4000' => "127.0.0.1:$nobody"));
passes('HAProxy', $port, '/usr/sbin/haproxy', '-db', '-f',
	"$files/haproxy.cfg");

$node->stop;

done_testing();
