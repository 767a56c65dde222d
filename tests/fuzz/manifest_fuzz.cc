// A manifest that is accepted is exactly what would be written for it.
#include "tests/fuzz/fuzz.h"
#include "worker/backup/backup.h"

using pgconvoy::fuzz::Require;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json = pgconvoy::fuzz::Text(data, size);
  if (const auto manifest = pgconvoy::backup::FromJson(json); manifest.ok()) {
    Require(pgconvoy::backup::ToJson(*manifest) == json, "an accepted manifest is in canonical form");
    Require(manifest->rows() >= 0 && manifest->stored_bytes() >= 0, "its sums make sense");
  }
  return 0;
}
