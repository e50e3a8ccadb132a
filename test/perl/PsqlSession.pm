=pod

=head1 NAME

PsqlSession - a psql that stays, for statements that wait

=head1 SYNOPSIS

  my $session = PsqlSession->new($node, 'postgres');
  $session->ask('BEGIN; SELECT ...');
  $session->enter('SELECT something_that_waits();');
  $session->pump;
  $session->finish;

=cut

package PsqlSession;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $node, $user) = @_;
	my $self = bless { in => '', out => '' }, $class;

	$self->{run} = IPC::Run::start(
		[ 'psql', '-X', '-q', '-A', '-t', '-d',
			$node->connstr('postgres') . " user=$user" ],
		'<', \$self->{in}, '>&', \$self->{out},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$self->{pid} = $self->ask('SELECT pg_backend_pid()');
	return $self;
}

sub pid { return $_[0]{pid} }

# Type a line and do not wait for what comes of it.
sub enter
{
	my ($self, $line) = @_;

	$self->{in} .= "$line\n";
	$self->pump;
	return;
}

# Run statements; returns what they and their errors say.
sub ask
{
	my ($self, $statements) = @_;

	$self->{out} = '';
	$self->enter("$statements;\n\\echo ===");
	$self->{run}->pump until $self->{out} =~ /^===$/m;
	return $self->{out} =~ s/\n?===\n\z//r;
}

sub pump { return $_[0]{run}->pump_nb }

# Wait until it has ended: its input is over, or the server has gone.
sub finish { return $_[0]{run}->finish }

1;
