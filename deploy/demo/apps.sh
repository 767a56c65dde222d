# shellcheck shell=bash disable=SC2034,SC2154  # what is not here is in `demo` or in the plan's fixture.sh
# What the plans that change databases in place have in common: applications, each with a database of its own on one
# server. Sourced by their fixtures.

servers=(apps)
secrets=(APPS_READER APPS_REGISTRAR APPS_OWNER APPS_SERVICE)
default_projects=20

# as_login LOGIN PASSWORD DATABASE [psql arguments]: over TCP.
as_login() {
  local login=$1 secret=$2 database=$3
  shift 3
  PGPASSWORD=$secret psql -X -q -A -t -F $'\t' -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$apps_port" -U "$login" \
    -d "$database" "$@"
}

# make_apps [COLUMN EXPRESSION]: the registry and every application. The registry's further column is an SQL expression
# in which "app" stands for the application's number.
make_apps() {
  local app ref column=${1:+, $1} expression=${2:+, $2}
  sql apps postgres -c 'CREATE DATABASE platform'
  sql apps platform -f "$fixture/10_platform.sql" -f "$here/apps_logins.sql"
  : >"$work/refs"
  for ((app = 1; app <= projects; app++)); do
    ref=$(printf 'app-%04d' "$app")
    echo "$ref" >>"$work/refs"
    sql apps postgres -c "CREATE DATABASE \"$ref\" OWNER app_owner"
    as_login app_owner "$PGCONVOY_APPS_OWNER_PASSWORD" "$ref" -f "$fixture/20_app.sql" -v "app=$app" \
      -f "$fixture/30_seed.sql"
    sql apps platform -c "INSERT INTO public.apps (ref, database_name, estimated_bytes$column)
      SELECT '$ref', '$ref', pg_database_size('$ref')$expression FROM (VALUES ($app)) a (app)"
  done
}

# each_app WHAT: the query of that name in every application's database.
each_app() {
  local ref
  while read -r ref; do
    sql apps "$ref" -f "$fixture/proof/$1.sql" | sed "s/^/$ref\t/"
  done <"$work/refs" | LC_ALL=C sort
}
