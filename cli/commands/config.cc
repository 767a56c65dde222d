#include "cli/commands/config.h"

#include <cstdlib>
#include <filesystem>
#include <map>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

absl::Status Bad(const std::string& path, const std::string& what, const std::string& remedy) {
  return InputError("PGC-CLI-CONFIG", path + ": " + what, remedy);
}

absl::StatusOr<YAML::Node> ReadYaml(const std::string& path) {
  try {
    return YAML::LoadFile(path);
  } catch (const YAML::BadFile&) {
    return Bad(path, "cannot be read", "check the path and its permissions");
  } catch (const YAML::Exception& e) {
    return Bad(path, "line " + std::to_string(e.mark.line + 1) + ": " + e.msg, "write one `key: value` a line");
  }
}

}  // namespace

std::string Env(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string XdgFolder(const char* variable, const char* fallback) {
  const std::string folder = Env(variable);
  return folder.empty() ? Env("HOME") + "/" + fallback : folder;
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  std::string file = path.empty() ? Env("PGCONVOY_CONFIG") : path;
  if (file.empty()) {
    file = XdgFolder("XDG_CONFIG_HOME", ".config") + "/pgconvoy/config.yaml";
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored)) {
      return Config{};
    }
  }
  PGC_ASSIGN_OR_RETURN(const YAML::Node root, ReadYaml(file));
  Config config;
  if (root.IsNull()) {
    return config;
  }
  if (!root.IsMap()) {
    return Bad(file, "not a map", "write one `key: value` a line");
  }
  const std::map<std::string, std::string*> keys = {
      {"address", &config.address},   {"output", &config.output},
      {"color", &config.color},       {"timeout", &config.timeout},
      {"tls_cert", &config.tls_cert}, {"tls_key", &config.tls_key},
      {"tls_ca", &config.tls_ca},     {"tls_server_name", &config.tls_server_name},
      {"insecure", &config.insecure}};
  for (const auto& entry : root) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    const auto found = keys.find(key);
    if (found == keys.end() || !entry.second.IsScalar()) {
      return Bad(file, "key \"" + Printable(key) + "\" is not known or not a plain value",
                 "known keys: address, color, insecure, output, timeout, tls_ca, tls_cert, tls_key, tls_server_name");
    }
    *found->second = entry.second.Scalar();
  }
  return config;
}

}  // namespace pgconvoy::cli
