// What every command needs: where the coordinator is, how output is wanted, and the streams.
//
// Data goes to stdout, everything else to stderr. Thread safety: main thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/commands/client.h"
#include "cli/commands/exit_code.h"
#include "cli/render/text.h"

namespace pgconvoy::cli {

enum class Format { kTable, kWide, kJson, kYaml, kName, kCsv };

// The global options as given; empty where not.
struct GlobalOptions {
  std::string address;
  std::string config;
  std::string output;
  std::string color;
  std::string timeout;
  std::string tls_cert;
  std::string tls_key;
  std::string tls_ca;
  std::string tls_server_name;
  bool insecure = false;
  bool no_input = false;
  // The command knows -o csv.
  bool takes_csv = false;
};

class Session {
 public:
  // Resolves flag > environment > config file > default. InvalidArgument PGC-CLI-… for a bad value.
  static absl::StatusOr<std::unique_ptr<Session>> Create(const GlobalOptions& options);

  const std::string& address() const { return address_; }
  Format format() const { return format_; }
  bool structured() const { return format_ == Format::kJson || format_ == Format::kYaml; }
  bool wide() const { return format_ == Format::kWide; }
  const std::optional<Millis>& timeout() const { return timeout_; }
  const render::Style& out_style() const { return out_; }
  const render::Style& err_style() const { return err_; }
  // True when lines on that stream can be redrawn.
  bool out_moves() const { return out_moves_; }
  bool err_moves() const { return err_moves_; }
  // True when a person can be asked.
  bool can_ask() const { return can_ask_; }
  // Made at the first use.
  Client& client();

 private:
  Session() = default;
  void LookAtTerminals(const std::string& color, bool no_input);

  std::string address_;
  rpc::Security security_;
  Format format_ = Format::kTable;
  std::optional<Millis> timeout_;
  render::Style out_;
  render::Style err_;
  bool out_moves_ = false;
  bool err_moves_ = false;
  bool can_ask_ = false;
  std::unique_ptr<Client> client_;
};

// "500ms", "30s", "5m", "2h", "1d": a positive decimal number and a unit, at most 365 days.
absl::StatusOr<Millis> ParseDuration(std::string_view text);

void Out(std::string_view text);
// To stderr, with a newline added.
void Say(std::string_view text);
// Prints the error and gives its exit code. `next` is a command that helps, may be empty.
int Fail(const Session& session, const absl::Status& status, const std::string& next = {});
// The same for an error of the arguments that only shows later; always kUsage.
int FailUsage(const Session& session, std::string_view message, std::string_view remedy);

// What a command that changes much asks of whoever runs it, once it has said what it will do.
struct Confirmation {
  // "a rollback"
  std::string what;
  // What has to be typed, "y" for a plain question, and how that is asked.
  std::string answer = "y";
  std::string question = "Go on? [y/N] ";
  // The same command with --yes.
  std::string next;
};
// kOk when the operator agrees; kRefused, after saying that nothing was changed, when not; PGC-CLI-CONFIRM where nobody
// can be asked.
int Confirm(const Session& session, const Confirmation& confirmation);

// The name of whoever runs the command, for the event log.
std::string Actor();
int64_t NowUnixMs();
int64_t NowSteadyMs();

}  // namespace pgconvoy::cli
