# shellcheck shell=bash disable=SC2034,SC2154  # work, bin, here, projects and the ports are set and read by `demo`
# project-credentials: 50 projects with a database each on one server, all reached with one fallback login, get logins
# of their own. The proof asks the server with psql, and nothing of pgconvoy but the key holder's `credentials reveal`.

servers=(platform)
secrets=(PLATFORM_READER PLATFORM_REGISTRAR PLATFORM_PROVISIONER FALLBACK)
fixture=$here/project-credentials

seed() {
  sql platform postgres -c 'CREATE DATABASE platform' -c 'CREATE DATABASE app_template'
  sql platform platform -f "$fixture/10_platform.sql"
  sql platform platform -f "$fixture/20_logins.sql"
  sql platform app_template -f "$fixture/30_app.sql"
  sql platform platform -f "$fixture/40_databases.sql"
  sql platform platform \
    -c "SELECT ref FROM public.projects WHERE ref NOT IN ('closed-0000', 'modern-0000') ORDER BY ref" >"$work/refs"
  all_rows >"$work/rows.before"
  say "Seeded $projects projects with a database each, reached with one login"
}

all_rows() {
  local ref
  while read -r ref; do
    sql platform "app_$ref" -f "$fixture/proof/rows.sql" | sed "s/^/$ref: /"
  done <"$work/refs"
}

# as USER DATABASE STATEMENT: with PGPASSWORD, over TCP.
as() {
  psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$platform_port" -U "$1" -d "$2" -c "$3" 2>"$work/psql.error"
}

refused() {
  ! as "$1" "$2" 'SELECT 1' >"$work/refused.out" && grep -q 'permission denied for database' "$work/psql.error"
}

# expect WHAT COMMAND…
expect() {
  if "${@:2}"; then
    ok "$1"
  else
    failed "$1: $(cat "$work/psql.error")"
  fi
}

# Reads, writes and runs functions, as an application does; leaves the rows as they were.
works_in() {
  [[ $(as "$1" "$2" "BEGIN; INSERT INTO app.customers (email) VALUES ('new@example.com');
    UPDATE app.orders SET total = total + 1; DELETE FROM app.log; CALL app.pay(1);
    SELECT app.total_of(1) > 0 AND (SELECT count(*) FROM app.open_orders) > 0; ROLLBACK") == t ]]
}

may_not_create() {
  ! as "$1" "$2" 'CREATE TABLE app.mine ()' && grep -q 'permission denied for schema app' "$work/psql.error"
}

prove_logins() {
  local migration=$1 ref secret other
  other=$(tail -n 1 "$work/refs")
  for ref in $(head -n 3 "$work/refs"); do
    secret=$("$bin/pgconvoy" -o json credentials reveal "$migration" "$ref" --key "$work/key" | json_field password)
    PGPASSWORD=$secret expect "project_$ref reads and writes with the revealed password" \
      works_in "project_$ref" "app_$ref"
    PGPASSWORD=$secret expect "project_$ref may not change definitions" may_not_create "project_$ref" "app_$ref"
    if [[ $ref != "$other" ]]; then
      PGPASSWORD=$secret expect "project_$ref is refused by app_$other" refused "project_$ref" "app_$other"
    fi
    PGPASSWORD=$PGCONVOY_FALLBACK_PASSWORD expect "app_fallback is refused by app_$ref" refused app_fallback "app_$ref"
  done
}

# prove MIGRATION: sets proof_failures.
prove() {
  local tab=$'\t'
  sql platform platform -f "$fixture/proof/access.sql" >"$work/access"
  sed "s/\$/${tab}t${tab}t${tab}active${tab}t${tab}f${tab}t${tab}f${tab}platform_owner${tab}1/" "$work/refs" \
    >"$work/access.expected"
  same "the registry names each project's role and verifier; the role gets in, the fallback does not" \
    "$work/access.expected" "$work/access"
  prove_logins "$1"
  sql platform platform -f "$fixture/proof/others.sql" >"$work/others"
  empty "no new login gets into another project's database; nothing is left over or changed elsewhere" "$work/others"
  all_rows >"$work/rows.after"
  same "every row is where it was, unchanged" "$work/rows.before" "$work/rows.after"
}
