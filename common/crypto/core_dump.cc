#include "common/crypto/core_dump.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace pgconvoy {

void ForbidCoreDumps() {
  // The limit does not hold for a handler that the kernel pipes dumps to; that flag does, but not for children.
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

}  // namespace pgconvoy
