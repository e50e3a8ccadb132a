# What is pushed is what row level security shows, whatever happens at once.
#
# Several sessions write to several conversations, one statement at a time, in an
# order that a seed decides: open transactions overlap, wait for one another's
# locks, roll back to savepoints, are prepared here and committed there.  Sockets
# come, go, subscribe, change their tokens, read late.  From time to time all that
# was committed has arrived, and then
# - each subscription was told what ChatListener says it must be told, by the
#   model of what was committed (ChatModel, from a slot of its own);
# - row level security shows every profile exactly what the model says.
#
# Workers are ended meanwhile, which must change nothing but for the clients of a
# gateway, and the workers' slot is lost: then everybody is asked to come back,
# and gets by list_changes() what was missed.
#
# OPENHR_MSG_SEED	repeats a run (as far as the server's own timing allows)
# OPENHR_MSG_STEPS	how long it is; 4000 unless set
# OPENHR_MSG_TRACE	tells every step
#
# When it fails it shows the last steps and events of the conversation concerned;
# with fewer steps than it took, and the same seed, it ends before.

use strict;
use warnings;

use ChatListener;
use ChatModel;
use ChatWriter;
use GatewayCluster;
use List::Util qw(any max min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{OPENHR_MSG_SEED} // int(rand(2**31));
my $steps = $ENV{OPENHR_MSG_STEPS} // 4000;
srand $seed;
note("OPENHR_MSG_SEED=$seed OPENHR_MSG_STEPS=$steps");

my $node = GatewayCluster->new(
	'main',
	'openhr_msg.gateways' => 2,
	'openhr_msg.max_queue_bytes' => "'256MB'",
	'max_prepared_transactions' => 10,
	'max_wal_senders' => 2,
	'timezone' => 'UTC',
	'deadlock_timeout' => '20ms')->serve;
$node->value(
	'CREATE ROLE app LOGIN; GRANT openhr_msg_authenticator, authenticated TO app');

my $control = ChatWriter->new($node, 'postgres', 'control')->{dbh};
my $visitor = ChatWriter->new($node, 'app', 'visitor');
my $model = ChatModel->new;
my $service = {
	name => 'service',
	profile => '',
	is_service => 1,
	token => $node->token(undef, role => 'service_role') };
my $anon =
  { name => 'anon', profile => '', token => $node->token(undef, role => 'anon') };
my %known;          # profile => who
my (@listeners, @writers, @prepared, @log);
my ($step, $syncs, $topics, $gids, %count) = (0, 0, 0, 0);
my $beat = time;    # when the sockets last said that they live
my $may_end = 0;    # sockets may be told to come back

# The database

sub one      { return ($control->selectrow_array($_[0]))[0] }
sub position { return ChatModel::lsn(one('SELECT pg_current_wal_insert_lsn()')) }

# Up to where the gateways have told everything at least.
sub told_position
{
	return min map { ChatModel::lsn($_->[0]) } @{
		$control->selectall_arrayref(
			"SELECT coalesce(position, '0/0')
			FROM openhr_msg.status() WHERE worker = 'gateway'") };
}

sub person
{
	my ($name) = @_;
	my $profile = $node->person($name);

	push @{ $model->{people} }, $profile;
	$known{$profile} =
	  { name => $name, profile => $profile, token => $node->token($profile) };
	return $profile;
}

sub trace
{
	push @log, "step $step: $_[0]";
	note($log[-1]) if $ENV{OPENHR_MSG_TRACE};
	return;
}

# The commits, from a slot of our own
$node->value("SELECT pg_create_logical_replication_slot('model', 'openhr_msg')");
my $reader =
  open(my $commits, '-|', 'pg_recvlogical', '-h', $node->host, '-p', $node->port,
	qw(-d postgres -S model --start -F 0 -s 1 -f -))
  or die "pg_recvlogical: $!\n";
END { kill 'TERM', $reader if $reader }
my $unread = '';

sub read_commits
{
	my ($patience) = @_;
	my $select = IO::Select->new($commits);

	while ($select->can_read($patience))
	{
		sysread($commits, $unread, 65536, length $unread)
		  or die "pg_recvlogical has ended\n";
		$patience = 0;
	}
	my @lines = split /\n/, $unread, -1;
	$unread = pop(@lines) // '';
	return map { $model->line($_) } @lines;
}

# A commit that everything else comes before; the model knows it all then.
sub mark
{
	my $title = 'mark ' . ++$syncs;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	$control->do(
		"UPDATE conversations SET title = '$title' WHERE id = '$model->{marker}'")
	  or die $control->errstr;
	until (any { $_->{row} =~ /"title":"$title"/ } read_commits(0.1))
	{
		die "the model's slot brings nothing\n" if time > $deadline;
	}
	$model->settle;
	return $title;
}

# Sockets

my @kinds = (
	[ {} ],
	[ { table => 'messages' } ],
	[ { table => 'messages', room => 1 } ],
	[   { table => 'messages', type => 'INSERT' },
		{ table => 'messages', type => 'UPDATE', room => 1 } ],
	[ { table => 'conversation_participants' } ],
	[ { table => 'conversation_participants', type => 'DELETE' } ],
	[ { table => 'conversations' } ],
	[   { table => 'conversations', room => 1 },
		{ table => 'messages', room => 1 },
		{ table => 'messages' } ]);

sub join_channel
{
	my ($listener, $topic, $who) = @_;
	my $kind = ChatWriter::pick(@kinds);
	my @items = map {
		{ %$_ }
	} @$kind;

	foreach my $item (grep { $_->{room} } @items)
	{
		$item->{room} = ChatWriter::pick(@{ $model->{order} });
	}
	trace("$listener->{name} joins $topic as $who->{name}");
	$listener->ask($topic, $who, \@items, told_position());
	return;
}

sub connect_listener
{
	my $who =
	  rand() < 0.1
	  ? ChatWriter::pick($service, $anon)
	  : $known{ ChatWriter::pick(@{ $model->{people} }) };
	my $listener = ChatListener->new(
		port => $node->gateway_port,
		token => $who->{token},
		slow => rand() < 0.5);

	$listener->{name} = 'socket ' . ++$count{sockets};
	$listener->{who} = $who;
	push @listeners, $listener;
	trace("$listener->{name} is $who->{name}'s" . ($listener->{slow} ? ', slow' : ''));
	$listener->ask('marker', $service,
		[ { table => 'conversations', room => $model->{marker} } ],
		told_position());
	join_channel($listener, 'topic ' . ++$topics, $who);
	return;
}

my @socket_steps = (
	[ 3, sub { connect_listener() if @listeners < 16 } ],
	[   1,
		sub {
			my ($listener) = @_;

			trace("$listener->{name} ends");
			$listener->hang_up;
		}
	],
	[   8,
		sub {
			join_channel($_[0], 'topic ' . ++$topics, $_[0]{who})
			  if keys %{ $_[0]{topics} } < 5;
		}
	],
	[ 2, sub { join_channel($_[0], $_[1], $_[0]{who}) if $_[1] } ],
	[   3,
		sub {
			my ($listener, $topic) = @_;

			return if !$topic || keys %{ $listener->{topics} } < 3;
			trace("$listener->{name} leaves $topic");
			$listener->leave($topic);
		}
	],
	[   3,
		sub {
			my ($listener, $topic) = @_;

			return unless $topic;
			my $now = $listener->{topics}{$topic}{who};
			my $who =
			  rand() < 0.5 ? $known{ ChatWriter::pick(@{ $model->{people} }) } : $now;
			return if !$who->{profile};
			$who =
			  { %$who, token => $node->token($who->{profile}, jti => ++$count{tokens}) };
			trace("$listener->{name} shows a token of $who->{name} for $topic");
			$listener->show_token($topic, $who, told_position());
		}
	]);

sub socket_step
{
	my $listener = ChatWriter::pick(grep { !$_->{ended} } @listeners)
	  or return connect_listener();
	my @topics = grep { $_ ne 'marker' } $listener->settled_topics;

	weighted(@socket_steps)->($listener, ChatWriter::pick(@topics));
	return;
}

sub weighted
{
	my $total = 0;

	$total += $_->[0] foreach @_;
	my $at = rand $total;
	foreach my $choice (@_)
	{
		$at -= $choice->[0];
		return $choice->[1] if $at <= 0;
	}
	return $_[-1][1];
}

sub hear
{
	my ($even_slow) = @_;

	if (time > $beat + 20)
	{
		$_->push_event('phoenix', 'heartbeat', {})
		  foreach grep { !$_->{ended} } @listeners;
		$beat = time;
	}
	foreach my $listener (@listeners)
	{
		next unless $listener->is_due || ($even_slow && !$listener->{ended});
		next if $listener->take(\&position);
		# A kernel that has not sent everything may send nothing more.
		complain($listener, { text => 'was cut, ' . ($listener->{code} // 'reset') })
		  if !$may_end || ($listener->{code} // 1012) != 1012;
	}
	return;
}

# Writers

sub write_step
{
	my @free = grep { $_->{state} ne 'busy' } @writers;

	person('Gil' . ++$count{newcomers}) while @{ $model->{people} } < 6;
	return finish_prepared() if @prepared && (!@free || rand() < 0.05);
	my $writer = ChatWriter::pick(@free);

	if    (!$writer)                     { sleep 0.01 }
	elsif ($writer->{state} eq 'idle')   { begin($writer) }
	elsif ($writer->{state} eq 'failed') { give_up($writer) }
	elsif (rand() < 0.3)                 { finish($writer) }
	elsif (rand() < 0.1)                 { savepoint($writer) }
	else
	{
		my ($name, $sql) = $writer->statement($model);

		trace("$writer->{name}: $name: $sql");
		$writer->send($sql, 'open');
		$count{statements}++;
	}
	return settle_writers();
}

sub begin
{
	my ($writer) = @_;

	$writer->begin(ChatWriter::pick(@{ $model->{people} }));
	trace("$writer->{name}: begin"
		  . ($writer->is_service ? '' : " as $known{ $writer->{profile} }{name}"));
	return;
}

sub give_up
{
	my ($writer) = @_;
	my $back = $writer->{savepoints} && rand() < 0.7;

	trace(  "$writer->{name}: rollback"
		  . ($back ? ' to s' : '')
		  . " after $writer->{sqlstate}");
	$count{"error $writer->{sqlstate}"}++;
	$writer->send($back ? 'ROLLBACK TO s' : 'ROLLBACK', $back ? 'open' : 'idle');
	return;
}

sub savepoint
{
	my ($writer) = @_;
	my $back = $writer->{savepoints} && rand() < 0.5;

	trace("$writer->{name}: " . ($back ? 'rollback to s' : 'savepoint s'));
	$writer->{savepoints} = 1;
	# What was made behind the savepoint is gone.
	$writer->{made} = 0;
	$writer->send($back ? 'ROLLBACK TO s' : 'SAVEPOINT s', 'open');
	return;
}

sub finish
{
	my ($writer) = @_;
	my $how = rand();

	if ($how < 0.1)
	{
		trace("$writer->{name}: rollback");
		$writer->send('ROLLBACK', 'idle');
	}
	elsif ($how < 0.25 && @prepared < 4)
	{
		push @prepared, 'p' . ++$gids;
		trace("$writer->{name}: prepare $prepared[-1]");
		$writer->send("PREPARE TRANSACTION '$prepared[-1]'", 'idle');
	}
	elsif ($how < 0.4) { volley() }
	else
	{
		trace("$writer->{name}: commit");
		$writer->send('COMMIT', 'idle');
		$count{commits}++;
	}
	return;
}

# All that can commits at once.
sub volley
{
	my @open = grep { $_->{state} eq 'open' } @writers;
	my $from = position();

	trace('commit at once: ' . join ', ', map { $_->{name} } @open);
	$_->send('COMMIT', 'idle') foreach @open;
	await($_) foreach @open;
	push @{ $model->{volleys} }, [ $from, position() ];
	$count{commits} += @open;
	return;
}

sub finish_prepared
{
	my ($gid) = splice @prepared, rand @prepared, 1;
	my $how = rand() < 0.2 ? 'ROLLBACK' : 'COMMIT';

	trace("control: $how prepared $gid");
	$control->do("$how PREPARED '$gid'") or die $control->errstr;
	$count{prepared}++;
	return settle_writers();
}

sub await
{
	my ($writer) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($writer->is_done(0.1))
	{
		die "$writer->{name} does not come back\n" if time > $deadline;
	}
	return;
}

# Until each has done what it was told, or waits for another's lock.
sub settle_writers
{
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $query = "SELECT pid FROM pg_stat_activity WHERE pg_blocking_pids(pid) <> '{}'";

	while (my @busy = grep { !$_->is_done(0.002) } @writers)
	{
		my %waits = map { $_->[0] => 1 } @{ $control->selectall_arrayref($query) };

		last unless any { !$waits{ $_->{pid} } } @busy;
		die "$busy[0]{name} does not come back\n" if time > $deadline;
	}
	return;
}

# Judging

sub complain
{
	my ($who, $complaint) = @_;
	my $room = $complaint->{room};

	diag(
		"OPENHR_MSG_SEED=$seed OPENHR_MSG_STEPS=$step: $who->{name}: $complaint->{text}");
	if ($room)
	{
		my @steps = grep { /\Q$room\E/ || /commit|roll|prepare/i } @log;
		my @events =
		  grep { $_->{room} eq $room } map { $model->event($_) } 0 .. $model->events - 1;

		diag($_) foreach grep { defined } @steps[ -40 .. -1 ];
		diag(sprintf '%d %X %s | %s',
			@$_{qw(n lsn key)},
			join ' ', map { $known{$_}{name} // $_ } sort keys %{ $_->{sees} })
		  foreach grep { defined } @events[ -30 .. -1 ];
	}
	die "see above\n";
}

# Until no socket waits any more.
sub wait_for_all
{
	my ($what, $waits) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (my ($behind) = grep { !$_->{ended} && $waits->($_) } @listeners)
	{
		hear(1);
		complain($behind, { text => "waits for $what: " . $behind->state })
		  if time > $deadline;
		sleep 0.001;
	}
	return;
}

sub settle
{
	wait_for_all('answers', sub { $_[0]->is_waiting });
	my $title = mark();
	wait_for_all($title, sub { !$_[0]->has_heard($title) });
	foreach my $listener (@listeners)
	{
		complain($listener, $_) foreach $listener->settle($model);
	}
	$count{'taken back'} += delete $_->{taken_back} // 0 foreach @listeners;
	@listeners = grep { !$_->{ended} } @listeners;
	$may_end = 0;
	compare_with_database();
	return;
}

# What a query shows to a profile.
sub shown
{
	my ($profile, $query) = @_;
	my $dbh = $visitor->{dbh};

	$dbh->do(ChatWriter::as_profile($profile))  or die $dbh->errstr;
	my $rows = $dbh->selectcol_arrayref($query) or die $dbh->errstr;
	$dbh->do('COMMIT');
	return sort @$rows;
}

sub compare_with_database
{
	foreach my $profile (@{ $model->{people} })
	{
		my @rows = shown($profile, ChatModel::visible_query());
		my @told = $model->visible($profile);
		next if "@rows" eq "@told";
		my %rows = map { $_ => 1 } @rows;
		my %told = map { $_ => 1 } @told;
		complain($known{$profile}, { text => "shown, not told: $_" })
		  foreach grep { !$told{$_} } @rows;
		complain($known{$profile}, { text => "told, not shown: $_" })
		  foreach grep { !$rows{$_} } @told;
	}
	return;
}

# Trouble

# Nothing is open any more.
sub finish_all
{
	trace('finish all');
	while (my @open = grep { $_->{state} ne 'idle' } @writers)
	{
		my ($writer) = grep { $_->{state} ne 'busy' } @open;

		if    ($writer)   { $writer->send('ROLLBACK', 'idle') }
		elsif (@prepared) { finish_prepared() }
		settle_writers();
	}
	finish_prepared() while @prepared;
	return;
}

sub end_worker
{
	my ($worker) = @_;

	trace("end a $worker");
	$may_end = $worker eq 'gateway';
	one("SELECT pg_terminate_backend(pid) FROM openhr_msg.status()
		WHERE worker = '$worker' AND pid IS NOT NULL LIMIT 1");
	return;
}

# What a profile could know of its messages.
sub knowledge
{
	my ($profile) = @_;
	my %known;

	foreach
	  my $room (grep { exists $model->{members}{$_}{$profile} } @{ $model->{order} })
	{
		$known{$room} = {
			version => (split ' ', $model->{rooms}{$room})[1],
			messages => { %{ $model->{messages}{$room} // {} } } };
	}
	return \%known;
}

# The slot is gone, and with it what is committed until there is a new one.
sub lose_slot
{
	finish_all();
	settle();
	my %known = map { ($_ => knowledge($_)) } @{ $model->{people} };

	trace('lose the slot');
	$may_end = 1;
	one("SELECT pg_drop_replication_slot(slot_name)
		FROM (SELECT slot_name, pg_terminate_backend(active_pid, 10000)
			FROM pg_replication_slots WHERE slot_name = 'openhr_msg' OFFSET 0) s");
	write_step() foreach 1 .. 60;
	finish_all();
	$node->wait_until(
		sub {
			hear(1);
			return !any { !$_->{ended} } @listeners;
		},
		'all are asked to come back');
	settle();
	catch_up($_, $known{$_} // {}) foreach @{ $model->{people} };
	connect_listener() foreach 1 .. 6;
	return;
}

# What was known before and the changes since are what there is now.
sub catch_up
{
	my ($profile, $before) = @_;
	my $now = knowledge($profile);

	foreach my $room (sort keys %$now)
	{
		my $messages = $now->{$room}{messages};
		my %got = %{ $before->{$room}{messages} // {} };
		my $since = $before->{$room}{version} // 0;
		my @changes;

		do
		{
			@changes = shown(
				$profile, "SELECT concat_ws(' ', id, version, is_deleted::text,
				is_edited::text, coalesce(sender_profile_id::text, ''))
				FROM openhr_msg.list_changes('$room', $since, 100)");
			foreach my $change (@changes)
			{
				my ($id, $row) = split ' ', $change, 2;

				$got{$id} = $row;
				$since = max($since, $row =~ /\A(\d+)/);
			}
		} while @changes == 100;
		delete @got{ grep { !exists $messages->{$_} } keys %got };
		complain($known{$profile}, { text => 'has not caught up', room => $room })
		  if join(';', map { "$_ $got{$_}" } sort keys %got) ne
		  join(';', map { "$_ $messages->{$_}" } sort keys %$messages);
	}
	$count{'caught up'}++;
	return;
}

# One after the other.
my @trouble = (
	sub { end_worker('streamer') },
	sub { end_worker('executor') },
	sub { end_worker('gateway') },
	\&lose_slot);

# Begin

person($_) foreach qw(Ana Ben Cid Dee Eva Fay);
# Nobody is in it, and nothing that is written at random gets at it.
$model->{marker} =
  $node->value("INSERT INTO conversations (type) VALUES ('system') RETURNING id");
mark();
@writers = (
	(map { ChatWriter->new($node, 'app', "w$_") } 1 .. 4),
	(map { ChatWriter->new($node, 'postgres', "s$_") } 1 .. 2));
connect_listener() foreach 1 .. 6;
settle();

my $start = time;
for ($step = 1; $step <= $steps; $step++)
{
	if    ($step % 700 == 350) { $trouble[ $step / 700 % @trouble ]->() }
	elsif ($step % 150 == 0)   { settle() }
	elsif (rand() < 0.08)      { socket_step() }
	else                       { write_step() }
	hear();
	read_commits(0);
}
settle();
$count{events} = $model->events;
note(join ', ', map { "$_ $count{$_}" } sort keys %count);
note(sprintf '%.1f s', time - $start);
pass("$steps steps with seed $seed");

$node->stop;
done_testing();
