#!/usr/bin/env python3
"""Small things in every text file. Usage: text.py ROOT. Prints each finding and exits with 1 when there is one."""

import re
import sys
from pathlib import Path

CODE = {".h", ".cc", ".proto", ".py", ".sh", ".cmake", ".yaml", ".yml", ".txt"}
PROSE = {".md", ".sql", ".json", ".service", ""}
SKIPPED_FOLDERS = {"build", ".git", ".cache"}
SKIPPED_FILES = {"LICENSE", "tests/lint/text.py"}
# Golden files hold what a program prints, as it prints it; a corpus, whatever broke a parser or might.
GOLDEN = re.compile(r"/(golden|testdata|corpus)/")
# 118 columns is where clang-format breaks code; comments and shell get two more.
LONGEST_LINE = 120
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def files(root):
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if SKIPPED_FOLDERS & set(Path(name).parts) or name in SKIPPED_FILES or GOLDEN.search("/" + name):
            continue
        if path.is_file() and path.suffix in CODE | PROSE:
            yield name, path


def findings(name, text):
    code = Path(name).suffix in CODE
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip():
            yield number, "trailing space"
        if "\t" in line:
            yield number, "tab"
        if code and len(line) > LONGEST_LINE:
            yield number, f"longer than {LONGEST_LINE} columns"
        if UNFINISHED.search(line):
            yield number, "unfinished: an open end belongs into an issue"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"
    if name.endswith(".h") and "#pragma once" not in text:
        yield 1, "no #pragma once"


def main():
    root, count = Path(sys.argv[1]), 0
    for name, path in files(root):
        for number, problem in findings(name, path.read_text(encoding="utf-8")):
            print(f"{name}:{number}: {problem}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
