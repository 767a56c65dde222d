#include "common/base/address.h"

#include "common/base/text.h"

namespace pgconvoy {
namespace {

// "127.0.0.1": four decimal numbers, as inet_pton wants them.
bool IsLoopbackIpv4(std::string_view host) {
  int numbers = 0;
  while (true) {
    const size_t dot = host.find('.');
    const auto number = ParseDecimal(host.substr(0, dot));
    if (!number.has_value() || *number > 255 || (numbers == 0 && *number != 127)) {
      return false;
    }
    ++numbers;
    if (dot == std::string_view::npos) {
      return numbers == 4;
    }
    host.remove_prefix(dot + 1);
  }
}

}  // namespace

bool IsLoopbackHost(std::string_view host) { return host == "localhost" || host == "::1" || IsLoopbackIpv4(host); }

}  // namespace pgconvoy
