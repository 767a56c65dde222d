#include "cli/render/text.h"

#include <gtest/gtest.h>

namespace pgconvoy::render {
namespace {

TEST(Text, GroupsDigitsByThousands) {
  EXPECT_EQ(Count(0), "0");
  EXPECT_EQ(Count(999), "999");
  EXPECT_EQ(Count(1000), "1,000");
  EXPECT_EQ(Count(1234567), "1,234,567");
  EXPECT_EQ(Count(-999), "-999");
  EXPECT_EQ(Count(-1000), "-1,000");
  EXPECT_EQ(Count(INT64_MIN), "-9,223,372,036,854,775,808");
}

TEST(Text, ChangesTheUnitOfBytesBeforeItWouldPrint1024) {
  EXPECT_EQ(Bytes(0), "0 B");
  EXPECT_EQ(Bytes(1023), "1023 B");
  EXPECT_EQ(Bytes(1024), "1.0 KiB");
  EXPECT_EQ(Bytes(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(Bytes(17'825'792), "17.0 MiB");
  EXPECT_EQ(Bytes(INT64_MAX), "8192.0 PiB");
}

TEST(Text, ChoosesTheUnitOfADuration) {
  EXPECT_EQ(Duration(-5), "0.0 s");
  EXPECT_EQ(Duration(340), "0.3 s");
  EXPECT_EQ(Duration(9'949), "9.9 s");
  EXPECT_EQ(Duration(9'950), "10 s");
  EXPECT_EQ(Duration(59'499), "59 s");
  EXPECT_EQ(Duration(59'500), "1m00s");
  EXPECT_EQ(Duration(185'000), "3m05s");
  EXPECT_EQ(Duration(7'800'000), "2h10m");
  EXPECT_EQ(Duration(356'400'000), "4d03h");
}

TEST(Text, WritesTimesInUtc) {
  EXPECT_EQ(Time(1'772'358'730'000), "2026-03-01 09:52:10Z");
  EXPECT_EQ(ClockTime(1'772'358'730'000), "09:52:10");
  EXPECT_EQ(Time(0), "-");
}

TEST(Text, ClipsByColumnsAndNotInsideACharacter) {
  EXPECT_EQ(Clip("grün", 4, {}), "grün");
  EXPECT_EQ(Clip("grüner", 4, {}), "grü…");
  EXPECT_EQ(Clip("grüner", 4, {.ascii = true}), "grü~");
  EXPECT_EQ(Clip("grüner", 1, {}), "…");
  EXPECT_EQ(Clip("grüner", 0, {}), "");
}

TEST(Text, PaintsOnlyWhereColourIsWanted) {
  EXPECT_EQ(Paint("x", Tone::kBad, {}), "x");
  EXPECT_EQ(Paint("x", Tone::kBad, {.color = true}), "\x1b[31mx\x1b[0m");
  EXPECT_EQ(Paint("x", Tone::kPlain, {.color = true}), "x");
}

TEST(Text, ErrorsSayWhatHowToFixAndWhatNext) {
  EXPECT_EQ(FormatError({"PGC-X-Y", "it broke", "mend it", "pgconvoy retry 7"}, {}),
            "error PGC-X-Y: it broke; mend it\nnext: pgconvoy retry 7\n");
  EXPECT_EQ(FormatError({"PGC-X-Y", "it broke", "", ""}, {}), "error PGC-X-Y: it broke\n");
}

TEST(Text, ErrorsNeverPassTerminalEscapesOn) {
  const std::string text = FormatError({"PGC-X-Y", "name \x1b[2J", "", ""}, {});
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
}

}  // namespace
}  // namespace pgconvoy::render
