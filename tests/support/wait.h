// Waiting for what other processes and threads do. The timeout only bounds a failing test; no test may depend on time.
#pragma once

#include <chrono>
#include <functional>

namespace pgconvoy::testing {

// Asks `predicate` every 10 ms until it is true; false when it never was.
bool Eventually(const std::function<bool()>& predicate, std::chrono::milliseconds timeout = std::chrono::seconds(30));

}  // namespace pgconvoy::testing
