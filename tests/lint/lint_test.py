#!/usr/bin/env python3
"""That the lint finds what it is there for: each case is a small tree with one violation."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).parent


def run(tool, files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, HERE / tool, folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


class Includes(unittest.TestCase):
    def refused(self, path, include, **others):
        files = {path: f"#include {include}\n"}
        files.update({name: text for name, text in others.values()})
        code, output = run("includes.py", files)
        self.assertEqual(code, 1, output)
        self.assertIn(path, output)

    def test_accepts_a_clean_tree(self):
        code, output = run("includes.py", {
            "common/base/a.h": '#include <string>\n#include "absl/status/status.h"\n',
            "coordinator/core/b.cc": '#include "common/base/a.h"\n#include <map>\n',
            "coordinator/service/c.cc": '#include "coordinator/core/b.h"\n#include <grpcpp/grpcpp.h>\n',
        })
        self.assertEqual((code, output), (0, ""))

    def test_refuses_an_empty_tree(self):
        self.assertEqual(run("includes.py", {"x": ""})[0], 1)

    def test_keeps_components_apart(self):
        self.refused("worker/a.cc", '"coordinator/b.h"', b=("coordinator/b.h", ""))
        self.refused("cli/a.cc", '"worker/b.h"', b=("worker/b.h", ""))
        self.refused("common/log/a.cc", '"cli/b.h"', b=("cli/b.h", ""))

    def test_keeps_pure_folders_pure(self):
        self.refused("coordinator/core/a.cc", "<thread>")
        self.refused("coordinator/core/a.cc", '"pgconvoy/v1/plan.pb.h"')
        self.refused("cli/render/a.cc", "<unistd.h>")
        self.refused("worker/core/a.cc", '"common/pg/b.h"', b=("common/pg/b.h", ""))

    def test_finds_what_comes_through_another_header(self):
        self.refused("coordinator/service/a.cc", '"coordinator/store/b.h"',
                     b=("coordinator/store/b.h", "#include <pqxx/pqxx>\n"))

    def test_keeps_locks_out_of_pure_folders(self):
        self.refused("coordinator/core/a.cc", '"common/base/b.h"', b=("common/base/b.h", "#include <mutex>\n"))

    def test_keeps_grpc_out_of_headers(self):
        self.refused("coordinator/service/a.h", "<grpcpp/server.h>")
        self.refused("cli/commands/a.h", '"CLI/CLI.hpp"')

    def test_keeps_libraries_in_their_homes(self):
        self.refused("worker/copy/a.cc", "<libpq-fe.h>")
        self.refused("coordinator/runtime/a.cc", "<pqxx/pqxx>")


class Locks(unittest.TestCase):
    HEADER = """#include "common/base/mutex.h"
class Counter {
 public:
  void Grow() { %s ++count_; }
 private:
  pgconvoy::Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};
"""

    def check(self, body, more=""):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            (root / "common/base").mkdir(parents=True)
            (root / "common/base/mutex.h").write_text((HERE.parent.parent / "common/base/mutex.h").read_text())
            source = root / "common/base/counter.cc"
            source.write_text(self.HEADER % body + more)
            entry = {"directory": folder, "file": str(source), "command": f"c++ -std=c++20 -I{root} -c {source}"}
            (root / "compile_commands.json").write_text(json.dumps([entry]))
            done = subprocess.run([sys.executable, HERE / "thread_safety.py", root, root], capture_output=True,
                                  text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def test_accepts_what_is_locked(self):
        self.assertEqual(self.check("const pgconvoy::MutexLock lock(mutex_);"), (0, ""))

    def test_refuses_what_is_not_locked(self):
        code, output = self.check("")
        self.assertEqual(code, 1)
        self.assertIn("requires holding mutex 'mutex_'", output)

    def test_refuses_locks_that_it_cannot_check(self):
        code, output = self.check("const pgconvoy::MutexLock lock(mutex_);", "std::mutex other;\n")
        self.assertEqual(code, 1)
        self.assertIn("common/base/counter.cc:9: std::mutex is not checked", output)


class Text(unittest.TestCase):
    def test_finds_each_small_thing(self):
        for text in "a \n", "\ta\n", "// TO" "DO: b\n", "x" * 121 + "\n", "a":
            code, output = run("text.py", {"common/a.cc": text})
            self.assertEqual(code, 1, repr(text))
            self.assertIn("common/a.cc:1", output)
        self.assertEqual(run("text.py", {"common/a.h": "int a;\n"})[0], 1)

    def test_accepts_clean_files(self):
        self.assertEqual(run("text.py", {"common/a.h": "#pragma once\n", "build/b.cc": "\t"}), (0, ""))


if __name__ == "__main__":
    unittest.main()
