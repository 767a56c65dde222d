#!/usr/bin/env python3
"""The documents say what the programs do. Usage: docs_test.py ROOT BIN_DIR [unittest arguments]."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT, BIN = Path(sys.argv[1]), Path(sys.argv[2])
DAEMONS = "pgconvoy-coordinator", "pgconvoy-worker"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Of every command and every program; nobody looks them up.
PLAIN = {"--help", "--version"}


def printed(*command):
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, check=True)
    return done.stdout


def read(name):
    return (ROOT / name).read_text()


def flags_of(help_text):
    """The flags that a help text lists, not those that its prose mentions."""
    options = help_text.partition("\nOptions:\n")[2].partition("\n\n")[0]
    return {flag for line in options.split("\n") for flag in FLAG.findall(line[:34])} - PLAIN


def commands(path=()):
    """Every command of the CLI: its words, and its own help."""
    text = printed("pgconvoy", *path, "--help")
    found = {path: text} if path else {}
    for line in text.partition("\nSubcommands:\n")[2].split("\n"):
        if line.strip():
            found.update(commands((*path, line.split()[0])))
    return found


def table_below(text, heading):
    """The rows of the first table below a heading, as lists of cells."""
    lines = text.partition(heading)[2].lstrip("\n").split("\n")
    rows = []
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def named_commands(span):
    """`get a\\|b --x` -> ("get", "a"), ("get", "b")."""
    paths = [()]
    for word in span.replace("\\|", "|").split():
        if not re.fullmatch(r"[a-z][a-z|-]*", word):
            break
        paths = [(*path, choice) for path in paths for choice in word.split("|")]
    return paths


def code(text):
    """What stands in backticks or in a block, line by line."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [line for block in blocks for line in block.split("\n")] + spans


def exit_codes(text):
    """{code: meaning} out of "Exit codes: 0 this; 1 that." at the end of a help text."""
    sentence = " ".join(text.partition("Exit codes: ")[2].split()).rstrip(".")
    return dict(re.findall(r"(?:^|[;,] )(\d{1,3}) (.*?)(?=[;,] \d{1,3} |$)", sentence))


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cli = read("docs/cli.md")
        cls.readme = read("README.md")
        cls.commands = commands()
        cls.global_flags = flags_of(printed("pgconvoy", "--help"))

    def test_the_life_of_a_project_is_the_one_that_the_coordinator_prints(self):
        text = read("docs/architecture.md")
        table = text.partition("<!-- phase-table:begin -->\n")[2].partition("<!-- phase-table:end -->")[0]
        self.assertEqual(table, printed("pgconvoy-coordinator", "--print-phase-table"))

    def test_the_exit_codes_of_the_cli(self):
        lines = printed("pgconvoy", "help", "exit-codes").split("\n")[1:-1]
        codes = {line.split()[0]: line[6:] for line in lines}
        self.assertGreater(len(codes), 8)
        self.assertEqual({row[0]: row[1] for row in table_below(self.cli, "## Exit codes\n")}, codes)
        short = table_below(self.readme, "### pgconvoy\n")
        self.assertEqual([one for row in short for one in row[0].split(", ")], list(codes))

    def test_the_exit_codes_of_the_daemons(self):
        for daemon in DAEMONS:
            codes = exit_codes(printed(daemon, "--help"))
            self.assertGreater(len(codes), 4)
            rows = table_below(self.readme, f"### {daemon}\n")
            self.assertEqual({row[0]: row[1] for row in rows}, codes, daemon)

    def test_every_command_is_in_the_table_and_every_one_there_exists(self):
        rows = table_below(self.cli, "## Commands\n")
        listed = {path for row in rows for span in re.findall(r"`([^`]+)`", row[0]) for path in named_commands(span)}
        leaves = {path for path, text in self.commands.items() if "\nSubcommands:\n" not in text}
        self.assertEqual(listed, leaves)

    def test_flags_in_the_table_are_those_of_the_command(self):
        for row in table_below(self.cli, "## Commands\n"):
            paths = [path for span in re.findall(r"`([^`]+)`", row[0]) for path in named_commands(span)]
            own = set().union(*(flags_of(self.commands[path]) for path in paths))
            self.assertEqual(set(FLAG.findall(" ".join(row))), own, row[0])

    def test_options_of_every_command(self):
        rows = table_below(self.cli, "## Options of every command\n")
        # -o has a long form that the table leaves out.
        self.assertEqual({flag for row in rows for flag in FLAG.findall(row[0])} | {"--output"}, self.global_flags)

    def test_flags_and_variables_of_the_daemons(self):
        for daemon in DAEMONS:
            text = printed(daemon, "--help")
            rows = table_below(self.cli, f"### {daemon}\n")
            self.assertEqual({FLAG.findall(row[0])[0] for row in rows}, flags_of(text), daemon)
            for row in rows:
                flag = FLAG.findall(row[0])[0]
                entry = text.partition(f"\n  {flag}")[2].partition("\n  --")[0]
                self.assertEqual(re.findall(r"PGCONVOY_\w+", row[1]), re.findall(r"\[(PGCONVOY_\w+)\]", entry), flag)

    def test_commands_in_prose_and_plans_can_be_typed(self):
        texts = [read("README.md"), *(path.read_text() for path in sorted(ROOT.glob("docs/**/*.md")))]
        lines = [line for text in texts for line in code(text)]
        for path in ROOT.glob("plans/*.yaml"):
            text = path.read_text()
            lines += code(text) + [line.lstrip("# ") for line in text.split("\n")]
        seen = 0
        for line in lines:
            match = re.match(r"pgconvoy ((?:[a-z][a-z-]*(?: |$))+)", line.strip())
            if match is None:
                continue
            words = tuple(match[1].split())
            path = next((words[:n] for n in range(len(words), 0, -1) if words[:n] in self.commands), None)
            self.assertIsNotNone(path, line)
            allowed = flags_of(self.commands[path]) | self.global_flags | PLAIN
            self.assertLessEqual(set(FLAG.findall(line.partition("#")[0])), allowed, line)
            seen += 1
        self.assertGreater(seen, 10)

    def test_the_shipped_plans_are_valid(self):
        plans = sorted(ROOT.glob("plans/*.yaml"))
        self.assertTrue(plans)
        for plan in plans:
            self.assertIn("is valid", printed("pgconvoy", "plan", "validate", plan))

    def test_every_test_that_the_documents_name_exists(self):
        sources = "\n".join(path.read_text() for path in ROOT.glob("tests/**/*_test.cc"))
        suites = dict(re.findall(r"^(?:TEST|TEST_F|TEST_P)\((\w+),\s*(\w+)\)", sources, re.M))
        existing = {".".join(pair) for pair in re.findall(r"^(?:TEST|TEST_F|TEST_P)\((\w+),\s*(\w+)\)", sources, re.M)}
        texts = "".join(read(f"docs/{name}.md") for name in ("coverage", "security", "reliability"))
        named = re.findall(r"`([A-Z]\w+\.(?:[A-Z]\w+|\*))`", texts)
        self.assertGreater(len(named), 80)
        for name in named:
            suite, _, test = name.partition(".")
            self.assertTrue(suite in suites if test == "*" else name in existing, name)

    def test_what_is_said_about_dev(self):
        usage = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True).stdout
        demo = subprocess.run([ROOT / "deploy/demo/demo", "--help"], capture_output=True, text=True, check=True).stdout
        for line in code(self.readme):
            if line.startswith("./dev "):
                self.assertIn(f"\n{' '.join(line.split()[:2])} ", "\n" + usage)
            elif line.startswith("--"):
                self.assertLessEqual(set(FLAG.findall(line)), set(FLAG.findall(demo)) | flags_of(
                    printed("pgconvoy-worker", "--help")), line)


class BadInput(unittest.TestCase):
    """Every bad input has a row, and every row a test that exists."""

    @classmethod
    def setUpClass(cls):
        cls.text = read("docs/bad-input.md")
        cls.cells = [[cell.strip() for cell in line.split("|")] for line in cls.text.split("\n")
                     if re.match(r"\| \d", line)]

    def test_lists_each_number_once(self):
        numbers = [int(number) for cells in self.cells for number in cells[1].split(",")]
        self.assertEqual(sorted(numbers), list(range(1, 101)))

    def test_names_tests_that_exist(self):
        sources = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("*_test.cc")))
        hostile = read("tests/integration/hostile_client_test.py")
        targets = {path.name for path in (ROOT / "tests/fuzz/corpus").iterdir()}
        named = re.findall(r"`(\w+)\.(\w+)`", "\n".join(cells[4] for cells in self.cells if len(cells) > 4))
        self.assertGreater(len(named), 60)
        for suite, name in named:
            with self.subTest(f"{suite}.{name}"):
                if suite == "Fuzz":
                    self.assertIn(name, targets)
                elif suite == "Hostile":
                    self.assertIn(f"class {name}(", hostile)
                else:
                    self.assertRegex(sources, rf"TEST(_F|_P)?\(\s*{suite},\s*{name}\)")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
