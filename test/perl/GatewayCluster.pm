=pod

=head1 NAME

GatewayCluster - a cluster whose gateway serves sockets

=head1 SYNOPSIS

  my $node = GatewayCluster->new('main', 'openhr_msg.max_connections' => 20);
  my $ana = $node->person('Ana');
  my $talk = $node->conversation($ana);
  my $ws = $node->connect($ana);

=head1 DESCRIPTION

A PostgreSQL::Test::Cluster with the extension, people, conversations, and
WebSockets to its gateway.

=cut

package GatewayCluster;

use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(sleep time);
use WebSocket;

our @ISA = qw(PostgreSQL::Test::Cluster);
our $SECRET = 'a secret of a private test cluster, long enough';

# Settings as given; undef leaves one of ours out.  install_path is none: there
# is another installation of the server.
sub new
{
	my ($class, $name, %settings) = @_;
	my $path = delete $settings{install_path};
	my $self = PostgreSQL::Test::Cluster->new($name,
		defined $path ? (install_path => $path) : ());
	my %all = (
		'wal_level' => 'logical',
		'shared_preload_libraries' => "'openhr_msg'",
		'max_worker_processes' => 16,
		'autovacuum' => 'off',
		'log_statement' => 'none',
		'openhr_msg.port' => PostgreSQL::Test::Cluster::get_free_port(),
		'openhr_msg.jwt_secret' => "'$SECRET'",
		'openhr_msg.rate_limit' => 0,
		%settings);

	bless $self, $class;
	$self->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$self->append_conf('postgresql.conf',
		join "\n", map { "$_ = $all{$_}" } grep { defined $all{$_} } sort keys %all);
	$self->{gateway_port} = $all{'openhr_msg.port'};
	return $self;
}

# Start, create the extension, and wait until the gateway listens.
sub serve
{
	my ($self) = @_;

	$self->start;
	$self->create_extension;
	$self->wait_until(sub { $self->is_listening }, 'the gateway listens');
	return $self;
}

# With this month's partition, which is made when there is a message for it, so
# that no worker makes it while a test sends.
sub create_extension
{
	my ($self) = @_;

	$self->value('CREATE EXTENSION openhr_msg');
	$self->say($self->conversation($self->person('Nobody')), undef, 'first');
	$self->value('SELECT openhr_msg.create_partitions()');
	return;
}

sub gateway_port { return $_[0]{gateway_port} }

sub is_listening
{
	my ($self) = @_;

	return IO::Socket::INET->new(
		PeerAddr => '127.0.0.1',
		PeerPort => $self->gateway_port,
		Proto => 'tcp');
}

# Wait for a condition; dies when it does not come true.
sub wait_until
{
	my ($self, $condition, $what) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		die "waited in vain until $what\n" if time > $deadline;
		sleep 0.05;
	}
	return 1;
}

sub value { return $_[0]->safe_psql('postgres', $_[1]) }

# A column of status() for a kind of worker.
sub status
{
	my ($self, $column, $worker) = @_;

	return $self->value(
		"SELECT $column FROM openhr_msg.status() WHERE worker = '$worker' LIMIT 1");
}

# End a worker and wait until it works again, as another process.
sub terminate
{
	my ($self, $worker) = @_;
	my $pid = $self->status('pid', $worker);

	$self->value("SELECT pg_terminate_backend($pid, 10000)");
	$self->wait_until(
		sub {
			$self->status("pid <> $pid AND state = 'running'", $worker) eq 't';
		},
		"the $worker is back");
	return;
}

sub person
{
	my ($self, $name) = @_;

	return $self->value("INSERT INTO profiles (id, display_name)
		VALUES (gen_random_uuid(), '$name') RETURNING id");
}

# A conversation of some people.
sub conversation
{
	my ($self, @people) = @_;
	my $id =
	  $self->value("INSERT INTO conversations (type, created_by)
		VALUES ('group', '$people[0]') RETURNING id");

	$self->value("INSERT INTO conversation_participants
		(conversation_id, profile_id) VALUES " . join ',',
		map { "('$id', '$_')" } @people);
	return $id;
}

sub say
{
	my ($self, $conversation, $profile, $content) = @_;
	my $sender = defined $profile ? "'$profile'" : 'NULL';

	$self->value("INSERT INTO messages
		(conversation_id, sender_profile_id, content)
		VALUES ('$conversation', $sender, '$content')");
	return;
}

sub token
{
	my ($self, $profile, %claims) = @_;

	return WebSocket::token($SECRET, defined $profile ? (sub => $profile) : (),
		%claims);
}

sub connect
{
	my ($self, $profile, %args) = @_;

	return WebSocket->new(
		port => $self->gateway_port,
		token => $self->token($profile),
		%args);
}

# A connection that follows the messages of whatever its user is a member of.
sub subscribe
{
	my ($self, $profile, %args) = @_;
	my $ws = $self->connect($profile, %args);
	my $reply = $ws->join('all',
		{ postgres_changes =>
			  [ { event => '*', schema => 'public', table => 'messages' } ] });

	die "join failed\n" if $reply->{status} ne 'ok';
	return $ws;
}

1;
