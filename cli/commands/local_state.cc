#include "cli/commands/local_state.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/commands/config.h"
#include "common/base/error.h"

namespace pgconvoy::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ToObject(const ProcessRef& process) {
  return {{"name", process.name}, {"pid", process.pid}, {"start_ticks", process.start_ticks}};
}

ProcessRef FromObject(const Json& object) {
  return {object.at("name").get<std::string>(), object.at("pid").get<pid_t>(),
          object.at("start_ticks").get<int64_t>()};
}

LocalState FromJson(const Json& object) {
  LocalState state;
  state.address = object.at("address").get<std::string>();
  state.supervisor = FromObject(object.at("supervisor"));
  state.coordinator = FromObject(object.at("coordinator"));
  for (const Json& worker : object.at("workers")) {
    state.workers.push_back(FromObject(worker));
  }
  return state;
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

std::string DefaultLocalDir() {
  if (geteuid() == 0 && Env("XDG_STATE_HOME").empty()) {
    return "/var/lib/pgconvoy";
  }
  return XdgFolder("XDG_STATE_HOME", ".local/state") + "/pgconvoy";
}

std::string LocalStateFile(const std::string& dir) { return dir + "/local.json"; }

absl::Status WriteLocalState(const std::string& dir, const LocalState& state) {
  Json workers = Json::array();
  for (const ProcessRef& worker : state.workers) {
    workers.push_back(ToObject(worker));
  }
  const Json object = {{"address", state.address},
                       {"supervisor", ToObject(state.supervisor)},
                       {"coordinator", ToObject(state.coordinator)},
                       {"workers", workers}};
  const std::string text = object.dump(1) + "\n";
  const std::string temporary = LocalStateFile(dir) + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) {
    close(fd);
  }
  if (!written || std::rename(temporary.c_str(), LocalStateFile(dir).c_str()) != 0) {
    return absl::InternalError("cannot write " + LocalStateFile(dir) + ": " + std::strerror(written ? errno : error));
  }
  return absl::OkStatus();
}

absl::StatusOr<LocalState> ReadLocalState(const std::string& dir) {
  const std::string text = ReadAll(LocalStateFile(dir));
  if (text.empty()) {
    return absl::NotFoundError("no " + LocalStateFile(dir));
  }
  try {
    return FromJson(Json::parse(text));
  } catch (const Json::exception&) {
    return InputError("PGC-LOCAL-STATE", LocalStateFile(dir) + " is damaged",
                      "stop its processes and remove the file");
  }
}

std::optional<int64_t> StartTicks(pid_t pid) {
  const std::string stat = ReadAll("/proc/" + std::to_string(pid) + "/stat");
  // The second field is the command in parentheses and may hold anything, so count from the last one.
  const size_t end = stat.rfind(')');
  if (end == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(stat.substr(end + 1));
  std::string state;
  fields >> state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) {
    fields >> skipped;
  }
  int64_t ticks = 0;
  return state != "Z" && fields >> ticks ? std::optional(ticks) : std::nullopt;
}

bool IsAlive(const ProcessRef& process) { return process.pid > 0 && StartTicks(process.pid) == process.start_ticks; }

std::optional<std::string> RunningLocalAddress() {
  const auto state = ReadLocalState(DefaultLocalDir());
  if (state.ok() && IsAlive(state->supervisor)) {
    return state->address;
  }
  return std::nullopt;
}

}  // namespace pgconvoy::cli
