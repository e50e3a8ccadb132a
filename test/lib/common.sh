# common.sh
#	  What test/check and test/demo share: words, scratch space, who runs the
#	  servers, and cleaning up.  Sourced by bash.
#
# Everything that a run makes lives in one directory, $SCRATCH, and every
# process that it starts carries the directory's name in its environment.  So
# the clean-up needs to remember nothing: it stops the servers whose data is
# in there, then the processes that bear the mark, then removes the directory.
#
# A server refuses to run as root, and the clone may be where nobody else can
# read (/root), so as root we work as another user, in a copy of the sources.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SERVER_USER=${SERVER_USER:-postgres}
SCRATCH=
SRC=$ROOT

# Nothing of the caller's server, make or Perl may leak into the tests.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGDATA \
	PGOPTIONS PGAPPNAME PGCLIENTENCODING PGTZ MAKEFLAGS MFLAGS MAKELEVEL \
	PERL5OPT PROVE_FLAGS NODE_OPTIONS
export LANG=C.UTF-8 LC_ALL=C.UTF-8 TZ=UTC PSQLRC=/dev/null PSQL_HISTORY=/dev/null
umask 022

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Run a command so that a signal to this script is handled at once, not after
# the command has ended.
run()
{
	"$@" &
	wait $!
}

# Run a command as the user who owns the servers.  What bash runs in the
# background ignores SIGINT; nothing that is tested shall.
as_server()
{
	local user=()
	[ "$(id -u)" != 0 ] || user=(runuser -u "$SERVER_USER" --)
	"${user[@]}" env --default-signal=INT,QUIT \
		HOME="$SCRATCH/home" TMPDIR="$SCRATCH/tmp" "$@"
}

# Run a command that writes to the PostgreSQL installation.
as_installer()
{
	local libdir
	libdir=$("$PG_CONFIG" --pkglibdir)
	if [ "$(id -u)" = 0 ] || [ -w "$libdir" ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "cannot write to $libdir: run this as root, or install sudo"
	fi
}

# $SCRATCH and its clean-up.  A run that another one starts (a test starts the
# demo) has its scratch in the other's, whose clean-up thereby covers both.
make_scratch()
{
	SCRATCH=$(mktemp -d "${OPENHR_MSG_SCRATCH:-/tmp}/openhr_msg.XXXXXX")
	export OPENHR_MSG_SCRATCH=$SCRATCH
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	mkdir "$SCRATCH"/{home,log,tmp}
	if [ "$(id -u)" = 0 ]; then
		id -u "$SERVER_USER" >/dev/null 2>&1 ||
			useradd --system --no-create-home --shell /bin/sh "$SERVER_USER"
	fi
	give_to_server "$SCRATCH"
}

# Make the server's user the owner of what we made as root.
give_to_server()
{
	[ "$(id -u)" != 0 ] || chown -R "$SERVER_USER:" "$@"
}

# Copy the sources to $SRC and go there: the files that git knows or would
# add; without git, all but what was built.
copy_sources()
{
	SRC=$SCRATCH/src
	mkdir "$SRC"
	if git -C "$ROOT" rev-parse >/dev/null 2>&1; then
		git -C "$ROOT" ls-files -z --cached --others --exclude-standard
	else
		(cd "$ROOT" && find . \( -name .git -o -name node_modules -o -path ./build \
			-o -name '*.o' -o -name '*.so' -o -name '*.bc' \) -prune \
			-o -type f -print0)
	fi |
		tar -C "$ROOT" --null --no-recursion --ignore-failed-read -T - -cf - \
			2>/dev/null |
		tar -xf - -C "$SRC"
	give_to_server "$SRC"
	cd "$SRC"
}

# Processes that bear this run's mark, except for this shell.
marked_processes()
{
	grep -lsz "^OPENHR_MSG_SCRATCH=$SCRATCH" /proc/[0-9]*/environ |
		cut -d/ -f3 | grep -vx "$$" || true
}

clean_up()
{
	local status=$? file signal
	trap '' HUP INT TERM
	trap - EXIT
	set +e
	unset OPENHR_MSG_SCRATCH	# what we run from here on is not meant
	cd /
	while IFS= read -r -d '' file; do
		as_server "$BINDIR/pg_ctl" -D "${file%/*}" -m immediate -t 20 stop
	done < <(find "$SCRATCH" -name postmaster.pid -print0) >/dev/null 2>&1
	for signal in TERM KILL; do
		kill -$signal $(marked_processes) 2>/dev/null
		for ((i = 0; i < 150; i++)); do
			[ -n "$(marked_processes)" ] || break
			sleep 0.1
		done
	done
	wait
	rm -rf "$SCRATCH"
	exit "$status"
}

# A TCP port on the loopback that nobody listens on, below the range out of
# which the kernel takes the ports of outgoing connections.
free_port()
{
	perl -MIO::Socket::INET -e '
		for (1 .. 1000)
		{
			my $port = 10000 + int(rand(20000));
			my $probe = IO::Socket::INET->new(Proto => "tcp",
				LocalAddr => "127.0.0.1", LocalPort => $port, Listen => 1)
			  or next;
			print "$port\n";
			exit;
		}
		die "no free port\n"'
}

# Where the server's programs are.
find_server()
{
	PG_CONFIG=$(command -v "${PG_CONFIG:-pg_config}") ||
		die "cannot find pg_config: is it in PATH, or in PG_CONFIG?"
	export PG_CONFIG
	BINDIR=$("$PG_CONFIG" --bindir)
	PGXS_SRC=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd)
	[ -x "$BINDIR/postgres" ] || die "no PostgreSQL server in $BINDIR"
}

build_and_install()
{
	run as_server make -s -j2 all PG_CONFIG="$PG_CONFIG" &&
		run as_installer make -s install PG_CONFIG="$PG_CONFIG"
}

# Packages for the Node programs of a directory of the copy, as its lock file
# has them.  As the caller, whose npm settings and cache hold; no package's
# script is run.
install_node_modules()
{
	(cd "$SRC/$1" && run npm ci --ignore-scripts --no-audit --no-fund \
		--loglevel=error --prefer-offline)
}
