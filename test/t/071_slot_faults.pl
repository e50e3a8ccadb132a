# The replication slot, and who reads it: lost, taken away, held up.  The
# tables are the log, so a client notices nothing of it, unless the gateways had
# to go, too.

use strict;
use warnings;

use GatewayCluster;
use Ledger;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = GatewayCluster->new('main')->serve;
my $ledger = Ledger->new($node, gaps => 1);

sub set
{
	my (%settings) = @_;

	$node->value("ALTER SYSTEM SET $_ = '$settings{$_}'")
	  foreach sort keys %settings;
	$node->reload;
	return;
}

sub reset_settings
{
	$node->value('ALTER SYSTEM RESET ALL');
	$node->reload;
	return;
}

# Fill segments of the WAL.
sub write_wal
{
	$node->value("SELECT pg_logical_emit_message(false, 'x', 'x');
		SELECT pg_switch_wal()") foreach 1 .. 4;
	return;
}

sub epoch { return $node->value('SELECT openhr_msg.slot_epoch()') }

# The fault costs the slot; those who have to connect again are given.
sub new_epoch
{
	my ($name, $again, $fault) = @_;
	my ($epoch, $joins);

	$ledger->survives(
		$name,
		sub {
			($epoch, $joins) = (epoch(), $ledger->joins);
			$fault->();
			$node->wait_until(sub { epoch() > $epoch }, 'the slot is replaced');
		});
	is($ledger->joins, $joins + $again, "... and $again connect again");
	return;
}

# Dropped the moment that nobody holds it.
new_epoch(
	'a slot dropped by hand', 0,
	sub {
		$node->wait_until(
			sub {
				my $pid = $node->status('pid', 'streamer');

				$node->value("SELECT pg_terminate_backend($pid, 10000)") if $pid;
				return !($node->psql('postgres',
						q{SELECT pg_drop_replication_slot('openhr_msg')}))[0];
			},
			'the slot is dropped');
	});

new_epoch(
	'a slot lost while the workers are away', 3,
	sub {
		$node->value('SELECT openhr_msg.stop_workers()');
		set('max_slot_wal_keep_size' => '1MB');
		write_wal();
		$node->value('CHECKPOINT');
		is($node->value('SELECT wal_status FROM openhr_msg.slot_status'),
			'lost', 'the slot is lost');
		reset_settings();
		$node->value('SELECT openhr_msg.start_workers()');
	});

# The server ends the streamer to invalidate its slot, and waits for that.
new_epoch(
	'a slot lost while its streamer stands still', 0,
	sub {
		my $pid = $node->status('pid', 'streamer');

		kill 'STOP', $pid;
		set('max_slot_wal_keep_size' => '1MB');
		write_wal();
		my $checkpoint = $node->background_psql('postgres');
		$checkpoint->query_until(qr/begun/, "\\echo begun\nCHECKPOINT;\n");
		$node->wait_for_log(qr/terminating process $pid to release replication slot/);
		kill 'CONT', $pid;
		$checkpoint->query_safe('SELECT');
		$checkpoint->quit;
		reset_settings();
	});

new_epoch(
	'a slot that lags too far', 0,
	sub {
		my $session = $node->background_psql('postgres');

		set('openhr_msg.max_slot_lag' => '20MB');
		$session->query_safe('BEGIN; CREATE TABLE held ()');
		write_wal();
		$node->wait_for_log(qr/because it holds back more WAL/);
		$session->query_safe('COMMIT');
		$session->quit;
		reset_settings();
	});

# Within its limits nothing is lost, and nobody has to connect again.
my ($epoch, $joins) = (epoch(), $ledger->joins);
$ledger->survives(
	'a streamer that stands still for a while',
	sub {
		my $pid = $node->status('pid', 'streamer');

		kill 'STOP', $pid;
		sleep 3;
		kill 'CONT', $pid;
	});
is(epoch(), $epoch, '... in the same epoch');
is($ledger->joins, $joins, '... on the same connections');

$ledger->stop;
$node->stop;
done_testing();
