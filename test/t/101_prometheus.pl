# The examples for Prometheus: its own tools have nothing against them, and a
# Prometheus that scrapes a live gateway sees an alert fire, and end.

use strict;
use warnings;

use FindBin;
use GatewayCluster;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $examples = "$FindBin::Bin/../../examples/monitoring";
my $home = PostgreSQL::Test::Utils::tempdir;
my $rules = slurp_file("$examples/alerts.yml");

# In its directory there is nothing but what it shall use.
sub promtool
{
	my (@command) = @_;
	my $words;
	my $good = IPC::Run::run([ 'promtool', @command ], '>&' => \$words,
		init => sub { chdir $home or die });

	diag $words unless $good;
	return $good;
}

append_to_file("$home/alerts.yml", $rules);
append_to_file("$home/prometheus.yml", slurp_file("$examples/prometheus.yml"));
append_to_file("$home/alerts_test.yml",
	slurp_file("$FindBin::Bin/../monitoring/alerts_test.yml"));
ok(promtool('check', 'config', 'prometheus.yml'), 'the configuration');
ok(promtool('check', 'rules', 'alerts.yml'), 'the rules');
ok(promtool('test', 'rules', 'alerts_test.yml'), 'they fire when they shall');

# Every metric that the rules and the dashboard speak of is there.

my $node = GatewayCluster->new('main', 'openhr_msg.executors' => 1)->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my %known = map { ($_ => 1) } split /\n/,
  $node->value('SELECT DISTINCT metric FROM openhr_msg.stats');
my $dashboard = slurp_file("$examples/grafana-dashboard.json");
my @expressions =
  map { $_->{expr} } map { @{ $_->{targets} } } @{ decode_json($dashboard)->{panels} };
my %used = map { ($_ => 1) }
  ("@expressions " . join ' ', $rules =~ /expr: (.*)/g) =~
  /\b((?:realtime|message|openhr_msg)_\w+)(?=[{\[]| [=<>]|\)| -)/g;
delete $used{openhr_msg_certificate_expiry_timestamp_seconds};	# without TLS
cmp_ok(scalar(keys %used), '>', 15, 'there are some');
is(join(' ', grep { !$known{$_} } sort keys %used), '', '... and all are known');

# Seconds in place of minutes.

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $gateway = $node->gateway_port;
unlink "$home/alerts.yml";
append_to_file("$home/alerts.yml",
	$rules =~ s/for: \d+m/for: 1s/gr =~ s/\[\d+m\]/[4s]/gr);
append_to_file("$home/live.yml", <<"YAML");
global: {scrape_interval: 500ms, evaluation_interval: 500ms}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: openhr_msg
    static_configs: [{targets: ['127.0.0.1:$gateway']}]
YAML
my $words = '';
my $prometheus = IPC::Run::start(
	[
		'prometheus', "--config.file=$home/live.yml",
		"--storage.tsdb.path=$home/data", "--web.listen-address=127.0.0.1:$port",
		'--log.level=warn'
	],
	'>&' => \$words);

sub ask
{
	my ($path) = @_;
	my $answer = HTTP::Tiny->new(timeout => 10)
	  ->get("http://127.0.0.1:$port/api/v1/$path");

	return $answer->{success} ? decode_json($answer->{content})->{data} : undef;
}

sub firing
{
	my $alerts = ask('alerts') or return '';

	return join ' ', sort map { $_->{labels}{alertname} }
	  grep { $_->{state} eq 'firing' } @{ $alerts->{alerts} };
}

# How many messages does it know of?
sub sent
{
	my $data = ask('query?query=realtime_messages_total') or return -1;
	my ($sent) = map { $_->{value}[1] }
	  grep { $_->{metric}{status} eq 'sent' } @{ $data->{result} };

	return $sent // -1;
}

my $reader = $node->subscribe($ben, pongs => 1);
$node->say($talk, $ana, 'hello');
$reader->next_event('postgres_changes');
my $sent = $node->value("SELECT value FROM openhr_msg.stats
	WHERE metric = 'realtime_messages_total' AND labels->>'status' = 'sent'");
$node->wait_until(sub { sent() == $sent }, 'Prometheus has our numbers');
pass('it scrapes the gateway');
is(firing(), '', 'nothing is wrong');

# Whatever is committed while the streamer stands still is late.
my $streamer = $node->status('pid', 'streamer');
kill STOP => $streamer;
$node->say($talk, $ana, "late $_") foreach 1 .. 3;
sleep 1.5;
kill CONT => $streamer;
$reader->next_event('postgres_changes') foreach 1 .. 3;
$node->wait_until(sub { firing() =~ /RealtimeLatencyHigh/ },
	'the alert of late messages fires');
pass('late messages are told of');
$node->wait_until(
	sub {
		$node->say($talk, $ana, 'in time');
		$reader->next_event('postgres_changes');
		return firing() eq '';
	},
	'the alert ends');
pass('... until they are in time again');

# No target answers.
$node->stop;
$node->wait_until(sub { firing() =~ /OpenhrMsgDown/ },
	'the alert of a missing gateway fires');
pass('that the gateway is gone is told, too');

$prometheus->signal('TERM');
$prometheus->finish;
unlike($words, qr/level=error/, 'Prometheus had nothing to complain of')
  or diag $words;

done_testing();
