
# What the documentation says and a server can answer: the settings, the
# functions and their arguments, the tour of the README; and that its links
# lead somewhere.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::Bin/../..";
my $readme = slurp_file("$root/README.md");
my $reference = slurp_file("$root/docs/sql-reference.md");

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf',
		"wal_level = logical\n"
	  . "shared_preload_libraries = 'openhr_msg'\n"
	  . "max_worker_processes = 12\n"
	  . "openhr_msg.jwt_secret = 'a-secret-of-the-test-of-the-documents'\n"
	  . 'openhr_msg.port = '
	  . PostgreSQL::Test::Cluster::get_free_port()
	  . "\n");
$node->start;

# The text from a heading to the next one of its level.
sub section
{
	my ($text, $heading) = @_;
	my ($level) = $heading =~ /^(#+)/;
	my ($section) =
	  $text =~ /^\Q$heading\E\n(.*?)(?=^#{1,${\length $level}} |\z)/ms;
	die "no section \"$heading\"\n" unless defined $section;
	return $section;
}

# The rows of a text's tables, without their headings, as lists of cells.
sub table_rows
{
	my ($text) = @_;
	my @rows;
	while ($text =~ /^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)/mg)
	{
		push @rows, [ map { s/^\s+|\s+$//gr } split /\|/, s/^\|//r ]
		  foreach split /\n/, $1;
	}
	return @rows;
}

sub rows
{
	my ($sql) = @_;
	return map { [ split /\t/, $_, -1 ] } split /\n/,
	  $node->safe_psql('postgres', $sql, extra_params => [ '-F', "\t" ]);
}

# Settings: as the server has them, in the order of the source.

my %contexts =
  (restart => 'postmaster', reload => 'sighup', superuser => 'superuser');

my @documented =
  map { [ map { s/`//gr } @$_[ 0 .. 3 ] ] }
  table_rows(section($readme, '## Settings'));
$_->[3] = $contexts{ $_->[3] } // "?$_->[3]" foreach @documented;

my %server = map { ($_->[0] => $_) } rows(<<'SQL');
SELECT replace(name, 'openhr_msg.', ''), boot_val, coalesce(unit, ''), context
FROM pg_settings WHERE name LIKE 'openhr_msg.%'
SQL
my @in_order = map { $server{$_} }
  slurp_file("$root/src/settings.c") =~ /\{"openhr_msg\.(\w+)",/g;

is_deeply(\@documented, \@in_order, 'the table of settings');
is(scalar(keys %server), scalar(@in_order), 'no setting is elsewhere');

# Functions that people call: their arguments, types and defaults.  What
# policies and constraints call begins with "is_", and is not told.

$node->safe_psql('postgres', 'CREATE EXTENSION openhr_msg');

my %functions;
foreach (rows(<<'SQL'))
SELECT proname, name, replace(format_type(type, NULL),
							  'timestamp with time zone', 'timestamptz'),
	   regexp_replace(lower(coalesce(pg_get_function_arg_default(p.oid,
														  place::int), '')),
					  '::[a-z ]+$', '')
FROM pg_proc p
	 LEFT JOIN unnest(proargtypes, proargnames)
		WITH ORDINALITY AS a (type, name, place) ON type IS NOT NULL
WHERE pronamespace = 'openhr_msg'::regnamespace
	AND (has_function_privilege('authenticated', p.oid, 'EXECUTE')
		 AND proname !~ '^is_'
		 OR proname IN ('status', 'slot_epoch', 'stop_workers', 'start_workers',
						'create_partitions', 'adopt_tables', 'check_log_settings'))
ORDER BY proname, place
SQL
{
	my ($function, @argument) = @$_;
	push @{ $functions{$function} }, $argument[0] eq '' ? () : \@argument;
}

# "name(arguments)" in a heading, or in a table as code: each argument with
# its type, or the types are in a table under the heading.
sub documented_arguments
{
	my ($function) = @_;
	my ($heading, $list) =
	  $reference =~ /^((?:###|\|.*`)\h?\Q$function\E\((.*?)\).*)$/m
	  or return 'not there';
	my %table = map { s/[`*]//gr } map { ($_->[0] => "$_->[1]\t$_->[2]") }
	  grep { @$_ >= 3 }
	  ($heading =~ /^#/ ? table_rows(section($reference, $heading)) : ());

	return map {
		my ($name, $type, $default) = /^(\w+)(?: ([^=]+?))?(?: = (.*))?$/;
		[
			$name,
			$type ? ($type, $default // '') :
			  map { $_ // '' } split /\t/, $table{$name} // '', 2
		]
	} split /, /, $list;
}

foreach my $function (sort keys %functions)
{
	is_deeply([ documented_arguments($function) ],
		$functions{$function}, "arguments of $function()");
}

# The README's short list names no other functions and arguments.

foreach (table_rows(section($readme, '## SQL')))
{
	while ($_->[0] =~ /`(\w+)\((.*?)\)`/g)
	{
		my ($function, $arguments) = ($1, $2);
		is( $arguments,
			join(', ', map { $_->[0] } @{ $functions{$function} // [ ['?'] ] }),
			"README: $function()");
	}
}

# The tour: each block of SQL, and the result that follows it.

sub masked
{
	my ($text) = @_;
	$text =~ s/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/<uuid>/g;
	$text =~ s/eyJ[\w.-]+/<token>/g;
	$text =~ s/"exp": \d+/"exp": <time>/g;
	return $text =~ s/\s+\z//r;
}

my @blocks;
my $tour = section($readme, q{## A minute's tour});
push @blocks, { sql => $1, result => $2 }
  while $tour =~ /^```sql\n(.*?)^```\n(?:```text\n(.*?)^```\n)?/msg;
cmp_ok(scalar(@blocks), '>=', 5, 'the tour has blocks of SQL');

$node->safe_psql('postgres', 'DROP EXTENSION openhr_msg');
$node->safe_psql('postgres', 'DROP TABLE profiles, matches');
my $script = join '', map { "$_->{sql}\n\\echo ==== end of block\n" } @blocks;
my ($stdout, $stderr);
my $ok = IPC::Run::run(
	[
		'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-P', 'pager=off', '-d',
		$node->connstr('postgres')
	],
	'<' => \$script,
	'>' => \$stdout,
	'2>' => \$stderr);
ok($ok, 'the tour can be taken') or diag $stderr;

my @results = split /==== end of block\n/, $stdout;
foreach my $i (grep { defined $blocks[$_]{result} } 0 .. $#blocks)
{
	is(masked($results[$i] // ''),
		masked($blocks[$i]{result}), "result of the tour's block $i");
}

# Links: files, and headings in them.

# The name that a heading gets; the second of a name is NAME-1.
sub anchors
{
	my ($text) = @_;
	my (%count, %anchors);
	$text =~ s/^```.*?^```$//msg;
	foreach my $heading ($text =~ /^#+ (.*)$/mg)
	{
		my $name = lc $heading;
		$name =~ s/\[([^]]*)\]\([^)]*\)/$1/g;
		$name =~ s/[^\w\- ]//g;
		$name =~ s/ /-/g;
		my $n = $count{$name}++;
		$anchors{ $n ? "$name-$n" : $name } = 1;
	}
	return \%anchors;
}

foreach my $path (sort glob("$root/*.md $root/docs/*.md"))
{
	my ($directory, $file) = $path =~ m{^(.*)/(.*)$};
	my $text = slurp_file($path);
	my @dead;

	(my $prose = $text) =~ s/^```.*?^```$//msg;
	foreach my $link ($prose =~ /\]\(([^)\s]+)\)/g)
	{
		next if $link =~ /^\w+:/;
		my ($target, $anchor) = split /#/, $link, 2;
		my $there = $target eq '' ? $path : "$directory/$target";
		push @dead, $link
		  unless -e $there
		  && (!defined $anchor || anchors(slurp_file($there))->{$anchor});
	}
	is(join(' ', @dead), '', "$file: links lead somewhere");
}

done_testing();
