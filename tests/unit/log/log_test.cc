#include "common/log/log.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

namespace pgconvoy::log {
namespace {

// What the lines of `write` look like on stderr.
std::vector<std::string> LinesOf(Format format, Level level, const std::function<void()>& write) {
  ::testing::internal::CaptureStderr();
  Init("worker", format, level);
  write();
  std::istringstream text(::testing::internal::GetCapturedStderr());
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    lines.push_back(line);
  }
  return lines;
}

// The only line, as JSON.
nlohmann::json JsonOf(const std::function<void()>& write) {
  const std::vector<std::string> lines = LinesOf(Format::kJson, Level::kDebug, write);
  EXPECT_EQ(lines.size(), 1u);
  return lines.empty() ? nlohmann::json() : nlohmann::json::parse(lines[0], nullptr, /*allow_exceptions=*/false);
}

// What somebody would put into a name to write lines of his own.
constexpr char kForgery[] = "x\"}\r\n{\"level\":\"error\",\"message\":\"all is lost\"}\x1b[2J\xe2\x80\xa8\xff{}%v";

TEST(JsonLines, SayWhenWhoAndWhat) {
  const nlohmann::json line = JsonOf([] { Warn("hello", {{"address", "host:1"}}); });
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["component"], "worker");
  EXPECT_EQ(line["message"], "hello");
  EXPECT_EQ(line["address"], "host:1");
  const std::string time = line["time"];
  EXPECT_EQ(time.size(), std::string("2026-01-01T00:00:00.000Z").size()) << time;
  EXPECT_EQ(time.back(), 'Z');
}

TEST(JsonLines, CarryTheirContext) {
  const nlohmann::json line = JsonOf([] {
    Write(Level::kInfo, Context{"12", "acme", "COPY", 7}, "rows", {{"table", "auth.users"}});
  });
  EXPECT_EQ(line["migration"], "12");
  EXPECT_EQ(line["project"], "acme");
  EXPECT_EQ(line["phase"], "COPY");
  EXPECT_EQ(line["fence"], "7");
  EXPECT_EQ(line["table"], "auth.users");
}

TEST(JsonLines, LeaveOutWhatTheContextDoesNotHave) {
  const nlohmann::json line = JsonOf([] { Write(Level::kInfo, Context{"12", "", "", 0}, "paused"); });
  EXPECT_EQ(line["migration"], "12");
  EXPECT_FALSE(line.contains("project"));
  EXPECT_FALSE(line.contains("phase"));
  EXPECT_FALSE(line.contains("fence"));
}

TEST(JsonLines, CannotBeForgedByUntrustedText) {
  const nlohmann::json line = JsonOf([] {
    Write(Level::kInfo, Context{"12", kForgery, "COPY", 7}, kForgery, {{"table", kForgery}});
  });
  ASSERT_TRUE(line.is_object());
  EXPECT_EQ(line.size(), 9u) << line;
  EXPECT_EQ(line["level"], "info");
  for (const char* key : {"message", "project", "table"}) {
    EXPECT_EQ(line[key], R"(x"}\x0d\x0a{"level":"error","message":"all is lost"}\x1b[2J\u{2028}\xff{}%v)") << key;
  }
}

TEST(TextLines, CannotBeForgedByUntrustedText) {
  const std::vector<std::string> lines = LinesOf(Format::kText, Level::kDebug, [] {
    Write(Level::kInfo, Context{"12", kForgery, "COPY", 7}, kForgery, {{"table", kForgery}, {"empty", ""}});
  });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].find('\x1b'), std::string::npos);
  EXPECT_EQ(lines[0].find("\xe2\x80\xa8"), std::string::npos);
  EXPECT_NE(lines[0].find(R"( project="x\"}\\x0d\\x0a)"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find(" empty=\"\""), std::string::npos) << lines[0];
}

TEST(TextLines, QuoteAValueThatCouldPassForAnotherField) {
  const std::vector<std::string> lines = LinesOf(Format::kText, Level::kInfo, [] {
    Info("m", {{"a", "1 fence=9"}, {"b", "plain"}, {"c", "x=y"}});
  });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find(R"(worker: m a="1 fence=9" b=plain c="x=y")"), std::string::npos) << lines[0];
}

TEST(Level, HidesWhatIsBelowIt) {
  const std::vector<std::string> lines = LinesOf(Format::kText, Level::kWarn, [] {
    Debug("one");
    Info("two");
    Warn("three");
    Error("four");
  });
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("three"), std::string::npos);
  EXPECT_NE(lines[1].find("four"), std::string::npos);
}

}  // namespace
}  // namespace pgconvoy::log
