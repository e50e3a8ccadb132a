
=pod

=head1 NAME

ChatWriter - a session that writes at random, one statement at a time

=head1 SYNOPSIS

  my $writer = ChatWriter->new($node, 'app', 1);
  $writer->begin($profile);
  $writer->send($sql);
  $writer->is_done;

=head1 DESCRIPTION

Statements are sent without waiting for them, so that a session may wait for
another's lock while the schedule goes on.  What a statement changes is made up
by statement(), out of what the model knows to be committed and the conversation
that this transaction has made.

=cut

package ChatWriter;

use strict;
use warnings;

use DBI;
use DBD::Pg qw(:async);
use IO::Select;

sub new
{
	my ($class, $node, $role, $name) = @_;
	my $dbh =
	  DBI->connect("dbi:Pg:dbname=postgres;host=" . $node->host . ";port=" . $node->port,
		$role, '',
		{ AutoCommit => 1, PrintError => 0, RaiseError => 0, pg_server_prepare => 0 })
	  or die "cannot connect: $DBI::errstr\n";

	$dbh->do("SET client_min_messages = error");
	return bless {
		dbh => $dbh,
		name => $name,
		role => $role,
		pid => $dbh->{pg_pid},
		state => 'idle',    # or open, failed (an open one), busy
		savepoints => 0, }, $class;
}

sub is_service { return $_[0]{role} ne 'app' }

sub send
{
	my ($self, $sql, $then) = @_;

	$self->{dbh}->do($sql, { pg_async => PG_ASYNC });
	$self->{state} = 'busy';
	$self->{then} = $then;
	return;
}

# Has what was sent ended?  Waits a moment for it.
sub is_done
{
	my ($self, $patience) = @_;
	my $dbh = $self->{dbh};

	return 1 if $self->{state} ne 'busy';
	IO::Select->new($self->_handle)->can_read($patience) if !$dbh->pg_ready;
	return 0 unless $dbh->pg_ready;
	my $ok = defined $dbh->pg_result;

	$self->{error} = $ok ? undef : $dbh->errstr;
	$self->{sqlstate} = $ok ? '' : $dbh->state;
	$self->{state} = $ok ? $self->{then} : $self->{then} eq 'idle' ? 'idle' : 'failed';
	return 1;
}

sub _handle
{
	my ($self) = @_;

	$self->{handle} //= do
	{
		open my $handle, '<&=', $self->{dbh}{pg_socket} or die "no socket: $!\n";
		$handle;
	};
	return $self->{handle};
}

# Begin a transaction, in the name of a profile unless it is a service's.
sub begin
{
	my ($self, $profile) = @_;

	$self->{profile} = $profile;
	$self->{savepoints} = 0;
	$self->{made} = 0;
	$self->send($self->is_service ? 'BEGIN' : as_profile($profile), 'open');
	return;
}

# A transaction as PostgREST begins it.
sub as_profile
{
	my ($profile) = @_;

	return "BEGIN; SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims ="
	  . qq{ '{"sub": "$profile", "role": "authenticated"}'};
}

# What to write.  Each action gives a statement, or nothing when there is
# nothing that it could be done to; what the rules refuse is tried, too.

my $texts = 0;

sub pick { return @_ ? $_[ int rand @_ ] : undef }

# Text that is told from every other, of various lengths, and awkward.
sub text
{
	my ($longest) = @_;

	return
		't'
	  . ++$texts
	  . pick('', ' "q\\', " \x{e4}\x{20ac}", ' {},')
	  . ' x' x rand $longest;
}

# A conversation: mostly one that the profile is in, or that was just made.
sub room
{
	my ($self, $model) = @_;
	my @rooms = grep { $_ ne $model->{marker} } @{ $model->{order} };
	my @own =
		$self->is_service
	  ? @rooms
	  : grep { exists $model->{members}{$_}{ $self->{profile} } } @rooms;

	return "current_setting('test.room')::uuid" if $self->{made} && rand() < 0.7;
	my $room = rand() < 0.9 ? pick(@own) // pick(@rooms) : pick(@rooms);
	return defined $room ? "'$room'" : undef;
}

# A message of it, and preferably an own one.
sub message
{
	my ($self, $model) = @_;
	my $room = $self->room($model) // return;
	my @said = @{ $model->{said}{ $room =~ /'([-0-9a-f]{36})'/ ? $1 : '' } // [] };
	my $message;

	# Those at the end are being written about.
	@said = @said[ -12 .. -1 ] if @said > 12 && rand() < 0.8;
	foreach (1 .. 6)
	{
		$message = pick(@said);
		last if !defined $message || $self->is_service;
		last
		  if ($model->{messages}{ substr $room, 1, 36 }{$message} // '') =~
		  /false \w+ \Q$self->{profile}\E/;
	}
	return defined $message ? "'$message'" : undef;
}

sub quoted { return "'" . $_[0] =~ s/'/''/gr . "'" }

# A person of the conversation, or anybody.
sub somebody
{
	my ($self, $model, $room) = @_;
	my @members = sort keys %{ $model->{members}{ substr $room, 1, 36 } // {} };

	return quoted(rand() < 0.6
		  && @members ? pick(@members) : pick(@{ $model->{people} }));
}

sub in_room
{
	my ($make) = @_;

	return sub {
		my ($self, $model) = @_;
		my $room = $self->room($model) // return;

		return $make->($self, $model, $room);
	};
}

sub of_message
{
	my ($make) = @_;

	return sub {
		my ($self, $model) = @_;
		my $message = $self->message($model) // return;

		return $make->($self, $model, $message);
	};
}

sub me { return $_[0]->is_service ? 'NULL' : quoted($_[0]{profile}) }

my @both = (
	[   24, 'send',
		in_room(
			sub {
				my ($self, $model, $room) = @_;
				my $key = rand() < 0.3 ? quoted('k' . int rand 30) : 'NULL';

				return
					"SELECT openhr_msg.send_message($room, "
				  . quoted(text(800))
				  . ", client_message_id => $key)";
			}) ],
	[   10,
		'insert',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return
				  'INSERT INTO messages (conversation_id, sender_profile_id, content) VALUES '
				  . join ', ',
				  map { "($room, " . $self->me . ', ' . quoted(text(600)) . ')' }
				  0 .. rand 3;
			}) ],
	[   4,
		'edit',
		of_message(
			sub {
				"UPDATE messages SET content = "
				  . quoted(text(100))
				  . " WHERE id = $_[2]";
			}) ],
	[   5,
		'delete',
		of_message(sub { "UPDATE messages SET is_deleted = true WHERE id = $_[2]" }) ],
	[   5,
		'remove',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return
				  "SELECT openhr_msg.remove_participant($room, "
				  . $self->somebody($model, $room) . ')';
			}) ],
	[   2,
		'delete participant',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return
				  "DELETE FROM conversation_participants WHERE conversation_id = $room AND profile_id = "
				  . $self->somebody($model, $room);
			}) ],
	[   8,
		'add',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return
				  "SELECT openhr_msg.add_participant($room, "
				  . $self->somebody($model, $room) . ')';
			}) ],
	[   3,
		'role',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return
					"UPDATE conversation_participants SET role = '"
				  . pick(qw(member admin))
				  . "' WHERE conversation_id = $room AND profile_id = "
				  . $self->somebody($model, $room);
			}) ],
	[   2,
		'mute',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return
					'UPDATE conversation_participants SET is_muted = '
				  . pick(qw(true false false))
				  . " WHERE conversation_id = $room AND profile_id = "
				  . $self->somebody($model, $room);
			}) ],
	[   2,
		'archive',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return
				  "SELECT openhr_msg.archive_conversation($room, "
				  . pick(qw(true false false false)) . ')';
			}) ],
	[   2,
		'title',
		in_room(
			sub {
				"UPDATE conversations SET title = "
				  . quoted(text(5))
				  . " WHERE id = $_[2]";
			}) ],
	[   3,
		'create',
		sub {
			my ($self, $model) = @_;

			$self->{made} = 1;
			return
				"SELECT set_config('test.room', (openhr_msg.create_conversation(ARRAY["
			  . join(', ', map { quoted(pick(@{ $model->{people} })) } 0 .. rand 4)
			  . "]::uuid[], type => 'group')).id::text, true)";
		}
	]);

my @profiles = (
	@both,
	[   5,
		'edit by function',
		of_message(
			sub { "SELECT openhr_msg.edit_message($_[2], " . quoted(text(100)) . ')' }) ],
	[   4,
		'delete by function',
		of_message(sub { "SELECT openhr_msg.delete_message($_[2])" }) ],
	[ 6, 'mark read', in_room(sub { "SELECT openhr_msg.mark_read($_[2])" }) ],
	[   2, 'leave',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return "SELECT openhr_msg.remove_participant($room, " . $self->me . ')';
			}) ]);

my @services = (
	@both,
	[   1,
		'delete conversation',
		in_room(sub { "DELETE FROM conversations WHERE id = $_[2]" }) ],
	[   0.4,
		'delete profile',
		sub {
			my ($self, $model) = @_;
			my $people = $model->{people};

			# Whoever runs the writers finds somebody new.
			return 'DELETE FROM profiles WHERE id = '
			  . quoted(splice @$people, rand @$people, 1);
		}
	],
	# More than a slow reader's kernel takes, so that the gateway keeps it.
	[   4, 'burst',
		in_room(
			sub {
				my ($self, $model, $room) = @_;

				return "INSERT INTO messages (conversation_id, content)"
				  . " SELECT $room, 'burst "
				  . ++$texts
				  . " ' || i || repeat(' x', 700) FROM generate_series(1, 60) i";
			}) ],
	[   0.8, 'bulk',
		in_room(
			sub {
				my ($self, $model, $room) = @_;
				my $said =
					"INSERT INTO messages (conversation_id, content)"
				  . " SELECT $room, 'bulk "
				  . ++$texts
				  . " ' || i FROM generate_series(1, 520) i;";
				my ($in, $out) = map { $self->somebody($model, $room) } 1, 2;

				return
					$said
				  . "SELECT openhr_msg.add_participant($room, $in);"
				  . $said
				  . "SELECT openhr_msg.remove_participant($room, $out);";
			}) ],
	[ 2, 'delete row', of_message(sub { "DELETE FROM messages WHERE id = $_[2]" }) ],
	[   9,
		'put back',
		in_room(
			sub {
				my ($self, $model, $room) = @_;
				my $who = $self->somebody($model, $room);

				return
				  "DELETE FROM conversation_participants WHERE conversation_id = $room AND profile_id = $who;"
				  . "INSERT INTO conversation_participants (conversation_id, profile_id) VALUES ($room, $who)";
			}) ],
	[   3,
		'in and out',
		in_room(
			sub {
				my ($self, $model, $room) = @_;
				my $who = $self->somebody($model, $room);

				return
				  "INSERT INTO conversation_participants (conversation_id, profile_id) VALUES ($room, $who)"
				  . " ON CONFLICT DO NOTHING;"
				  . "DELETE FROM conversation_participants WHERE conversation_id = $room AND profile_id = $who";
			}) ]);

# The next statement, as its name and its text.
sub statement
{
	my ($self, $model) = @_;
	my $actions = $self->is_service ? \@services : \@profiles;
	my $total = 0;

	$total += $_->[0] foreach @$actions;
	for (;;)
	{
		my $at = rand $total;

		foreach my $action (@$actions)
		{
			$at -= $action->[0];
			next if $at > 0;
			my $sql = $action->[2]->($self, $model);

			return ($action->[1], $sql) if defined $sql;
			last;
		}
	}
}

1;
