# The disk of the WAL gets full: the server stops, and when there is room again
# everything that it promised is there.
#
# The disk is a small one in memory.  Mounting it takes a namespace of our own,
# in which we are root for a moment and then again who we were.

use strict;
use warnings;

my $disk;

BEGIN
{
	use Cwd qw(abs_path);
	use File::Temp;
	use Test::More;

	$disk = $ENV{FULL_DISK};
	if (!defined $disk)
	{
		my $dir = File::Temp->newdir;
		my $group = (split ' ', $))[0];
		my $enter = 'mount -t tmpfs -o size=112m openhr_msg "$FULL_DISK" &&'
		  . " exec unshare -U --map-user=$> --map-group=$group \"\$@\"";
		my @inside = (qw(unshare -r -m sh -c), $enter, 'sh');

		$ENV{FULL_DISK} = "$dir";
		plan skip_all => 'no disk can be mounted here'
		  if system(@inside, 'true') != 0;
		exit(system(@inside, $^X, abs_path($0)) == 0 ? 0 : 1);
	}
}

use GatewayCluster;
use Ledger;
use PostgreSQL::Test::Utils;

my $node = GatewayCluster->new('main');
my $wal = $node->data_dir . '/pg_wal';
my $ballast = "$disk/ballast";

system_or_bail('cp', '-a', $wal, "$disk/pg_wal");
system_or_bail('rm', '-r', $wal);
symlink "$disk/pg_wal", $wal or die "could not make a link: $!";
system_or_bail('fallocate', '-l', '48MB', $ballast);
$node->serve;

my $ledger = Ledger->new($node);

$ledger->survives(
	'a full disk',
	sub {
		my $filled = 0;

		$filled++ until $node->psql('postgres',
			"SELECT pg_logical_emit_message(false, 'x', 'x');
			SELECT pg_switch_wal()") || $filled > 20;
		$node->wait_until(sub { !-e $node->data_dir . '/postmaster.pid' },
			'the server gives up');
		like(slurp_file($node->logfile), qr/PANIC: .* No space left on device/,
			'the server gives up when there is no room for its WAL');
		$node->stop('immediate', fail_ok => 1);
		unlink $ballast;
		$node->start;
	});

$ledger->stop;
$node->stop;
done_testing();
