// One GET request. Redirects are not followed: where they lead is not what the plan names. The usual proxy variables
// of the environment are honoured.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace pgconvoy::worker {

// The answer's body beyond this is not read.
inline constexpr size_t kMaxHttpBody = 1 << 20;

struct HttpRequest {
  // http or https only.
  std::string url;
  std::map<std::string, std::string> headers;
  // For the whole request.
  int64_t timeout_ms = 0;
};

struct HttpAnswer {
  int status = 0;
  std::string body;
};

// PERMANENT PGC-HTTP-URL, PGC-HTTP-HEADER for what cannot be sent, PGC-HTTP-FAILED when no answer came in time. The
// message holds neither the URL nor a header: both may carry a secret.
absl::StatusOr<HttpAnswer> HttpGet(const HttpRequest& request);

}  // namespace pgconvoy::worker
