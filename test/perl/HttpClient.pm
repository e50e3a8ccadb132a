=pod

=head1 NAME

HttpClient - requests to a gateway, in somebody's name

=head1 SYNOPSIS

  my $http = HttpClient->new($node);
  my $answer = $http->post($ana, '/v1/conversations', { participants => [$ben] });
  is($answer->{status}, 201, 'opened');

=head1 DESCRIPTION

One connection that is kept open.  Bodies are Perl's data, or a text as it is
to be sent.  An answer has the fields of HTTP::Tiny, and "json", its content
as data.

=cut

package HttpClient;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;

my $json = JSON::PP->new->canonical->utf8->allow_nonref;

sub new
{
	my ($class, $node, %args) = @_;

	return bless {
		node => $node,
		base => 'http://127.0.0.1:' . $node->gateway_port,
		http => HTTP::Tiny->new(timeout => 30, %args)
	}, $class;
}

# who is a profile, a token ("a.b.c"), or undef: nobody.
sub request
{
	my ($self, $method, $who, $path, $body, %headers) = @_;
	my %all = map { (my $name = $_) =~ tr/_/-/; $name => $headers{$_} }
	  keys %headers;

	$all{Authorization} =
	  'Bearer ' . ($who =~ /\./ ? $who : $self->{node}->token($who))
	  if defined $who;
	$body = $json->encode($body) if ref $body;
	$all{'Content-Type'} //= 'application/json' if defined $body;

	my $answer = $self->{http}->request($method, $self->{base} . $path,
		{ headers => \%all, defined $body ? (content => $body) : () });

	$answer->{json} = eval { $json->decode($answer->{content}) };
	return $answer;
}

sub get { my ($self, @args) = @_; return $self->request('GET', @args) }
sub post { my ($self, @args) = @_; return $self->request('POST', @args) }
sub patch { my ($self, @args) = @_; return $self->request('PATCH', @args) }
sub delete { my ($self, @args) = @_; return $self->request('DELETE', @args) }

sub rpc
{
	my ($self, $who, $function, $args, %headers) = @_;

	return $self->post($who, "/rest/v1/rpc/$function", $args // {}, %headers);
}

1;
