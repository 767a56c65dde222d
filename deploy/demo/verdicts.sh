# shellcheck shell=bash disable=SC2154  # say is in `demo`
# What a proof says. Sourced by `demo`.

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
