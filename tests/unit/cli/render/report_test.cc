#include "cli/render/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ReportProject Project(const std::string& ref, ProjectState state, int64_t duration_ms) {
  ReportProject project;
  project.ref = ref;
  project.state = state;
  project.attempts = 1;
  project.duration_ms = duration_ms;
  project.rows = 10;
  return project;
}

ReportProject Failed(const std::string& ref, const std::string& code, const std::string& message) {
  ReportProject project = Project(ref, ProjectState::kRolledBack, 4'000);
  project.rolled_back = true;
  project.error = ErrorView{"PERMANENT", code, message, "put it right"};
  return project;
}

ReportInput Sample() {
  ReportInput input;
  input.id = "7";
  input.name = "isolate";
  input.state = "FAILED";
  input.projects = {Project("a", ProjectState::kSucceeded, 1'000),
                    Project("b", ProjectState::kSucceededWithWarnings, 2'000),
                    Failed("c", "PGC-X", "first"),
                    Failed("d", "PGC-Y", "second"),
                    Failed("e", "PGC-X", "third"),
                    Project("f", ProjectState::kPending, 0),
                    Project("g", ProjectState::kSkipped, 0)};
  input.projects[1].issues = {"login: slow"};
  input.phases = {{"FENCE", {10, 20, 30}}, {"COPY", {}}};
  return input;
}

// A name that is an attack in every format.
ReportInput Hostile() {
  ReportInput input = Sample();
  input.name = "<img src=x onerror=alert(1)>";
  input.projects[2].error->message = "=HYPERLINK(\"x\") | a, \"b\"\n# </td><script>";
  return input;
}

TEST(Report, RatesCountWhatHasEnded) {
  const ReportInput input = Sample();
  const Report report = MakeReport(input);
  EXPECT_EQ(report.ended, 5);
  EXPECT_EQ(report.succeeded, 2);
  EXPECT_EQ(report.rolled_back, 3);
  EXPECT_EQ(report.durations.mean, 3'000);
  EXPECT_EQ(report.durations.p95, 4'000);
  EXPECT_EQ(report.phases[0].second.p50, 20);
  EXPECT_EQ(report.rows, 70);
}

TEST(Report, FailuresAreGroupedByCodeMostFrequentFirst) {
  const ReportInput input = Sample();
  const Report report = MakeReport(input);
  ASSERT_EQ(report.failures.size(), 2U);
  EXPECT_EQ(report.failures[0].code, "PGC-X");
  ASSERT_EQ(report.failures[0].projects.size(), 2U);
  EXPECT_EQ(report.failures[0].projects[1]->ref, "e");
}

TEST(Report, HtmlIsOneFileThatAnybodyCanRead) {
  const ReportInput input = Sample();
  const std::string html = ReportHtml(MakeReport(input));
  EXPECT_THAT(html, HasSubstr("<html lang=\"en\">"));
  EXPECT_THAT(html, HasSubstr("<caption>Failures</caption>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"col\">Remedy</th>"));
  EXPECT_THAT(html, HasSubstr("<th scope=\"row\">Success rate</th><td>40.0 %</td>"));
  EXPECT_THAT(html, HasSubstr("@media print"));
  EXPECT_THAT(html, Not(HasSubstr("http://")));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
}

TEST(Report, NoTextOfAProjectBecomesMarkup) {
  const ReportInput input = Hostile();
  const std::string html = ReportHtml(MakeReport(input));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("&lt;img src=x onerror=alert(1)&gt;"));
  const std::string markdown = ReportMarkdown(MakeReport(input));
  EXPECT_THAT(markdown, Not(HasSubstr("<img")));
  EXPECT_THAT(markdown, Not(HasSubstr("\n# </td>")));
  EXPECT_THAT(markdown, HasSubstr("\\| a, &quot;b&quot;"));
}

TEST(Report, CsvHasALineForEachProjectAndNoFormula) {
  const ReportInput input = Hostile();
  const std::string csv = ReportCsv(MakeReport(input));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 8) << csv;
  EXPECT_THAT(csv, HasSubstr("c,ROLLED_BACK,1,4000,10,0,true,PGC-X,\"'=HYPERLINK("));
  EXPECT_THAT(csv, HasSubstr("b,SUCCEEDED_WITH_WARNINGS,1,2000,10,0,false,,,,login: slow\n"));
}

TEST(Report, AMigrationWithoutFailuresSaysSo) {
  ReportInput input;
  input.id = "1";
  EXPECT_THAT(ReportMarkdown(MakeReport(input)), HasSubstr("No project has failed."));
  EXPECT_THAT(ReportHtml(MakeReport(input)), HasSubstr("<p>No project has failed.</p>"));
}

}  // namespace
}  // namespace pgconvoy::render
