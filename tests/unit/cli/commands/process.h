// Runs the real pgconvoy binary and keeps what it wrote.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

namespace pgconvoy::cli {

struct Result {
  // -SIGNAL when a signal ended it.
  int code = -1;
  std::string out;
  std::string err;
};

using Environment = std::map<std::string, std::string>;

// A folder that is removed with its content.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  // Writes a file there and gives its path.
  std::string Write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

std::string BinDir();
std::string ReadFile(const std::string& path);

// One run with pipes for all streams; the environment is HOME (an empty folder), PATH, LANG and what is given.
class Process {
 public:
  Process(const std::vector<std::string>& args, const Environment& environment = {}, std::string binary = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  pid_t pid() const { return pid_; }
  // Reads until `text` has been written to stderr, or the process closed it; true when it came.
  bool WaitForErr(const std::string& text);
  bool WaitForOut(const std::string& text);
  // Reads to the end and reaps.
  Result Finish();

 private:
  bool ReadSome();
  TempDir home_;
  pid_t pid_ = 0;
  int out_fd_ = -1;
  int err_fd_ = -1;
  Result result_;
};

Result Pgconvoy(const std::vector<std::string>& args, const Environment& environment = {});

// The same on a terminal of 80x24, with `input` typed; everything shown ends up in `out`.
Result RunOnTerminal(const std::vector<std::string>& args,
                     const std::string& input,
                     const Environment& environment = {});

}  // namespace pgconvoy::cli
