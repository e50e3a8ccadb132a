# Whatever ends, and however: nothing that was acknowledged is lost, and every
# client ends up with what it may see, once.

use strict;
use warnings;

use GatewayCluster;
use Ledger;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = GatewayCluster->new('main')->serve;
my $ledger = Ledger->new($node);

$ledger->survives('nothing', sub { });
$ledger->survives('a restart', sub { $node->restart });
$ledger->survives('a crash', sub { $node->stop('immediate'); $node->start; });
$node->stop;
done_testing();
