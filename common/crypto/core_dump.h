// Secrets of a process must not end up in a file when it crashes.
#pragma once

namespace pgconvoy {

// No core dump of this process, neither in a file nor through a handler of the system, and none of its children in a
// file. Nobody but root may attach to it or read its memory from then on. Call it first in main.
void ForbidCoreDumps();

}  // namespace pgconvoy
