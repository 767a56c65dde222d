#include "worker/phases/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string_view>

#include "common/base/error.h"

namespace pgconvoy::worker {
namespace {

struct FreeEasy {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, FreeEasy>;
using List = std::unique_ptr<curl_slist, FreeList>;

absl::Status Failure(std::string_view code, std::string_view what, std::string_view remedy) {
  return MakeError(Verdict::kPermanent, code, what, remedy);
}

// Fewer bytes than were offered make curl stop, which is what is wanted beyond the limit.
size_t TakeBody(const char* data, size_t, size_t length, void* body) {
  auto* const kept = static_cast<std::string*>(body);
  const size_t room = std::min(length, kMaxHttpBody - kept->size());
  kept->append(data, room);
  return room;
}

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

absl::StatusOr<List> Headers(const HttpRequest& request) {
  List list;
  for (const auto& [name, value] : request.headers) {
    if (HasControl(name) || HasControl(value)) {
      return Failure("PGC-HTTP-HEADER", "a header holds a line break or control character", "correct the header");
    }
    curl_slist* const longer = curl_slist_append(list.get(), (name + ": " + value).c_str());
    if (longer == nullptr) {
      return MakeError(Verdict::kTransient, "PGC-HTTP-FAILED", "no memory for the request");
    }
    static_cast<void>(list.release());
    list.reset(longer);
  }
  return list;
}

absl::Status Explain(CURLcode code) {
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
    return Failure("PGC-HTTP-URL", "the endpoint's URL is no http or https URL", "correct the check's url");
  }
  return Failure("PGC-HTTP-FAILED", "the endpoint did not answer: " + std::string(curl_easy_strerror(code)),
                 "check that it runs and can be reached from the worker");
}

}  // namespace

absl::StatusOr<HttpAnswer> HttpGet(const HttpRequest& request) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Easy easy(curl_easy_init());
  if (easy == nullptr) {
    return MakeError(Verdict::kTransient, "PGC-HTTP-FAILED", "no memory for the request");
  }
  PGC_ASSIGN_OR_RETURN(const List headers, Headers(request));
  HttpAnswer answer;
  curl_easy_setopt(easy.get(), CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout_ms));
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &TakeBody);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &answer.body);
  const CURLcode code = curl_easy_perform(easy.get());
  if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && answer.body.size() == kMaxHttpBody)) {
    return Explain(code);
  }
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<int>(status);
  return answer;
}

}  // namespace pgconvoy::worker
