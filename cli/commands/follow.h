// Following a migration to its end over coordinator restarts, with progress on the way.
#pragma once

#include "cli/commands/commands.h"

namespace pgconvoy::cli {

enum class FollowMode {
  // Progress is the result: stdout.
  kWatch,
  // Progress to stderr, only the outcome to stdout.
  kWait,
};

// Gives 0, 1, 2 or 3 by how the migration ended, 69 when the coordinator stayed away, 124 after the session's
// timeout, 130 after SIGINT or SIGTERM. The migration itself goes on in each of the last three.
int Follow(Session& session, const v1::Migration& migration, FollowMode mode);

}  // namespace pgconvoy::cli
