#!/usr/bin/env python3
"""How much of the cores of coordinator and worker their unit tests run, and whether that is enough. Usage: coverage.py
ROOT, with what `llvm-cov export` prints on stdin. Prints lines and branches of every file, every branch that was never
taken where all must be, and exits with 1 when a core has less than it should.

A branch is one outcome of one condition in the source, as clang counts them; exceptions are none."""

import json
import sys
from pathlib import Path

CORES = ("coordinator/core/", "worker/core/")
LEAST_LINES = 95.0
# The state machine, who may report under which fence, and what a worker decides by fences and the ledger: every branch
# is taken both ways.
WHOLE = {CORES[0] + name for name in ("transitions.cc", "phase_table.cc", "lifecycle.cc", "reports.cc")} | {
    CORES[1] + name for name in ("attempt_rules.cc", "lease.cc", "takeover.cc")}
# What no test can reach says so in its line, with the reason in a comment above it.
UNREACHABLE = "std::abort();"
# A planted bug (common/base/planted.h): a constant here, so clang counts neither outcome.
CONSTANT = "PGC_PLANTED"


def ours(files, root):
    for file in files:
        path = Path(file["filename"]).resolve()
        name = str(path.relative_to(root)) if path.is_relative_to(root) else ""
        if name.startswith(CORES) and name.endswith(".cc"):
            yield name, path.read_text(encoding="utf-8").split("\n"), file


def condition(branch, lines):
    """The text of a branch's condition up to the end of its first line."""
    first, start, last, end = branch[:4]
    return lines[first - 1][start - 1:end - 1 if first == last else None]


def outcomes(file, lines):
    """(line, outcome, times) of every branch but constants and those that lead to a stop on a bug of ours."""
    for branch in file["branches"]:
        line, true, false = branch[0], branch[4], branch[5]
        if condition(branch, lines).lstrip("!").startswith(CONSTANT):
            continue
        if not any(UNREACHABLE in one for one in lines[line:line + 2]):
            yield line, "true", true
        yield line, "false", false


def main():
    root = Path(sys.argv[1]).resolve()
    report = json.load(sys.stdin)["data"][0]
    lines, covered = dict.fromkeys(CORES, 0), dict.fromkeys(CORES, 0)
    missed = []
    for name, text, file in sorted(ours(report["files"], root), key=lambda one: one[0]):
        core = next(core for core in CORES if name.startswith(core))
        summary = file["summary"]["lines"]
        lines[core] += summary["count"]
        covered[core] += summary["covered"]
        all_outcomes = list(outcomes(file, text))
        taken = sum(times > 0 for _, _, times in all_outcomes)
        print(f"{name:36} lines {summary['percent']:6.2f} %   branches {taken:4} of {len(all_outcomes):4}")
        if name in WHOLE:
            missed += [f"{name}:{line}: never {outcome}: {text[line - 1].strip()}"
                       for line, outcome, times in all_outcomes if times == 0]
    failed = bool(missed)
    for core in CORES:
        if lines[core] == 0:
            sys.exit(f"coverage.py: nothing below {root / core}")
        percent = 100 * covered[core] / lines[core]
        failed = failed or percent < LEAST_LINES
        print(f"{core:36} lines {percent:6.2f} %   at least {LEAST_LINES} %")
    for line in missed:
        print(line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
