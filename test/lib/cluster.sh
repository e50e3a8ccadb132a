# cluster.sh
#	  Private clusters for the tests and the demo.  Sourced after common.sh.
#
# A cluster has a directory in $SCRATCH and is reached through a socket in
# there only; the gateway, when its database gets the extension, listens on a
# free port of the loopback.

JWT_SECRET=${JWT_SECRET:-openhr-msg-secret-of-a-private-cluster}

# The settings in postgresql.conf, and output_plugin_libraries where the
# server knows it (an unknown setting would keep it from starting).
write_settings()
{
	cat "$SRC/test/lib/postgresql.conf"
	if as_server "$BINDIR/postgres" --describe-config |
		grep '^output_plugin_libraries' >/dev/null; then
		echo "output_plugin_libraries = 'pgoutput, test_decoding, openhr_msg'"
	fi
}

# cluster_start NAME [SETTING]...: sets PGHOST, PGPORT, PGUSER and, for the
# gateway, GATEWAY_PORT and GATEWAY_URL.
cluster_start()
{
	local dir=$SCRATCH/$1 setting
	shift
	as_server mkdir -p "$dir"
	run as_server "$BINDIR/initdb" -D "$dir/data" -U postgres -A trust \
		--encoding=UTF8 --no-locale --no-sync >"$dir/initdb.log" 2>&1 ||
		{ cat "$dir/initdb.log"; return 1; }

	export PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	GATEWAY_PORT=$(free_port)
	{
		cat "$SCRATCH/postgresql.conf"
		echo "unix_socket_directories = '$dir'"
		echo "openhr_msg.port = $GATEWAY_PORT"
		echo "openhr_msg.jwt_secret = '$JWT_SECRET'"
		for setting; do
			echo "$setting"
		done
	} >"$dir/settings"
	# The last of two settings holds, also for a port that the caller chose.
	GATEWAY_PORT=$(sed -n 's/^openhr_msg.port = //p' "$dir/settings" | tail -1)
	GATEWAY_URL=http://127.0.0.1:$GATEWAY_PORT
	as_server tee -a "$dir/data/postgresql.conf" <"$dir/settings" >/dev/null

	run as_server "$BINDIR/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -s \
		start || { tail -20 "$dir/server.log"; return 1; }
}

# The same with the extension in the database that the workers serve, and a
# gateway that listens.
serving_cluster()
{
	cluster_start "$@" &&
		sql -c "CREATE EXTENSION openhr_msg" &&
		wait_for 30 port_open "$GATEWAY_PORT" ||
		{ tail -40 "$SCRATCH/$1/server.log"; return 1; }
}

cluster_stop()
{
	as_server "$BINDIR/pg_ctl" -D "$SCRATCH/$1/data" -m fast -s stop
}

# SQL from the arguments, or from standard input.
sql()
{
	as_server "$BINDIR/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}

# Does something accept connections on this port of the loopback?
port_open()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Wait until a command succeeds, at most a number of seconds.
wait_for()
{
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.1
	done
}

# make_token PROFILE [ROLE]: a JSON Web Token, valid for ten years.
make_token()
{
	local head body
	head=$(printf '{"alg":"HS256","typ":"JWT"}' | base64url)
	body=$(printf '{%s"role":"%s","iat":%d,"exp":%d}' \
		"${1:+\"sub\":\"$1\",}" "${2:-authenticated}" \
		"$(date +%s)" "$(date -d '+10 years' +%s)" | base64url)
	printf '%s.%s.%s\n' "$head" "$body" "$(printf '%s.%s' "$head" "$body" |
		openssl dgst -sha256 -hmac "$JWT_SECRET" -binary | base64url)"
}

base64url()
{
	base64 -w0 | tr '+/' '-_' | tr -d '='
}
