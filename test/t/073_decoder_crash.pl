# A change that crashes whoever decodes it takes the whole server with it, and
# would do so again after each restart.  After some attempts it is given up.

use strict;
use warnings;

use GatewayCluster;
use Ledger;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = GatewayCluster->new('main', 'restart_after_crash' => 'on')->serve;
my $ledger = Ledger->new($node);

sub log_count
{
	my ($pattern) = @_;
	my $count = () = slurp_file($node->logfile) =~ /$pattern/g;

	return $count;
}

# A type whose values can be stored, but not be put out.
$node->value(q{
	CREATE TYPE mine;
	CREATE FUNCTION mine_in(cstring) RETURNS mine
		LANGUAGE internal IMMUTABLE STRICT AS 'int8in';
	CREATE FUNCTION mine_out(mine) RETURNS cstring
		LANGUAGE internal IMMUTABLE STRICT AS 'textout';
	CREATE TYPE mine (INPUT = mine_in, OUTPUT = mine_out, LIKE = int8);
	ALTER TABLE conversations ADD COLUMN mine mine});

$ledger->survives(
	'a change that crashes its decoder',
	sub {
		$node->psql('postgres', q{INSERT INTO conversations (mine) VALUES ('1')});
		$node->wait_for_log(qr/the WAL that it stands at cannot be decoded/);
	});
is(log_count('terminated by signal'), 6, '... crashes it six times');

# Others' crashes do not count.
foreach my $worker ('executor', 'gateway', 'streamer', 'executor', 'gateway', 'streamer')
{
	my $crashes = log_count('reinitializing');

	$node->wait_until(
		sub { $node->status('state', 'streamer') eq 'running' },
		'the streamer runs');
	kill 'KILL', $node->status('pid', $worker);
	$node->wait_until(sub { log_count('reinitializing') > $crashes },
		'the server restarts');
	$node->poll_query_until('postgres', 'SELECT true') or die;
}
$ledger->survives('six other crashes', sub { });
is(log_count('cannot be decoded'), 1, '... do not cost the slot');

$ledger->stop;
$node->stop;
done_testing();
