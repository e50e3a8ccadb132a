=pod

=head1 NAME

Bench - what the parts of the benchmark share

=head1 SYNOPSIS

  use Bench;
  sql('INSERT ...');
  row('fan-out', 310_000, 'frames/CPU s', 0.9, '>= 0.85');

=cut

package Bench;

use strict;
use warnings;

use Exporter 'import';
our @EXPORT = qw(row sql median);

$| = 1;

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

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return $sorted[ $#sorted / 2 ] if @sorted % 2;
	return ($sorted[ @sorted / 2 - 1 ] + $sorted[ @sorted / 2 ]) / 2;
}

1;
