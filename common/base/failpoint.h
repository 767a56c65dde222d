// Named places where a test makes the process die, stop, fail or wait. Compiled to nothing unless the build has
// PGCONVOY_FAILPOINTS=ON (presets dev and asan; never in release images).
//
// The environment variable PGCONVOY_FAILPOINTS holds a list: "name=action[@N][;name=action…]".
//   kill        raise(SIGKILL)
//   stop        raise(SIGSTOP)
//   sleep(MS)   sleeps
//   error       the failpoint returns an Unavailable status
//   timeout     what the failpoint surrounds is done, and then reported as in doubt: the answer is lost
//   duplicate   what the failpoint surrounds is done twice
// The last two have an effect only at PGC_UNDER_FAILPOINT, all others happen there before it.
// @N: only at the N-th hit of this process (default: the first); @*: at every hit.
// PGCONVOY_FAILPOINTS_ONCE=FILE: the file is created by the first failpoint that fires, and none fires once it
// exists; so a restarted process is not hit again.
// PGCONVOY_FAILPOINTS_LOG=FILE: every failpoint that fires adds a line "name action" to it first.
//
// Thread safety: any thread.
#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"

namespace pgconvoy {

// Runs the action configured for `name`; OK when there is none. Prefer the macro.
absl::Status HitFailpoint(std::string_view name);
// Calls `act` under the failpoint: not at all, once or twice, as the action says.
absl::Status RunUnderFailpoint(std::string_view name, const std::function<absl::Status()>& act);

}  // namespace pgconvoy

#ifdef PGCONVOY_FAILPOINTS_ENABLED
// In a function that returns absl::Status or StatusOr.
#define PGC_FAILPOINT(name)                                                                 \
  do {                                                                                      \
    if (absl::Status pgc_failpoint = ::pgconvoy::HitFailpoint(name); !pgc_failpoint.ok()) { \
      return pgc_failpoint;                                                                 \
    }                                                                                       \
  } while (false)
// An expression: the status of `act`, or what the failpoint makes of it.
#define PGC_UNDER_FAILPOINT(name, act) ::pgconvoy::RunUnderFailpoint(name, act)
#else
#define PGC_UNDER_FAILPOINT(name, act) (act)()
#define PGC_FAILPOINT(name) \
  do {                      \
  } while (false)
#endif
