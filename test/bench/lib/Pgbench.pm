=pod

=head1 NAME

Pgbench - what the parts that measure SQL share

=head1 SYNOPSIS

  use Pgbench;
  make_rooms(20_000);
  my $tps = interleave(\%scripts, clients => 32);
  ratio($tps, 'send', 'bare');

Statements are run by pgbench, prepared.  What is compared runs in turns, in
several rounds, as the machine and its disk are never the same for long; what
counts is the median of the rounds' ratios.  BENCH_SECONDS and BENCH_ROUNDS
change how long a turn is and how many rounds there are.

=cut

package Pgbench;

use strict;
use warnings;

use Bench;
use Exporter 'import';
our @EXPORT = qw($ROOM $SENDER $BODY interleave make_rooms pgbench rate ratio
  run_pgbench speak_as);

my $SECONDS = $ENV{BENCH_SECONDS} || 2;
my $ROUNDS = $ENV{BENCH_ROUNDS} || 5;

# Rooms of two.  The ids of room :c and of its first member, in a script.
our $ROOM = "('00000000-0000-7000-8000-' || (100000000000 + :c))::uuid";
our $SENDER = "('00000000-0000-7000-8000-' || (200000000000 + 2 * :c))::uuid";
our $BODY = 'The interview went well, and they would like to see you once '
  . 'more. Are you free on Thursday afternoon? Best, Anna';

sub make_rooms
{
	my ($rooms) = @_;

	sql(<<~"END");
	SET session_replication_role = replica;
	CREATE FUNCTION pg_temp.id(class int, n int) RETURNS uuid LANGUAGE sql
	AS \$\$SELECT ('00000000-0000-7000-8000-' ||
		(class * 100000000000 + n))::uuid\$\$;
	INSERT INTO profiles (id)
	SELECT pg_temp.id(2, p) FROM generate_series(0, 2 * $rooms - 1) p;
	INSERT INTO conversations (id)
	SELECT pg_temp.id(1, c) FROM generate_series(0, $rooms - 1) c;
	INSERT INTO conversation_participants (conversation_id, profile_id)
	SELECT pg_temp.id(1, c), pg_temp.id(2, 2 * c + k)
	FROM generate_series(0, $rooms - 1) c, generate_series(0, 1) k;
	END
	sql('VACUUM ANALYZE');
	sql('CHECKPOINT');
	return;
}

# An expression that gives the session another identity, as PostgREST does
# with each request, and is true.  In a script it stands before what needs it.
sub speak_as
{
	my ($profile) = @_;

	return "set_config('request.jwt.claims', '{\"sub\":\"' || $profile"
	  . " || '\",\"role\":\"authenticated\"}', false) <> ''";
}

# Transactions a second of a script.  Options: clients,
# options (settings), database.
sub pgbench
{
	my ($script, %with) = @_;
	my $clients = $with{clients} || 1;
	my $file = "$ENV{TMPDIR}/script.$$";
	local $ENV{PGOPTIONS} = $with{options} // '';
	local $ENV{PGDATABASE} = $with{database} // $ENV{PGDATABASE};

	open my $out, '>', $file or die "could not write $file: $!\n";
	print $out $script;
	close $out or die "could not write $file: $!\n";

	my ($tps) = run_pgbench("-n -M prepared -c $clients -f $file");
	unlink $file;
	return $tps;
}

# Transactions a second, and how many they were.
sub run_pgbench
{
	my ($arguments) = @_;
	my $said = `pgbench -T $SECONDS $arguments 2>&1`;
	my ($tps) = $said =~ /^tps = ([\d.]+)/m;
	my ($count) = $said =~ /^number of transactions actually processed: (\d+)/m;

	die "pgbench:\n$said" if !$tps || $said =~ /ERROR|aborted/;
	return wantarray ? ($tps, $count) : $tps;
}

# Some scripts in turns: name => script, or name => [script, options of its
# own].  Returns name => [transactions a second in each round].
sub interleave
{
	my ($scripts, %with) = @_;
	my %tps;

	foreach (1 .. $ROUNDS)
	{
		foreach my $name (sort keys %$scripts)
		{
			my ($script, @options) =
			  ref $scripts->{$name} ? @{ $scripts->{$name} } : $scripts->{$name};
			push @{ $tps{$name} }, pgbench($script, %with, @options);
		}
	}
	return \%tps;
}

sub rate
{
	my ($tps, $name) = @_;

	return median(@{ $tps->{$name} });
}

sub ratio
{
	my ($tps, $name, $to) = @_;

	return median(map { $tps->{$name}[$_] / $tps->{$to}[$_] }
		  0 .. $#{ $tps->{$name} });
}

1;
