# Tokens that are revoked while they are in use, on two gateways: at the place
# of the revocation among all commits, for ever, and no other ones.

use strict;
use warnings;

use GatewayCluster;
use PostgreSQL::Test::Utils;
use PsqlSession;
use Test::More;

my $node = GatewayCluster->new('main', 'openhr_msg.gateways' => 2)->serve;
my $ana = $node->person('Ana');
my $ben = $node->person('Ben');
my $talk = $node->conversation($ana, $ben);
my $old = $node->token($ana, iat => time - 100);

sub gateways_run
{
	$node->wait_until(
		sub {
			$node->value("SELECT count(*) FROM openhr_msg.status()
				WHERE worker = 'gateway' AND state = 'running'") == 2;
		},
		'both gateways run');
	return;
}

# A connection that has joined, or the reason why there is none.
sub subscribe
{
	my ($profile, $token, @more) = @_;
	my $ws = eval { $node->connect($profile, token => $token) };

	return $@ =~ /(Token has been revoked)/ ? $1 : "connection: $@" if !$ws;
	my $reply = $ws->join('all',
		{ postgres_changes =>
			  [ { event => '*', schema => 'public', table => 'messages' } ] },
		@more);

	return $reply->{status} eq 'ok' ? $ws : $reply->{response}{reason};
}

# What a client hears until its channel ends, and how that and the connection
# end.
sub hears_to_the_end
{
	my ($ws) = @_;
	my (@heard, $why);

	for (;;)
	{
		my $message = $ws->_next(sub { 1 });
		my ($event, $payload) = @$message[ 3, 4 ];

		push @heard, $payload->{data}{record}{content}
		  if $event eq 'postgres_changes';
		$why = $payload->{message}
		  if $event eq 'system' && $payload->{status} eq 'error';
		last if $event eq 'phx_close';
	}
	return (join(' ', @heard), $why, $ws->close_code);
}

sub hears
{
	my ($ws) = @_;

	return $ws->next_event('postgres_changes')->{data}{record}{content};
}

gateways_run();

# ---- while they are in use ----

my @others = map { subscribe($ben, $node->token($ben)) } 1 .. 6;
my @hers = map { subscribe($ana, $old) } 1 .. 12;
my $both = subscribe($ben, $node->token($ben),
	access_token => $node->token($ana, iat => time + 100));
is($node->value("SELECT count(*) FROM openhr_msg.status()
		WHERE worker = 'gateway' AND channels > 0"),
	2, 'clients are at both gateways');

$node->value("
	INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'before');
	BEGIN;
	INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'with');
	SELECT openhr_msg.revoke_tokens('$ana');
	COMMIT;
	INSERT INTO messages (conversation_id, content) VALUES ('$talk', 'after')");
my $revoked = $node->value("SELECT floor(extract(epoch FROM revoked_at))
	FROM openhr_msg.token_revocations WHERE profile_id = '$ana'");

foreach my $ws (@hers)
{
	my ($heard, $why, $code) = hears_to_the_end($ws);

	like($heard, qr/^(before)?$/, 'nothing of the revocation\'s commit, or later');
	is($why, 'Token has been revoked', '... and told why');
	is($code, 1008, '... and the connection is closed');
}
foreach my $ws (@others, $both)
{
	is(join(' ', map { hears($ws) } 1 .. 3),
		'before with after', 'other tokens go on');
}

# ---- afterwards ----

sub check_tokens
{
	my ($when) = @_;
	my $new = $node->token($ana, iat => $revoked + 1);
	my $ws = subscribe($ana, $new);

	like(subscribe($ana, $old), qr/Token has been revoked/,
		"$when: the old token is refused");
	like(subscribe($ana, $node->token($ana, iat => $revoked)),
		qr/Token has been revoked/, "$when: one of the same second, too");
	like(subscribe($ana, $node->token($ana, iat => undef)),
		qr/Token has been revoked/, "$when: one of an unknown time, too");
	like(subscribe($ana, $node->token($ana, role => 'service_role', iat => 1)),
		qr/Token has been revoked/, "$when: whatever its role");
	ok(ref $ws, "$when: a new one works");

	# A handshake with a token that is good for nothing, and a join.
	my $anon = $node->connect(undef, token => $node->token(undef, role => 'anon'));
	like(
		$anon->join('all',
			{ postgres_changes => [ { event => '*', schema => 'public' } ] },
			access_token => $old)->{response}{reason},
		qr/^InvalidJWTToken: Token has been revoked$/,
		"$when: no join with the old one");

	$ws->push_event('realtime:all', 'access_token', { access_token => $old }, '1');
	my (undef, $why) = hears_to_the_end_of_channel($ws);
	is($why, 'Token has been revoked', "$when: nor a refresh");

	my ($ret, undef, $error) = $node->psql('postgres',
		"SELECT openhr_msg.authenticate('$old')");
	like($error, qr/token has been revoked/, "$when: nor a session");
	($ret) = $node->psql('postgres', "SELECT openhr_msg.authenticate('$new')");
	is($ret, 0, "$when: but with the new one");
	return;
}

# The connection has a good token, and stays.
sub hears_to_the_end_of_channel
{
	my ($ws) = @_;
	my $why;

	for (;;)
	{
		my $message = $ws->_next(sub { 1 });

		$why = $message->[4]{message}
		  if $message->[3] eq 'system' && $message->[4]{status} eq 'error';
		last if $message->[3] eq 'phx_close';
	}
	is($ws->heartbeat, 'ok', 'the connection stays');
	return (undef, $why);
}

check_tokens('now');
$node->restart;
$node->wait_until(sub { $node->is_listening }, 'the gateway listens');
gateways_run();
check_tokens('after a restart');

# ---- by the profile itself ----

my $ws = subscribe($ben, $node->token($ben, iat => time - 5));
my $session = PsqlSession->new($node, 'postgres');
$session->ask("SELECT openhr_msg.authenticate('"
	  . $node->token($ben, iat => time - 5)
	  . "')");
my $rolled_back = $session->ask(
	"BEGIN; SELECT openhr_msg.revoke_tokens('$ben') > now(); ROLLBACK");
is($rolled_back, 't', 'revoked, and rolled back');
$node->say($talk, $ben, 'still here');
is(hears($ws), 'still here', '... which ends nothing');
$session->ask("SELECT openhr_msg.revoke_tokens('$ben')");
my (undef, $why, $code) = hears_to_the_end($ws);
is($why, 'Token has been revoked', 'a profile logs out everywhere');
$node->wait_until(
	sub { $session->ask('SELECT openhr_msg.uid()') =~ /token of this session has been revoked/ },
	'the session has noticed');
like($session->ask("SELECT openhr_msg.revoke_tokens('$ben')"),
	qr/has been revoked/, 'the session itself, too');
$session->finish;

$node->stop;
done_testing();
