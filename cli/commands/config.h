// The configuration file: a YAML map, every key optional.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace pgconvoy::cli {

struct Config {
  std::string address;
  std::string output;
  std::string color;
  std::string timeout;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_ca;
  std::string tls_server_name;
  // "true" or "false".
  std::string insecure;
};

// `path` empty: $PGCONVOY_CONFIG, else $XDG_CONFIG_HOME/pgconvoy/config.yaml (~/.config), which need not exist.
// InvalidArgument PGC-CLI-CONFIG for an unreadable file or an unknown key.
absl::StatusOr<Config> LoadConfig(const std::string& path);

// The variable's value, "" when unset.
std::string Env(const char* name);
// $XDG_…_HOME, else ~/`fallback`.
std::string XdgFolder(const char* variable, const char* fallback);

}  // namespace pgconvoy::cli
