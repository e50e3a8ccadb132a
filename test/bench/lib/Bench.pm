=pod

=head1 NAME

Bench - what the parts of the benchmark share

=head1 SYNOPSIS

  use Bench;
  sql('INSERT ...');
  my $hub = start_server('hub');
  my $run = load($hub, clients => 1000, rounds => 10);
  row('fan-out', 310_000, 'frames/CPU s', 0.9, '>= 0.85');

=cut

package Bench;

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use Time::HiRes qw(sleep time);
our @EXPORT = qw(row sql median best gateway start_server stop_server load);

$| = 1;

# Processes that we have started.
my %children;

END
{
	my $status = $?;

	stop_server({ pid => $_ }) foreach keys %children;
	$? = $status;
}

# A line of the result, see run.  What is undefined stays empty.
sub row
{
	my ($what, $measured, $unit, $ratio, $budget) = @_;

	print join("\t", $what, map({ $_ // '' } rounded($measured), $unit,
			rounded($ratio), $budget)), "\n";
	return;
}

# Three digits are more than these measurements are worth.
sub rounded
{
	my ($number) = @_;

	return $number if !defined $number || $number eq '';
	return sprintf '%d', $number if abs($number) >= 100;
	return sprintf abs($number) >= 10 ? '%.1f' : '%.3f', $number;
}

# SQL through psql, as a superuser; returns what it prints.
sub sql
{
	my ($sql) = @_;

	open my $psql, '-|', 'psql', qw(-X -q -A -t -v ON_ERROR_STOP=1 -c), $sql
	  or die "could not run psql: $!\n";
	my $result = do { local $/; <$psql> };
	close $psql or die "psql has failed\n";
	chomp $result if defined $result;
	return $result;
}

# The server under test, for load(); the times of both its workers are told.
sub gateway
{
	my %pid = map { split /\|/ } split /\n/,
	  sql("SELECT worker, pid FROM openhr_msg.status() WHERE worker <> 'executor'");

	return {
		port => $ENV{GATEWAY_PORT},
		watch => [ "server=$pid{gateway}", "streamer=$pid{streamer}" ]
	};
}

sub free_port
{
	return IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
}

# Start a program that takes its port as its first argument, and wait until it
# listens.
sub start_server
{
	my ($program, @args) = @_;
	my @command = $program =~ /\.mjs$/ ? ('node', "$ENV{BENCH_BIN}/$program") : "$ENV{BENCH_BIN}/$program";
	my $port = free_port();
	my $deadline = time + 20;
	my $pid = fork // die "could not fork: $!\n";

	if ($pid == 0)
	{
		open STDOUT, '>&', \*STDERR;
		exec @command, $port, @args or die "could not run $program: $!\n";
	}
	$children{$pid} = 1;
	until (IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port))
	{
		die "$program does not listen\n" if time > $deadline;
		sleep 0.05;
	}
	return { port => $port, pid => $pid, watch => ["server=$pid"] };
}

sub stop_server
{
	my ($server) = @_;

	delete $children{ $server->{pid} };
	kill 'TERM', $server->{pid};
	waitpid $server->{pid}, 0;
	return;
}

# Run the load tool against a server; returns what it tells.  That everything
# has arrived is not a matter of speed: else it dies.
sub load
{
	my ($server, %options) = @_;
	my @command = (
		"$ENV{BENCH_BIN}/load", "--port=$server->{port}",
		map({ "--watch=$_" } @{ $server->{watch} }),
		map({ (my $name = $_) =~ tr/_/-/;
				"--$name" . (defined $options{$_} ? "=$options{$_}" : '') }
			sort keys %options));
	my %result;

	print STDERR "@command\n";
	open my $load, '-|', @command or die "could not run load: $!\n";
	while (my $line = <$load>)
	{
		print STDERR "  $line";
		$result{$1} = $2 if $line =~ /^(\S+) (\S+)$/;
	}
	close $load or die "messages are missing, or came twice\n";
	return \%result;
}

# Of times that the machine's other work can only make longer.
sub best
{
	my ($best) = sort { $a <=> $b } @_;

	return $best;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return $sorted[ $#sorted / 2 ] if @sorted % 2;
	return ($sorted[ @sorted / 2 - 1 ] + $sorted[ @sorted / 2 ]) / 2;
}

1;
