// A fresh folder under /tmp, removed with everything in it on destruction. Others may enter it (mode 0711), because
// servers run as user postgres.
#pragma once

#include <string>

namespace pgconvoy::testing {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A TCP port of 127.0.0.1 that nobody uses now; below the range that the kernel gives to outgoing connections, so that
// it stays free while a server restarts. Each call of a process gives another one. Thread safety: any thread.
int FreePort();

}  // namespace pgconvoy::testing
