=pod

=head1 NAME

PrivateInstallation - the server with libraries of ours that are built otherwise

=head1 SYNOPSIS

  my $path = PrivateInstallation::make($dir, '-fsanitize=address');
  my $node = GatewayCluster->new('main', install_path => $path);

=head1 DESCRIPTION

PostgreSQL finds its files by where its programs are.  So copies of these, in a
tree of the same shape that for the rest consists of links, are an installation
of their own: the installed libraries stay as they are.

=cut

package PrivateInstallation;

use strict;
use warnings;

use File::Basename;
use File::Path qw(make_path);

sub config
{
	my ($what) = @_;
	my $path = `$ENV{PG_CONFIG} --$what`;

	chomp $path;
	return $path;
}

sub run
{
	my (@command) = @_;

	system(@command) == 0 or die "failed: @command\n";
	return;
}

# Build the sources that are in the working directory with more options for
# the compiler; returns the installation's path.
sub make
{
	my ($dir, $options) = @_;

	$ENV{PG_CONFIG} //= 'pg_config';
	my ($bin, $lib, $share) = map { config($_) } qw(bindir pkglibdir sharedir);

	make_path("$dir/src", map { "$dir$_" } dirname($bin), $lib, $share);
	run('cp', '-a', $bin, "$dir$bin");
	foreach my $file (glob("$lib/* $share/*"))
	{
		symlink $file, "$dir$file";
	}

	run('cp', '-r', qw(Makefile openhr_msg.control sql src decoder bgworker),
		"$dir/src");
	run('find', "$dir/src", '-name', '*.[ob]*', '-type', 'f', '-delete');
	run('find', "$dir/src", '-name', '*.so', '-delete');
	run("make -s -j2 -C '$dir/src' all with_llvm=no COPT='$options'"
		  . " >'$dir/build.log' 2>&1");
	foreach my $file ('openhr_msg.so', 'bgworker/openhr_msg_worker.so')
	{
		my $to = "$dir$lib/" . basename($file);

		unlink $to;
		run('cp', "$dir/src/$file", $to);
	}
	return dirname("$dir$bin");
}

1;
