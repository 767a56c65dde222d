#include <gtest/gtest.h>

#include <fstream>

#include "process.h"

namespace pgconvoy::cli {
namespace {

void ExpectUsage(const std::vector<std::string>& args, const std::string& hint) {
  const Result result = Pgconvoy(args);
  EXPECT_EQ(result.code, 64) << hint;
  EXPECT_EQ(result.out, "") << hint;
  EXPECT_NE(result.err.find(hint), std::string::npos) << "wanted: " << hint << "\ngot: " << result.err;
}

TEST(Usage, ErrorsNameWhatIsWrongAndWhatWasMeant) {
  ExpectUsage({}, "a command is missing");
  ExpectUsage({"sumbit"}, "unknown command \"sumbit\"; did you mean \"submit\"?");
  ExpectUsage({"submt", "p.yaml", "--projcts", "x"}, "unknown command \"submt\"; did you mean \"submit\"?");
  ExpectUsage({"get"}, "known: migrations, batches, projects, workers, events");
  ExpectUsage({"get", "projets"}, "did you mean \"projects\"?");
  ExpectUsage({"get", "projects", "--stat", "FAILED"}, "unknown argument \"--stat\"; did you mean \"--state\"?");
  ExpectUsage({"get", "workers", "--adress", "x"}, "did you mean \"--address\"?");
  ExpectUsage({"submit"}, "PLAN is required");
  ExpectUsage({"submit", "p.yaml", "--projects"}, "--projects");
  ExpectUsage({"help", "exit-code"}, "no help on");
}

TEST(Usage, ContradictionsAreRefused) {
  ExpectUsage({"--address", "a", "--address", "b", "get", "workers"}, "--address");
  ExpectUsage({"submit", "p.yaml", "--all", "--dry-run", "--wait"}, "--wait");
  ExpectUsage({"get", "workers", "--address", "a:1,b:1"}, "PGC-RPC-ADDRESS");
  ExpectUsage({"submit", "p.yaml"}, "either --projects FILE.csv or --all");
  ExpectUsage({"submit", "p.yaml", "--all", "--projects", "x.csv"}, "either --projects FILE.csv or --all");
  ExpectUsage({"retry", "7"}, "either --failed or --project");
  ExpectUsage({"retry", "7", "--failed", "--project", "a"}, "--failed");
}

TEST(Usage, NumbersHaveRanges) {
  for (const char* value : {"0", "-1", "65", "1000000000", "3.5", "0x10", "010", "x", ""}) {
    const std::string why = "--workers: \"" + std::string(value) + "\" is not a whole number from 1 to 64";
    ExpectUsage({"local", "up", "--workers", value}, why);
  }
  ExpectUsage({"submit", "p.yaml", "--all", "--batch-size", "10001"}, "--batch-size");
  ExpectUsage({"get", "workers", "-o", "xml"}, "use -o table, wide, json, yaml or name");
  ExpectUsage({"get", "workers", "--color", "blue"}, "use --color auto, always or never");
  ExpectUsage({"watch", "seven"}, "ids are numbers");
}

TEST(Usage, AnEmptyValueIsNotTakenForNoValue) {
  ExpectUsage({"rollback", "7", "--project", "", "--yes"}, "--project: the value is empty");
  ExpectUsage({"cancel", ""}, "ID: the value is empty");
  ExpectUsage({"get", "workers", "--timeout", ""}, "--timeout: the value is empty");
  ExpectUsage({"get", "workers", "--address", ""}, "--address: the value is empty");
}

TEST(Usage, DurationsHaveUnitsAndBounds) {
  for (const char* value : {"5", "5m30", "999999h", "0s", "-1s", "1e3s", "s", "5 s"}) {
    ExpectUsage({"get", "workers", "--timeout", value}, "PGC-CLI-DURATION: \"" + std::string(value) + "\"");
  }
}

TEST(Usage, EveryHelpBeginsWithAnExample) {
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{{},
                                                                                       {"submit"},
                                                                                       {"get"},
                                                                                       {"get", "projects"},
                                                                                       {"describe", "project"},
                                                                                       {"watch"},
                                                                                       {"wait"},
                                                                                       {"retry"},
                                                                                       {"rollback"},
                                                                                       {"plan", "validate"},
                                                                                       {"credentials", "reveal"},
                                                                                       {"backup", "verify"},
                                                                                       {"local", "up"}}) {
    std::vector<std::string> args = command;
    args.push_back("--help");
    const Result result = Pgconvoy(args);
    EXPECT_EQ(result.code, 0);
    EXPECT_TRUE(result.out.starts_with("Example:\n  pgconvoy ")) << result.out;
    std::string usage = "Usage: pgconvoy";
    for (const std::string& word : command) {
      usage += " " + word;
    }
    EXPECT_NE(result.out.find(usage), std::string::npos) << result.out;
  }
}

TEST(Usage, HelpOfACommandIsItsHelp) {
  EXPECT_EQ(Pgconvoy({"help", "submit"}).out, Pgconvoy({"submit", "--help"}).out);
  EXPECT_EQ(Pgconvoy({"help"}).out, Pgconvoy({"--help"}).out);
}

TEST(Usage, TheDocumentedExitCodesAreTheOnesThatHelpPrints) {
  const std::string docs = ReadFile(std::string(std::getenv("PGCONVOY_SOURCE_DIR")) + "/docs/cli.md");
  const std::string help = Pgconvoy({"help", "exit-codes"}).out;
  size_t lines = 0;
  for (size_t from = help.find('\n') + 1; from < help.size(); ++lines) {
    const size_t end = help.find('\n', from);
    const std::string code = help.substr(from, help.find(' ', from) - from);
    const std::string meaning = help.substr(from + 6, end - from - 6);
    EXPECT_NE(docs.find("| " + code + " | " + meaning + " |"), std::string::npos) << code << " " << meaning;
    from = end + 1;
  }
  EXPECT_EQ(lines, 11U);
}

TEST(Usage, VersionIsDataOnStdout) {
  const Result result = Pgconvoy({"--version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_TRUE(result.out.starts_with("pgconvoy 0.")) << result.out;
}

TEST(Usage, AReaderThatHasSeenEnoughIsNoError) {
  const TempDir folder;
  // The pipe's only reader has gone before the first byte is written, as after `| head`.
  Process shell({"-c", "cd " + folder.path() + " && mkfifo pipe && { sleep 0 < pipe & exec 3> pipe; wait; } && " +
                           BinDir() + "/pgconvoy help exit-codes >&3; echo $?"},
                {}, "/bin/sh");
  const Result result = shell.Finish();
  EXPECT_EQ(result.out, "141\n") << "SIGPIPE";
  EXPECT_EQ(result.err, "");
}

TEST(Usage, ClosedStreamsDoNotMatterUnlessTheyAreWritten) {
  const std::string command = BinDir() + "/pgconvoy help exit-codes";
  EXPECT_EQ(Process({"-c", command + " <&-"}, {}, "/bin/sh").Finish().code, 0);
  const Result unwritten = Process({"-c", command + " >&-"}, {}, "/bin/sh").Finish();
  EXPECT_EQ(unwritten.code, 1);
  EXPECT_NE(unwritten.err.find("error PGC-CLI-OUTPUT"), std::string::npos) << unwritten.err;
}

TEST(Usage, AFullDiskIsAnError) {
  std::ifstream full("/dev/full");
  ASSERT_TRUE(full.good());
  Process shell({"-c", BinDir() + "/pgconvoy help exit-codes > /dev/full"}, {}, "/bin/sh");
  const Result result = shell.Finish();
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.err.find("PGC-CLI-OUTPUT"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace pgconvoy::cli
