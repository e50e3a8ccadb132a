
# Identities as far as they need a server of their own: keys in files, what a
# connection may bring along, the server's log, and a dump.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'the secret of the server in this test';
my $alice = 'a0000000-0000-0000-0000-000000000001';
my $keys = PostgreSQL::Test::Utils::tempdir();

# No database is served: this is about ordinary sessions.
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
my $port = PostgreSQL::Test::Cluster::get_free_port();
$node->append_conf(
	'postgresql.conf', qq{
wal_level = logical
shared_preload_libraries = 'openhr_msg'
max_worker_processes = 16
openhr_msg.database = 'nowhere'
openhr_msg.port = $port
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION openhr_msg');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');

# ---- helpers ----

sub write_file
{
	my ($name, $content) = @_;
	open my $file, '>', "$keys/$name" or die "$name: $!";
	print $file $content;
	close $file;
	return;
}

# Put one file in place of another at once, as a rotation should.
sub replace_file
{
	my ($name, $content) = @_;
	write_file("$name.new", $content);
	rename "$keys/$name.new", "$keys/$name" or die "$name: $!";
	return;
}

# A key pair in NAME.key and NAME.pub.
sub make_key
{
	my ($name, @algorithm) = @_;
	run_log([ 'openssl', 'genpkey', '-out', "$keys/$name.key", '-algorithm',
			@algorithm ]) or die;
	run_log([ 'openssl', 'pkey', '-in', "$keys/$name.key", '-pubout',
			'-out', "$keys/$name.pub" ]) or die;
	return;
}

# The last bytes of a public key in DER: on P-256 its coordinates.
sub ec_jwk
{
	my ($name, $kid) = @_;
	run_log([ 'openssl', 'pkey', '-pubin', '-in', "$keys/$name.pub",
			'-outform', 'DER', '-out', "$keys/$name.der" ]) or die;
	my $point = substr(slurp_file("$keys/$name.der"), -64);
	return {
		kty => 'EC', crv => 'P-256', kid => $kid,
		x => encode_base64url(substr($point, 0, 32)),
		y => encode_base64url(substr($point, 32)) };
}

sub rsa_jwk
{
	my ($name, $kid) = @_;
	my ($modulus) = run_command([ 'openssl', 'rsa', '-pubin', '-noout',
			'-modulus', '-in', "$keys/$name.pub" ]);
	$modulus =~ s/^Modulus=//;
	return {
		kty => 'RSA', use => 'sig', kid => $kid, e => 'AQAB',
		n => encode_base64url(pack('H*', $modulus)) };
}

sub key_set
{
	return encode_json({ keys => [@_] });
}

# r and s of a signature in DER, padded to 32 bytes each.
sub raw_ecdsa
{
	my ($der) = @_;
	my (undef, undef, undef, $rest) = unpack('C C C a*', $der);
	my ($r, $s) = unpack('C/a x C/a', $rest);
	return join '', map { substr(("\0" x 32) . $_, -32) } $r, $s;
}

# A token signed by a key of make_key, or by a secret.
sub make_token
{
	my ($key, $header, %claims) = @_;
	%claims = (
		role => 'authenticated', sub => $alice, exp => time() + 3600,
		%claims);
	my $text = join '.', map { encode_base64url(encode_json($_)) } $header,
	  \%claims;

	return $text . '.' . encode_base64url(hmac_sha256($text, $key))
	  if $header->{alg} eq 'HS256';

	write_file('text', $text);
	run_log([ 'openssl', 'dgst', '-sha256', '-sign', "$keys/$key.key",
			'-out', "$keys/signature", "$keys/text" ]) or die;
	my $signature = slurp_file("$keys/signature");
	$signature = raw_ecdsa($signature) if $header->{alg} eq 'ES256';
	return $text . '.' . encode_base64url($signature);
}

# The subject, or the first line of the error, as an ordinary role sees it.
sub authenticate
{
	my ($token) = @_;
	my ($ret, $stdout, $stderr) = $node->psql(
		'postgres',
		"SELECT openhr_msg.authenticate('$token') ->> 'sub'",
		connstr => $node->connstr('postgres') . ' user=app');
	return $stdout if $ret == 0;
	my ($error) = $stderr =~ /ERROR:  (.*)/;
	return $error;
}

# Set some, and all others of ours back.
sub configure
{
	my (%settings) = @_;
	foreach my $name (
		qw(jwt_secret jwt_secret_file jwt_jwks_file jwt_audience jwt_issuer))
	{
		my $value = $settings{$name} // '';
		$node->safe_psql('postgres',
			"ALTER SYSTEM SET openhr_msg.$name = '$value'");
	}
	$node->reload;
	my $value = $settings{jwt_issuer} // '';
	$node->poll_query_until('postgres',
		"SELECT current_setting('openhr_msg.jwt_issuer') = '$value'")
	  or die 'settings were not reloaded';
	return;
}

# Every configuration has an issuer of its own, so that configure() can wait.
my $nissuers = 0;

sub configure_keys
{
	my (%settings) = @_;
	my $issuer = 'issuer ' . ++$nissuers;
	configure(%settings, jwt_issuer => $issuer);
	return (iss => $issuer);
}

# ---- keys ----

make_key('rsa', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048');
make_key('rsa2', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048');
make_key('ec', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1');

my $hs = { alg => 'HS256' };
my $no_key = 'no key verifies this kind of token';
my $wrong = 'token has a wrong signature';

is(authenticate(make_token($secret, $hs)), $no_key, 'without keys nobody');

my @claims = configure_keys(jwt_secret => $secret);
is(authenticate(make_token($secret, $hs, @claims)), $alice, 'secret');
is(authenticate(make_token("$secret.", $hs, @claims)),
	$wrong, 'another secret');

write_file('secret', "$secret\n");
@claims = configure_keys(jwt_secret_file => "$keys/secret");
is(authenticate(make_token($secret, $hs, @claims)), $alice, 'secret file');

@claims = configure_keys(jwt_secret_file => "$keys/rsa.pub");
my $rs = { alg => 'RS256' };
is(authenticate(make_token('rsa', $rs, @claims)), $alice, 'RS256, PEM file');
is(authenticate(make_token('rsa2', $rs, @claims)), $wrong, 'another key');
is( authenticate(
		make_token(slurp_file("$keys/rsa.pub"), $hs, @claims)),
	$no_key,
	'HS256 with the public key as its secret');

@claims = configure_keys(jwt_secret_file => "$keys/ec.pub");
my $es = { alg => 'ES256' };
is(authenticate(make_token('ec', $es, @claims)), $alice, 'ES256, PEM file');
is(authenticate(make_token('rsa', $rs, @claims)),
	$no_key, 'RS256 where there is an EC key');

write_file('jwks', key_set(rsa_jwk('rsa', 'one'), ec_jwk('ec', 'two')));
@claims = configure_keys(
	jwt_secret => $secret,
	jwt_jwks_file => "$keys/jwks");
my $rs_one = { alg => 'RS256', kid => 'one' };
my $es_two = { alg => 'ES256', kid => 'two' };
is(authenticate(make_token('rsa', $rs_one, @claims)), $alice, 'RS256, kid');
is(authenticate(make_token('ec', $es_two, @claims)), $alice, 'ES256, kid');
is(authenticate(make_token('rsa2', $rs_one, @claims)),
	$wrong, 'another key under the same kid');
is( authenticate(
		make_token('rsa', { alg => 'RS256', kid => 'three' }, @claims)),
	$no_key,
	'unknown kid');
is(authenticate(make_token('ec', $es, @claims)),
	$alice, 'no kid, and one key that fits');
is(authenticate(make_token($secret, $hs, @claims)),
	$alice, 'a secret beside the key set');

# ---- rotation ----

# Within one session, without a reload: the file is looked at each time.
sub rotate_in_session
{
	my (@steps) = @_;
	my $script = join '', map {
		/^\\/ ? "$_\n" : "SELECT openhr_msg.authenticate('$_') IS NOT NULL;\n"
	} @steps;
	my ($ret, $stdout, $stderr) =
	  $node->psql('postgres', $script, on_error_stop => 0);
	my @errors = $stderr =~ /ERROR:  (.*)/g;
	return ($stdout, join('; ', @errors));
}

write_file('jwks.next', key_set(rsa_jwk('rsa2', 'one')));
my ($results, $errors) = rotate_in_session(
	make_token('rsa', $rs_one, @claims),
	"\\! mv $keys/jwks.next $keys/jwks",
	make_token('rsa', $rs_one, @claims),
	make_token('rsa2', $rs_one, @claims));
is($results, "t\nt", 'a new key is used at once');
is($errors, $wrong, '... and the old one no more');

# A set that cannot be used refuses everybody, until it is mended.
my $log_at = -s $node->logfile;
write_file('jwks.next', '{"keys": [{"kty": "RSA", "n": "hidden"}]}');
write_file('jwks.mended', key_set(rsa_jwk('rsa', 'one')));
($results, $errors) = rotate_in_session(
	make_token('rsa2', $rs_one, @claims),
	"\\! mv $keys/jwks.next $keys/jwks",
	make_token('rsa2', $rs_one, @claims),
	"\\! rm $keys/jwks",
	make_token('rsa2', $rs_one, @claims),
	"\\! mv $keys/jwks.mended $keys/jwks",
	make_token('rsa', $rs_one, @claims));
is($results, "t\nt", 'good before and after');
is( $errors,
	'the keys that verify tokens cannot be used; '
	  . 'the keys that verify tokens cannot be read',
	'a broken file and a missing one are errors');
my $log = slurp_file($node->logfile, $log_at);
like(
	$log,
	qr/DETAIL:  a key of type RSA in the key set is not valid/,
	'the log says what is wrong');
like(
	$log,
	qr/DETAIL:  File "\Q$keys\E\/jwks": No such file or directory\./,
	'... and where');
unlike($log, qr/hidden/, '... and nothing of the keys');

foreach my $case (
	[ 'null byte', "$secret\0$secret" ],
	[ 'too large', 'x' x 300_000 ],
	[ 'private key', slurp_file("$keys/rsa.key") ])
{
	my ($name, $content) = @$case;
	write_file('secret', $content);
	@claims = configure_keys(jwt_secret_file => "$keys/secret");
	like(
		authenticate(make_token($secret, $hs, @claims)),
		qr/^the keys that verify tokens cannot be/,
		"a secret file with a $name is an error");
}

# ---- rules ----

configure(
	jwt_secret => $secret,
	jwt_audience => 'chat',
	jwt_issuer => 'https://id.example.com');
my %good = (aud => 'chat', iss => 'https://id.example.com');
is(authenticate(make_token($secret, $hs, %good)), $alice,
	'audience and issuer');
is( authenticate(make_token($secret, $hs, %good, aud => [ 'x', 'y' ])),
	'token is meant for another audience',
	'another audience');
is( authenticate(make_token($secret, $hs, %good, iss => 'x')),
	'token comes from another issuer',
	'another issuer');

# ---- what must not be in the log ----

# Nobody asked for statements to be logged; an error shows its own by default.
$node->safe_psql('postgres', "ALTER SYSTEM SET log_statement = 'none'");
$node->reload;
$node->poll_query_until('postgres',
	"SELECT current_setting('log_statement') = 'none'") or die;
$log_at = -s $node->logfile;
my @refused = (
	make_token("$secret.", $hs, %good),
	make_token($secret, $hs, %good, aud => 'x'),
	make_token($secret, $hs, %good, exp => 1));
authenticate($_) foreach @refused;
$log = slurp_file($node->logfile, $log_at);
like($log, qr/token has a wrong signature/, 'refusals are in the log');
like($log, qr/token has expired/, '... all of them');
is(scalar(grep { index($log, $_) >= 0 } @refused), 0, '... without tokens');
unlike($log, qr/\Q$secret\E/, '... and without the secret');

# ---- what a connection brings along ----

sub connect_with
{
	my ($options, $sql) = @_;
	local $ENV{PGOPTIONS} = $options;
	my ($ret, $stdout, $stderr) = $node->psql('postgres', $sql,
		connstr => $node->connstr('postgres') . ' user=app');
	return ($ret, $stdout, $stderr);
}

my $forged = "4102444800\\ $alice\\ authenticated";
my ($ret, $stdout, $stderr) =
  connect_with("-c openhr_msg.identity=$forged", 'SELECT 1');
isnt($ret, 0, 'no connection with an identity in its options');
like(
	$stderr,
	qr/permission denied to set parameter "openhr_msg.identity"/,
	'... for the right reason');

($ret, $stdout, $stderr) = connect_with(
	qq{-c request.jwt.claims={"sub":"$alice"} -c request.jwt.claim.sub=$alice},
	q{SELECT current_setting('request.jwt.claims') <> '', openhr_msg.uid()});
is($stdout, 't|', 'claims in the options are not believed');

$log_at = -s $node->logfile;
$node->append_conf('postgresql.conf', "openhr_msg.identity = 'x'");
$node->reload;
ok( $node->poll_query_until(
		'postgres',
		q{SELECT count(*) = 1 FROM pg_file_settings
		  WHERE name = 'openhr_msg.identity' AND error IS NOT NULL}),
	'the configuration file cannot set an identity');
is($node->safe_psql('postgres', 'SELECT openhr_msg.uid() IS NULL'),
	't', '... and does not');
$node->adjust_conf('postgresql.conf', 'openhr_msg.identity', undef);
$node->reload;

# ---- dump and restore ----

# The function of the database must be there before the extension looks.
$node->safe_psql('postgres', 'CREATE DATABASE own TEMPLATE template0');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->safe_psql(
	'own', q{
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql
RETURN 'c0000000-0000-0000-0000-000000000003'::uuid;
CREATE EXTENSION openhr_msg;
});
foreach my $format (qw(plain custom))
{
	my $dump = "$keys/$format.dump";
	$node->command_ok(
		[ 'pg_dump', '--format', $format, '--file', $dump, 'own' ],
		"dump, $format");
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS copy');
	$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
	$node->command_ok(
		$format eq 'plain'
		? [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'copy' ]
		: [ 'pg_restore', '--exit-on-error', '--dbname', 'copy', $dump ],
		"restore, $format");
	is( $node->safe_psql('copy', 'SELECT auth.uid(), openhr_msg.uid()'),
		'c0000000-0000-0000-0000-000000000003|',
		'the database has its own function back');
}

$node->stop;
done_testing();
