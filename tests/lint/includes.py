#!/usr/bin/env python3
"""Who may include whom. Usage: includes.py ROOT. Prints each violation and exits with 1 when there is one."""

import re
import sys
from pathlib import Path

ABSL = "absl/status/", "absl/strings/", "absl/time/"
IMPURE_STD = "thread mutex shared_mutex condition_variable future atomic chrono ctime fstream iostream filesystem"
GRPC = "grpcpp/", "grpc/", "grpc++/", "CLI/", ".grpc.pb.h"

# Pure folders: the folders of ours that they may include. From others they take the standard library and ABSL only.
PURE = {
    "common/base": {"common/base"},
    "common/model": {"common/base", "common/model"},
    "coordinator/core": {"common/base", "common/model", "coordinator/core"},
    "worker/core": {"common/base", "common/model", "common/crypto", "worker/core"},
    "cli/render": {"common/base", "common/model", "cli/render"},
}
# The clock and the failpoints of base are the seams through which time and signals enter. Its locks are for the shells;
# NEVER keeps them out of the pure folders.
SYSTEM_SEAMS = {"common/base/clock.cc", "common/base/failpoint.cc", "common/base/mutex.h"}

# What a component may include of ours.
COMPONENTS = {
    "common": {"common"},
    "coordinator": {"common", "coordinator"},
    "worker": {"common", "worker"},
    "cli": {"common", "cli"},
}

# Libraries with one home each.
HOMES = {
    "pqxx/": ("coordinator/store/", "common/pg/"),
    "libpq-fe.h": ("common/pg/", "coordinator/store/", "worker/phases/"),
    "sodium.h": ("common/crypto/", "common/plan/secret_ref.cc"),
    "openssl/": ("common/crypto/",),
    "spdlog/": ("common/log/",),
    "yaml-cpp/": ("common/plan/", "cli/commands/"),
    "curl/": ("worker/phases/http.cc",),
    "zstd.h": ("worker/backup/",),
    "CLI/": ("coordinator/main.cc", "worker/main.cc", "cli/"),
}

# What a folder never reaches, through whatever header.
NEVER = {
    "coordinator/service": ("pqxx/", "libpq-fe.h"),
    "coordinator/store": ("grpcpp/", "grpc/", ".grpc.pb.h"),
    "coordinator/core": ("google/protobuf", ".pb.h", "mutex"),
    "worker/core": ("mutex",),
    "cli/render": ("google/protobuf", ".pb.h", "mutex"),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def matches(header, patterns):
    return any(header.startswith(p) or (p.startswith(".") and header.endswith(p)) for p in patterns)


def folder_of(path):
    return str(Path(path).parent)


class Tree:
    def __init__(self, root):
        self.includes = {}
        for component in COMPONENTS:
            for path in sorted((root / component).rglob("*")):
                if path.suffix in (".h", ".cc"):
                    text = path.read_text(encoding="utf-8")
                    self.includes[str(path.relative_to(root))] = [m[1] for m in INCLUDE.findall(text)]
        if not self.includes:
            sys.exit(f"includes.py: no sources below {root}")

    def reached(self, start):
        """Every header that `start` reaches, with the file of ours that includes it."""
        seen, todo, found = {start}, [start], {}
        while todo:
            path = todo.pop()
            for header in self.includes[path]:
                found.setdefault(header, path)
                if header in self.includes and header not in seen:
                    seen.add(header)
                    todo.append(header)
        return found


def check_pure(path, header, tree):
    allowed = PURE.get(folder_of(path))
    if allowed is None:
        return None
    if header in tree.includes:
        return None if folder_of(header) in allowed else "a pure folder includes only " + ", ".join(sorted(allowed))
    if path in SYSTEM_SEAMS or matches(header, ABSL):
        return None
    if "/" in header or "." in header:
        return "a pure folder includes only the standard library and Abseil's status, strings and time"
    if header in IMPURE_STD.split():
        return "no clock, thread or file in a pure folder"
    return None


def check_component(path, header, tree):
    if header not in tree.includes:
        return None
    if header.split("/")[0] not in COMPONENTS[path.split("/")[0]]:
        return "components never include each other"
    return None


def check_homes(path, header, _):
    for library, homes in HOMES.items():
        if matches(header, (library,)) and not path.startswith(homes):
            return f"{library} is included only in " + ", ".join(homes)
    return None


def check_headers(path, header, _):
    if path.endswith(".h") and matches(header, GRPC):
        return "gRPC and CLI11 stay out of our headers"
    return None


def check_never(path, tree):
    patterns = NEVER.get(folder_of(path), ())
    for header, via in tree.reached(path).items():
        if patterns and matches(header, patterns):
            yield f"{path}: reaches <{header}> through {via}: {folder_of(path)} never includes it"


def violations(root):
    tree = Tree(root)
    for path, headers in tree.includes.items():
        for header in headers:
            for check in (check_pure, check_component, check_homes, check_headers):
                problem = check(path, header, tree)
                if problem:
                    yield f"{path}: includes <{header}>: {problem}"
        yield from check_never(path, tree)


def main():
    found = list(violations(Path(sys.argv[1])))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
