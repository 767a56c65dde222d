#!/usr/bin/env python3
"""What a mutex guards is touched only under it: clang's -Wthread-safety, as an error, over every file that locks one
or whose header holds one. (Guarded members are private, so no other file can touch them.) Usage: thread_safety.py ROOT
BUILD, where BUILD has compile_commands.json and the generated headers. Prints what clang says and exits with 1 when
that is anything."""

import json
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from includes import Tree

MUTEX = "common/base/mutex.h"
# The analysis does not know the standard library's.
UNCHECKED = re.compile(r"std::(\w*mutex|condition_variable\w*|lock_guard|unique_lock|shared_lock|scoped_lock)")
KEPT = ("-I", "-D", "-std=")


def unchecked(root, tree):
    for path in sorted(tree.includes):
        for number, line in enumerate((root / path).read_text(encoding="utf-8").split("\n"), 1):
            if path != MUTEX and UNCHECKED.search(line):
                yield f"{path}:{number}: {UNCHECKED.search(line)[0]} is not checked; use {MUTEX}"


def holds_mutex(root, name):
    return any(path.exists() and re.search(r"\b(Mutex|MutexLock)\b", path.read_text(encoding="utf-8"))
               for path in (root / name, (root / name).with_suffix(".h")))


def command(entry):
    words = shlex.split(entry["command"])
    flags = [word for word in words if word.startswith(KEPT)]
    for at, word in enumerate(words):
        if word == "-isystem":
            flags += words[at:at + 2]
    checks = ["-fsyntax-only", "-Wno-everything", "-Wthread-safety", "-Wthread-safety-beta", "-Werror"]
    return ["clang++", *checks, *flags, entry["file"]]


def analyse(entry):
    done = subprocess.run(command(entry), cwd=entry["directory"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def main():
    root, build = Path(sys.argv[1]), Path(sys.argv[2])
    tree = Tree(root)
    found = list(unchecked(root, tree))
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = Path(entry["file"])
        name = str(path.relative_to(root)) if path.is_relative_to(root) else ""
        if name in tree.includes and holds_mutex(root, name):
            entries[name] = entry
    if not entries:
        sys.exit(f"thread_safety.py: no file below {root} uses {MUTEX}")
    with ThreadPoolExecutor(max_workers=2) as pool:
        found += [text for text in pool.map(analyse, entries.values()) if text]
    for text in found:
        print(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
