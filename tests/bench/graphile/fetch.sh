#!/usr/bin/env bash
# Fetches graphile-worker from the npm registry into build/bench-peers/graphile, once, and prints the folder of its
# modules. The lock file names every package with its version and digest.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PGCONVOY_BENCH_PEERS_DIR:-$(cd "$here/../../.." && pwd)/build/bench-peers}
folder=$cache/graphile

command -v npm >/dev/null || { echo "npm is not installed" >&2 && exit 1; }
if ! cmp --silent "$here/package-lock.json" "$folder/package-lock.json"; then
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/.fetch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  cp "$here/package.json" "$here/package-lock.json" "$scratch"
  (cd "$scratch" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  rm -rf "$folder"
  mv -T "$scratch" "$folder"
fi
echo "$folder/node_modules"
