// What the calls of the service need of the rest of the coordinator; all of it outlives them.
#pragma once

#include <memory>

namespace pgconvoy::runtime {
class Runtime;
}
namespace pgconvoy::store {
class StoreReader;
}

namespace pgconvoy::service {

class ThreadPool;

struct Backend {
  runtime::Runtime& runtime;
  // Set before the runtime leads for the first time.
  std::unique_ptr<store::StoreReader>& reader;
  ThreadPool& pool;
};

}  // namespace pgconvoy::service
