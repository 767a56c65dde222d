// The part of ScramVerifier that depends on no random number, so that published test vectors can be run against it.
#pragma once

#include <string>
#include <string_view>

namespace pgconvoy::crypto_internal {

// See ScramVerifier. `salt` is raw bytes.
std::string ScramVerifierWithSalt(std::string_view password, std::string_view salt, int iterations);

}  // namespace pgconvoy::crypto_internal
