# shellcheck shell=bash disable=SC2154  # work, bindir, bin, here and the ports are set by `demo`
# Throwaway PostgreSQL servers of the demo. Sourced by `demo`; needs $work (a private folder) to be set.
#
# PostgreSQL refuses to run as root: then user postgres owns and runs the servers.

# Prints the folder of the newest server binaries.
server_bindir() {
  local dir
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
    if [[ -x $dir/initdb ]]; then
      echo "$dir"
      return
    fi
  done
  echo "no PostgreSQL server found below /usr/lib/postgresql; run ./dev setup" >&2
  return 1
}

as_server_user() {
  if ((EUID == 0)); then
    (cd / && runuser -u postgres -- "$@")
  else
    (cd / && "$@")
  fi
}

# A port on 127.0.0.1 that nobody listens on at this moment.
free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}

# start_cluster NAME: makes $work/NAME and starts it; sets NAME_port. The socket's folder lets nobody else in, so the
# superuser needs no password there; over TCP every login needs one.
start_cluster() {
  local name=$1 dir=$work/$1 port try
  mkdir -m 0700 "$dir"
  if ((EUID == 0)); then
    chown postgres "$dir"
  fi
  as_server_user "$bindir/initdb" -D "$dir/data" -U postgres -E UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 >"$work/$name.initdb.log" 2>&1 ||
    { cat "$work/$name.initdb.log" >&2 && return 1; }
  for try in 1 2 3; do
    port=$(free_port)
    if as_server_user "$bindir/pg_ctl" -D "$dir/data" -l "$dir/log" -w -s -o \
      "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$dir -c max_connections=200 -c fsync=on" \
      start; then
      printf -v "${name}_port" %s "$port"
      return
    fi
    echo "server $name did not start on port $port (try $try)" >&2
  done
  cat "$dir/log" >&2
  return 1
}

stop_cluster() {
  if [[ -f $work/$1/data/postmaster.pid ]]; then
    as_server_user "$bindir/pg_ctl" -D "$work/$1/data" -m immediate -s stop || true
  fi
}

# sql NAME DATABASE [psql arguments]: as the superuser, over the socket; unaligned rows, tab-separated.
sql() {
  local name=$1 database=$2 port=${1}_port
  shift 2
  psql -X -q -A -t -F $'\t' -v ON_ERROR_STOP=1 -h "$work/$name" -p "${!port}" -U postgres -d "$database" "$@"
}

new_password() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
