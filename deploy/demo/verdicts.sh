# shellcheck shell=bash disable=SC2154  # what is not here is in `demo` or in the plan's fixture.sh
# What a proof says, and what the proofs of several plans ask. Sourced by `demo`.

ok() { say "  ok      $1"; }
failed() {
  say "  FAILED  $1"
  proof_failures=$((proof_failures + 1))
}

# same WHAT FILE FILE
same() {
  if cmp -s "$2" "$3"; then
    ok "$1"
  else
    failed "$1"
    diff "$2" "$3" | head -n 10 >&2 || true
  fi
}

# empty WHAT FILE
empty() {
  if [[ -s $2 ]]; then
    failed "$1"
    head -n 10 "$2" >&2
  else
    ok "$1"
  fi
}

# refused USER DATABASE: by the database, not for the password. can_login is the fixture's.
refused() {
  ! can_login "$1" "$2" && grep -q 'permission denied for database' "$work/login.error"
}

# prove_logins MIGRATION PREFIX STRANGER WORKS: the revealed password of the first projects opens the database that is
# named PREFIX and the ref, and no other one; the login STRANGER, of which tenants know the password, gets in nowhere.
prove_logins() {
  local migration=$1 prefix=$2 stranger=$3 works=$4 ref other secret
  other=$(tail -n 1 "$work/refs")
  for ref in $(head -n 3 "$work/refs"); do
    secret=$("$bin/pgconvoy" -o json credentials reveal "$migration" "$ref" --key "$work/key" | json_field password)
    if PGPASSWORD=$secret can_login "$prefix$ref" "$prefix$ref"; then
      ok "$prefix$ref logs in with the revealed password$works"
    else
      failed "$prefix$ref cannot log in: $(cat "$work/login.error")"
    fi
    if [[ $ref != "$other" ]] && ! PGPASSWORD=$secret refused "$prefix$ref" "$prefix$other"; then
      failed "$prefix$ref is not refused by $prefix$other"
    fi
    if ! PGPASSWORD=$PGCONVOY_DEMO_TENANT_PASSWORD refused "$stranger" "$prefix$ref"; then
      failed "$stranger is not refused by $prefix$ref"
    fi
  done
}

# prove_nothing_left SERVER: the templates are dropped in the background once the migration has ended.
prove_nothing_left() {
  local attempt
  for attempt in {1..100}; do
    sql "$1" postgres -f "$fixture/proof/strangers.sql" >"$work/strangers"
    if [[ ! -s $work/strangers ]] || ((attempt == 100)); then
      break
    fi
    sleep 0.2
  done
  empty "nobody but its owner may connect to a project's database; no login or database is left over" \
    "$work/strangers"
}
