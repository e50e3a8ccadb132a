# Several gateways share one port, and every one of them gets every event.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = GatewayCluster->new('main', 'openhr_msg.gateways' => 3)->serve;
my $ana = $node->person('Ana');
my $talk = $node->conversation($ana);

$node->wait_until(
	sub {
		$node->value("SELECT count(*) FROM openhr_msg.status()
			WHERE worker = 'gateway' AND state = 'running'") == 3;
	},
	'all gateways run');

my @clients = map { $node->subscribe($ana) } 1 .. 60;
is($node->value("SELECT count(*) FROM openhr_msg.status()
		WHERE worker = 'gateway' AND connections > 0"),
	3, 'the kernel gives each of them its share');

sub heard
{
	my ($content, @of) = @_;

	$node->say($talk, $ana, $content);
	return scalar grep {
		$_->next_event('postgres_changes')->{data}{record}{content} eq $content
	} @of;
}

is(heard('to all', @clients), 60, 'every client gets a message');

# The end of one is noticed by its own clients only.
my $lost = $node->value("SELECT connections FROM openhr_msg.status()
	WHERE worker = 'gateway' AND gateway = 1");
$node->value("SELECT pg_terminate_backend(pid, 10000) FROM openhr_msg.status()
	WHERE worker = 'gateway' AND gateway = 1");
$node->wait_until(
	sub {
		$node->value("SELECT count(*) FROM openhr_msg.status()
			WHERE worker = 'gateway' AND state = 'running'") == 3;
	},
	'the gateway is back');

my @left = grep { eval { $_->heartbeat } } @clients;
is(scalar(@left), 60 - $lost, "its $lost clients are cut, and nobody else");
is(heard('to those left', @left), scalar(@left), 'the others go on');
push @left, map { $node->subscribe($ana) } 1 .. 30;
is(heard('to old and new', @left), scalar(@left), '... with new ones');

$node->stop;
done_testing();
