
# docs/openapi.json against the server: it has exactly the routes that the
# server has, and what the server answers is what it says.

use strict;
use warnings;

use FindBin;
use GatewayCluster;
use HttpClient;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use WebSocket;

my $doc = JSON::PP->new->utf8->decode(
	slurp_file("$FindBin::Bin/../../docs/openapi.json"));
my $node = GatewayCluster->new('main')->serve;
my $http = HttpClient->new($node);
my ($ana, $ben, $eve) = map { $node->person($_) } qw(Ana Ben Eve);
my $service = WebSocket::token($GatewayCluster::SECRET, role => 'service_role');
my $talk = $http->post($ana, '/v1/conversations', { participants => [$ben] })
  ->{json}{id};
my $message = $http->post($ana, "/v1/conversations/$talk/messages",
	{ content => 'hello' })->{json}{id};
my %id = ('/v1/messages' => $message, '/v1/conversations' => $talk);

# A part of the document, or what it refers to.
sub resolve
{
	my ($part) = @_;

	while (ref $part eq 'HASH' && exists $part->{'$ref'})
	{
		my $target = $doc;

		$target = $target->{$_} // die "no $part->{'$ref'}\n"
		  foreach grep { $_ ne '#' } split m{/}, $part->{'$ref'};
		$part = $target;
	}
	return $part;
}

sub type_of
{
	my ($value) = @_;

	return 'null' if !defined $value;
	return 'boolean' if JSON::PP::is_bool($value);
	return { HASH => 'object', ARRAY => 'array' }->{ ref $value } if ref $value;
	return JSON::PP->new->allow_nonref->encode($value) =~ /^"/ ?
	  'string' : 'integer';
}

# What is wrong with a value, by a schema; an empty list: nothing.
sub problems
{
	my ($value, $schema, $where) = @_;
	my @found;

	$schema = resolve($schema);
	if ($schema->{oneOf})
	{
		return if 1 == grep { !problems($value, $_, $where) } @{ $schema->{oneOf} };
		return "$where is not one of several";
	}
	if (my $type = $schema->{type})
	{
		my $actual = type_of($value);

		return "$where is $actual"
		  if !grep { $_ eq $actual } ref $type ? @$type : $type;
	}
	return if !defined $value;
	push @found, "$where is none of the words"
	  if $schema->{enum} && !grep { defined && $_ eq $value } @{ $schema->{enum} };
	push @found, "$where is no uuid"
	  if ($schema->{format} // '') eq 'uuid' && $value !~ /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
	push @found, "$where is no time"
	  if ($schema->{format} // '') eq 'date-time' && $value !~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
	if (ref $value eq 'HASH')
	{
		push @found, "$where lacks $_"
		  foreach grep { !exists $value->{$_} } @{ $schema->{required} // [] };
		foreach my $name (sort keys %$value)
		{
			my $member = $schema->{properties}{$name};

			push @found, $member ?
			  problems($value->{$name}, $member, "$where.$name") :
			  exists $schema->{additionalProperties} ? "$where has $name" : ();
		}
	}
	if (ref $value eq 'ARRAY')
	{
		push @found, map { problems($_, $schema->{items}, "$where\[]") } @$value;
	}
	return @found;
}

is($doc->{openapi}, '3.1.0', 'OpenAPI 3.1');
my @refs = JSON::PP->new->canonical->encode($doc) =~ /"\$ref":"([^"]+)"/g;
ok(eval { resolve({ '$ref' => $_ }) }, "$_ is there")
  foreach do { my %seen; grep { !$seen{$_}++ } @refs };

# Every path has the methods that the server tells a browser of.
foreach my $path (sort keys %{ $doc->{paths} })
{
	my $place = $path =~ s/\{[^}]+\}/x/gr;
	my $told = $http->request('OPTIONS', undef, $place, undef, Origin => 'https://a')
	  ->{headers}{'access-control-allow-methods'} // '';
	my @documented = map { $_ eq 'get' ? qw(get head) : $_ }
	  grep { $_ ne 'parameters' } keys %{ $doc->{paths}{$path} };

	is_deeply([ sort split /, /, lc $told ], [ sort 'options', @documented ],
		"$path has its methods");
}

# The routes that docs/http.md lists are these, too.
my $reference = slurp_file("$FindBin::Bin/../../docs/http.md");
is_deeply(
	[ sort $reference =~ m{^\| `([A-Z]+ /v1/[^`]+)` \|}mg ],
	[ sort map { my $path = $_; map { uc($_) . " $path" }
		  grep { $_ ne 'parameters' } keys %{ $doc->{paths}{$path} } }
	  grep { m{^/v1/} } keys %{ $doc->{paths} } ],
	'docs/http.md lists the same routes');

# An answer is as the document says, its body and its headers.
sub fits
{
	my ($method, $path, $answer) = @_;
	my $name = "$method $path: $answer->{status}";
	my $operation = $doc->{paths}{$path}{ lc $method };
	my $response = resolve($operation->{responses}{ $answer->{status} });

	ok($response, "$name is documented") or return;
	is_deeply([ problems($answer->{json},
				$response->{content}{'application/json'}{schema}, 'body') ], [],
		"$name: its body");
	ok(defined $answer->{headers}{ lc $_ }, "$name: has $_")
	  foreach sort keys %{ $response->{headers} };
	return;
}

sub try
{
	my ($status, $method, $path, $who, $body, $query, %headers) = @_;
	my ($kind) = $path =~ m{^(/v1/\w+)};
	my $place = $path =~ s/\{id\}/$id{$kind}/r;
	my $answer = $http->request($method, $who, $place . ($query // ''), $body,
		%headers);

	is($answer->{status}, $status, "$method $path" . ($query // ''))
	  or diag($answer->{content});
	fits($method, $path, $answer);
	return $answer;
}

my $c = '/v1/conversations';
my $m = "$c/{id}/messages";
try(200, GET => $c, $ana);
try(200, GET => $c, $service);
try(400, GET => $c, $ana, undef, '?limit=0');
try(401, GET => $c, undef);
try(201, POST => $c, $ana, { participants => [$eve], type => 'group', title => 'x' });
try(400, POST => $c, $ana, {});
try(409, POST => $c, $ana, { participants => ['00000000-0000-0000-0000-000000000001'] });
try(200, GET => "$c/{id}", $ben);
try(403, GET => "$c/{id}", $eve);
try(201, POST => $m, $ben, { content => 'a', metadata => { b => 1 }, reply_to_message_id => $message },
	undef, Idempotency_Key => 'k');
try(409, POST => $m, $ben, { content => 'b' }, undef, Idempotency_Key => 'k');
try(400, POST => $m, $ben, { content => '' });
try(403, POST => $m, $eve, { content => 'a' });
try(413, POST => $m, $ben, { content => 'a' x 200000 });
try(415, POST => $m, $ben, 'a', undef, Content_Type => 'text/plain');
try(200, GET => $m, $ben, undef, $_)
  foreach '', '?limit=1', '?since_version=0', '?after_seq=0', '?before_seq=2';
try(400, GET => $m, $ben, undef, '?before=x');
try(200, POST => "$c/{id}/read", $ana, {});
try(403, POST => "$c/{id}/read", $eve, {});
try(200, PATCH => '/v1/messages/{id}', $ana, { content => 'b' });
try(412, PATCH => '/v1/messages/{id}', $ana, { content => 'c' }, undef, If_Match => '"1"');
try(404, PATCH => '/v1/messages/{id}', $eve, { content => 'c' });
try(403, PATCH => '/v1/messages/{id}', $ben, { content => 'c' });
try(201, POST => '/v1/messages/{id}/report', $ben, { reason => 'x' });
try(404, POST => '/v1/messages/{id}/report', $eve, { reason => 'x' });
try(412, DELETE => '/v1/messages/{id}', $ana, undef, undef, If_Match => '"1"');
try(200, DELETE => '/v1/messages/{id}', $ana);
try(409, PATCH => '/v1/messages/{id}', $ana, { content => 'c' });

# Each member of a body that it lists is taken, and no other.
foreach my $path (grep { m{^/v1/} } sort keys %{ $doc->{paths} })
{
	foreach my $method (qw(post patch))
	{
		my $operation = $doc->{paths}{$path}{$method} // next;
		my $schema = resolve($operation->{requestBody}{content}{'application/json'}{schema});
		my ($kind) = $path =~ m{^(/v1/\w+)};
		my $place = $path =~ s/\{id\}/$id{$kind}/r;

		foreach my $member (sort keys %{ $schema->{properties} }, 'nonsense')
		{
			my $error = $http->request(uc $method, $ben, $place, { $member => {} })
			  ->{json}{error} // '';
			my $known = $schema->{properties}{$member};

			is($error =~ /^Unknown member/ ? 'unknown' : 'known',
				$known ? 'known' : 'unknown', "$method $path: $member");
		}
	}
}

$node->stop;
done_testing();
