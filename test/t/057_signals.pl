# Broadcast and presence between several gateways: one order for all, whatever
# dies, and whatever the messages wait for.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use Test::More;

# (No commit waits for a standby where there can be none.)
my $node = GatewayCluster->new('main',
	'openhr_msg.gateways' => 3,
	max_wal_senders => 1)->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my $elsewhere = $node->conversation($ana);
my $topic = "room:$talk";
my $next_key = 'a';

sub gateways_run
{
	$node->wait_until(
		sub {
			$node->value("SELECT count(*) FROM openhr_msg.status()
				WHERE worker IN ('gateway', 'streamer') AND state = 'running'")
			  == 4;
		},
		'all gateways run');
	return;
}

# Somebody who is present, and looks who else is.
sub arrive
{
	my $client = { ws => $node->connect($ana), key => $next_key++, seen => {} };
	my $ws = $client->{ws};
	my $reply = $ws->join($topic,
		{ broadcast => { self => \1 },
			presence => { enabled => \1, key => $client->{key} } });

	die "join failed\n" if $reply->{status} ne 'ok';
	my $state = $ws->next_event('presence_state');
	$client->{seen}{$_} = 1 foreach keys %$state;
	$ws->reply($ws->push_event("realtime:$topic", 'presence',
			{ event => 'track', payload => {} }, '1'));
	return $client;
}

# Follow the differences until exactly these keys are seen.  Nobody may be
# seen to leave who is to stay.
sub sees
{
	my ($client, @keys) = @_;
	my $wanted = join ',', sort @keys;
	my %wanted = map { $_ => 1 } @keys;
	my $flapped = 0;

	while (join(',', sort keys %{ $client->{seen} }) ne $wanted)
	{
		my $diff = $client->{ws}->next_event('presence_diff');

		$client->{seen}{$_} = 1 foreach keys %{ $diff->{joins} };
		foreach my $key (keys %{ $diff->{leaves} })
		{
			delete $client->{seen}{$key} if !$diff->{joins}{$key};
			$flapped ||= $wanted{$key};
		}
	}
	return !$flapped;
}

sub all_see
{
	my ($clients, @keys) = @_;

	return scalar grep { sees($_, @keys) } @$clients;
}

sub say_it
{
	my ($client, $event) = @_;

	$client->{ws}->push_event("realtime:$topic", 'broadcast',
		{ type => 'broadcast', event => $event, payload => {} }, '1');
	return;
}

# What a client hears, up to an event.
sub hears
{
	my ($client, $last) = @_;
	my @heard;

	do
	{
		push @heard, $client->{ws}->next_event('broadcast')->{event};
	} until $heard[-1] eq $last;
	return join ' ', @heard;
}

sub keys_of { return map { $_->{key} } @_ }

gateways_run();
my @clients = map { arrive() } 1 .. 24;
is($node->value("SELECT count(*) FROM openhr_msg.status()
		WHERE worker = 'gateway' AND connections > 0"),
	3, 'there are clients at each gateway');
is(all_see(\@clients, keys_of(@clients)), 24, 'everybody sees everybody');

# All speak at once, and are heard in one order.
foreach my $round (1 .. 5)
{
	say_it($_, "$_->{key}$round") foreach @clients;
}
$clients[0]{ws}->heartbeat;
say_it($clients[0], 'end');
my %orders;
foreach my $client (@clients)
{
	my @heard = split / /, hears($client, 'end');

	# Others may be heard after the end; wait for all.
	push @heard, $client->{ws}->next_event('broadcast')->{event}
	  while @heard < 24 * 5 + 1;
	$orders{ join ' ', @heard }++;
}
is(scalar(keys %orders), 1, 'everybody hears all in the same order');

# A commit that cannot be seen yet holds up messages, and nothing else.
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
$node->wait_until(
	sub {
		$node->value('SHOW synchronous_standby_names') eq 'nobody';
	},
	'commits wait for a standby');
my $waiting = IPC::Run::start(
	[
		'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c',
		"INSERT INTO messages (conversation_id, content)
		 VALUES ('$talk', 'held up')"
	]);
$node->wait_until(
	sub {
		$node->value("SELECT count(*) FROM pg_stat_activity
			WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'")
		  == 1;
	},
	'a commit waits');
my $turns = $node->status('wakeups', 'streamer');
$node->value("SET synchronous_commit = local;
	UPDATE conversations SET title = 'behind it'
	WHERE id = '$elsewhere'");
$node->wait_until(
	sub { $node->status('wakeups', 'streamer') > $turns + 10 },
	'the streamer waits for the commit');
say_it($clients[1], 'meanwhile');
is(scalar(grep { hears($_, 'meanwhile') eq 'meanwhile' } @clients),
	24, 'a commit that waits does not hold up broadcasts');
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->reload;
IPC::Run::finish($waiting);

# The streamer dies: nobody is seen to leave, and all goes on.
$node->terminate('streamer');
push @clients, arrive();
is(all_see(\@clients, keys_of(@clients)),
	25, 'nobody leaves with the streamer');
say_it($clients[2], 'still here');
is(scalar(grep { hears($_, 'still here') eq 'still here' } @clients),
	25, 'and everybody is heard');

# A gateway dies: those at it leave, and nobody else.
$node->value("SELECT pg_terminate_backend(pid, 10000) FROM openhr_msg.status()
	WHERE worker = 'gateway' AND gateway = 1");
my (@left, @lost);
foreach my $client (@clients)
{
	my $there = eval { $client->{ws}->heartbeat };

	push @{ $there ? \@left : \@lost }, $client;
}
ok(@lost > 0 && @left > 0, scalar(@lost) . ' clients are cut');
is(all_see(\@left, keys_of(@left)),
	scalar(@left), 'they are seen to leave, and nobody else');
gateways_run();
push @left, map { arrive() } 1 .. 12;
is(all_see(\@left, keys_of(@left)),
	scalar(@left), 'its next life knows everybody, and is known');

# A quick reload that ends at whatever gateway is no leave.
my $watch = shift @left;
foreach my $client (@left)
{
	$client->{ws}->close;
}
my @back = map { $next_key = $_->{key}; arrive() } @left;
my $still = sees($watch, keys_of($watch, @left));
is(all_see(\@back, keys_of($watch, @left)),
	scalar(@back), 'those who come back are all there');
ok($still, '... for everybody, all the time');

$node->stop;
done_testing();
