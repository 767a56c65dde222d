// Loaded into a program with LD_PRELOAD: its time of day is a minute after 1970, as on a machine whose clock nobody has
// set. Other clocks go on.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && clock == CLOCK_REALTIME) {
    now->tv_sec = 60;
  }
  return static_cast<int>(result);
}
