#include "cli/commands/app.h"
#include "common/crypto/core_dump.h"

int main(int argc, char** argv) {
  // The private key is read by `credentials reveal`.
  pgconvoy::ForbidCoreDumps();
  return pgconvoy::cli::Main(argc, argv);
}
