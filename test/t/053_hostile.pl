# Hostile clients of every kind at once, against workers that are built with
# the address and the undefined behaviour sanitizer.  Whatever they send, no
# fault is found, nobody dies, and who is honest is served all the time.

use strict;
use warnings;

use Attackers;
use GatewayCluster;
use PostgreSQL::Test::Utils;
use PrivateInstallation;
use Test::More;

my $sanitize = '-fsanitize=address,undefined -fno-sanitize-recover=undefined';
my $scratch = PostgreSQL::Test::Utils::tempdir();

sub compile
{
	my ($name, $text, @options) = @_;

	open my $source, '>', "$scratch/$name.c" or die "$name: $!\n";
	print $source $text;
	close $source;
	return system("cc @options -o $scratch/$name $scratch/$name.c"
		  . " 2>/dev/null") == 0;
}

# The sanitizers' libraries, when the compiler has them.  The last one of the
# list wakes the others up before the initialization of any library that needs
# memory: they would ask for the text of an error message, perhaps under the
# lock that such a library holds while it names its messages.
sub sanitizer_libraries
{
	compile('empty', 'int main(void) { return 0; }', $sanitize)
	  && compile('first.so', '#include <stdlib.h>
		void *volatile p;
		static void __attribute__((constructor)) first(void)
		{ p = malloc(1); free(p); }',
		'-shared -fPIC -Wl,-z,initfirst')
	  or return;
	return (
		(grep { m{^/} && -f $_ }
			map { my $path = `cc -print-file-name=$_.so`; chomp $path; $path }
			qw(libasan libubsan)),
		"$scratch/first.so");
}

my @libraries = sanitizer_libraries();
plan skip_all => 'the compiler has no sanitizers' if @libraries != 3;

my $node = GatewayCluster->new('main',
	install_path => PrivateInstallation::make("$scratch/install",
		"$sanitize -fno-omit-frame-pointer -O1 -Wno-error"),
	'openhr_msg.max_queue_bytes' => 65536,
	'openhr_msg.max_connections' => 1000);
{
	my $reports = $node->basedir . '/sanitizer';

	local $ENV{LD_PRELOAD} = join ':', @libraries;
	local $ENV{ASAN_OPTIONS} =
	  "detect_leaks=0:abort_on_error=1:quarantine_size_mb=32:log_path=$reports";
	local $ENV{UBSAN_OPTIONS} = "print_stacktrace=1:log_path=$reports";
	$node->serve;
}

my %pids = map { $_ => $node->status('pid', $_) } qw(gateway streamer executor);
foreach my $library ('libasan', 'openhr_msg_worker', 'sanitizer|install')
{
	like(slurp_file("/proc/$pids{gateway}/maps"), qr/$library/,
		"the gateway has $library");
}

my $attackers = Attackers->new($node);
$attackers->launch;
my $report = $attackers->serve_meanwhile;

cmp_ok($report->{rounds}, '>', 3,
	"the honest were served $report->{rounds} times meanwhile");
is_deeply($report->{faults}, [], '... each message came once to each of them');
cmp_ok($report->{slowest}, '<', 10, '... and every heartbeat was answered');

is($node->status('pid', $_), $pids{$_}, "the $_ has lived through it")
  foreach sort keys %pids;
is($node->connect(undef)->heartbeat, 'ok', 'who comes now is served');

$node->stop;
my @reports = glob($node->basedir . '/sanitizer*');
is_deeply(\@reports, [], 'the sanitizers have found nothing');
diag(map { slurp_file($_) } @reports) if @reports;
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/,
	'no process was ended by a signal');

done_testing();
