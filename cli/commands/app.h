// The command line: what can be said, and who does it. CLI11 stays behind this header.
#pragma once

namespace pgconvoy::cli {

// Parses, runs one command and gives the exit code.
int Main(int argc, char** argv);

}  // namespace pgconvoy::cli
