#include "cli/commands/session.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>

#include <pwd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/commands/config.h"
#include "cli/commands/local_state.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/rpc/rpc.h"

namespace pgconvoy::cli {
namespace {

constexpr char kDefaultAddress[] = "127.0.0.1:7070";
constexpr Millis kMaxDuration = std::chrono::hours(24 * 365);
constexpr int kDefaultWidth = 80;

// The first that is not empty.
std::string First(const std::string& flag, const char* variable, const std::string& file) {
  if (!flag.empty()) {
    return flag;
  }
  const std::string value = Env(variable);
  return value.empty() ? file : value;
}

absl::StatusOr<Format> ParseFormat(const std::string& name, bool takes_csv) {
  if (name == "csv" && takes_csv) {
    return Format::kCsv;
  }
  static const std::map<std::string, Format> kFormats = {{"table", Format::kTable},
                                                         {"wide", Format::kWide},
                                                         {"json", Format::kJson},
                                                         {"yaml", Format::kYaml},
                                                         {"name", Format::kName}};
  const auto found = kFormats.find(name.empty() ? "table" : name);
  if (found == kFormats.end()) {
    return InputError("PGC-CLI-OUTPUT", "unknown output format \"" + Printable(name) + "\"",
                      "use -o table, wide, json, yaml or name");
  }
  return found->second;
}

absl::StatusOr<rpc::Security> SecurityOf(const GlobalOptions& options, const Config& config) {
  rpc::Security security;
  security.certificate_file = First(options.tls_cert, "PGCONVOY_TLS_CERT", config.tls_cert);
  security.key_file = First(options.tls_key, "PGCONVOY_TLS_KEY", config.tls_key);
  security.authority_file = First(options.tls_ca, "PGCONVOY_TLS_CA", config.tls_ca);
  security.server_name = First(options.tls_server_name, "PGCONVOY_TLS_SERVER_NAME", config.tls_server_name);
  const std::string insecure = First(options.insecure ? "true" : "", "PGCONVOY_INSECURE", config.insecure);
  if (!insecure.empty() && insecure != "true" && insecure != "false") {
    return InputError("PGC-TLS-USAGE", "insecure is \"" + Printable(insecure) + "\"", "use true or false");
  }
  security.insecure = insecure == "true";
  return security;
}

bool WantsColor(const std::string& mode, bool tty) {
  if (mode == "always" || mode == "never") {
    return mode == "always";
  }
  return tty && Env("NO_COLOR").empty() && Env("TERM") != "dumb";
}

bool IsUtf8Locale() {
  std::string locale = Env("LC_ALL");
  locale = locale.empty() ? Env("LC_CTYPE") : locale;
  locale = locale.empty() ? Env("LANG") : locale;
  std::transform(locale.begin(), locale.end(), locale.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
}

int TerminalWidth(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  return kDefaultWidth;
}

}  // namespace

absl::StatusOr<Millis> ParseDuration(std::string_view text) {
  static const std::map<std::string_view, int64_t> kUnits = {
      {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto unit = kUnits.find(text.substr(digits));
  const std::optional<int64_t> number = ParseDecimal(text.substr(0, digits));
  if (!number || *number == 0 || unit == kUnits.end() || *number > kMaxDuration.count() / unit->second) {
    return InputError("PGC-CLI-DURATION", "\"" + Printable(text) + "\" is not a duration",
                      "write a number above 0 and a unit, such as 500ms, 30s, 5m, 2h or 1d, at most 365d");
  }
  return Millis(*number * unit->second);
}

absl::StatusOr<std::unique_ptr<Session>> Session::Create(const GlobalOptions& options) {
  PGC_ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config));
  std::unique_ptr<Session> session(new Session());
  const std::string color = First(options.color, "PGCONVOY_COLOR", config.color);
  if (!color.empty() && color != "auto" && color != "always" && color != "never") {
    return InputError("PGC-CLI-COLOR", "unknown color mode \"" + Printable(color) + "\"",
                      "use --color auto, always or never");
  }
  session->LookAtTerminals(color, options.no_input);
  PGC_ASSIGN_OR_RETURN(session->format_,
                       ParseFormat(First(options.output, "PGCONVOY_OUTPUT", config.output), options.takes_csv));
  if (const std::string timeout = First(options.timeout, "PGCONVOY_TIMEOUT", config.timeout); !timeout.empty()) {
    PGC_ASSIGN_OR_RETURN(session->timeout_, ParseDuration(timeout));
  }
  session->address_ = First(options.address, "PGCONVOY_ADDRESS", config.address);
  PGC_ASSIGN_OR_RETURN(session->security_, SecurityOf(options, config));
  if (const auto local = RunningLocalAddress(); session->address_.empty() && local.has_value()) {
    // The certificates, if any, are for another coordinator.
    session->address_ = *local;
    session->security_ = {};
  }
  session->address_ = session->address_.empty() ? kDefaultAddress : session->address_;
  PGC_RETURN_IF_ERROR(rpc::TargetOf(session->address_).status());
  const absl::Status clock = rpc::CheckClock(Clock::System().NowWall() / 1000);
  if (!clock.ok() && !session->security_.tls()) {
    std::cerr << "warning: " << Describe(clock) << "\n";
  }
  return session;
}

void Session::LookAtTerminals(const std::string& color, bool no_input) {
  const bool out_tty = isatty(STDOUT_FILENO) == 1;
  const bool err_tty = isatty(STDERR_FILENO) == 1;
  const bool ascii = !Env("PGCONVOY_ASCII").empty() || !IsUtf8Locale();
  out_ = {WantsColor(color, out_tty), ascii, out_tty ? TerminalWidth(STDOUT_FILENO) : 0};
  err_ = {WantsColor(color, err_tty), ascii, err_tty ? TerminalWidth(STDERR_FILENO) : 0};
  const bool dumb = Env("TERM") == "dumb" || Env("TERM").empty();
  out_moves_ = out_tty && !dumb;
  err_moves_ = err_tty && !dumb;
  can_ask_ = !no_input && err_tty && isatty(STDIN_FILENO) == 1;
}

Client& Session::client() {
  if (client_ == nullptr) {
    client_ = std::make_unique<Client>(address_, security_, timeout_);
  }
  return *client_;
}

void Out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void Say(std::string_view text) {
  std::fflush(stdout);
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

int Fail(const Session& session, const absl::Status& status, const std::string& next) {
  std::fflush(stdout);
  const std::string text =
      render::FormatError({CodeOf(status), MessageOf(status), RemedyOf(status), next}, session.err_style());
  std::fputs(text.c_str(), stderr);
  return ExitCodeOf(status);
}

int Confirm(const Session& session, const Confirmation& confirmation) {
  if (!session.can_ask()) {
    return Fail(session,
                MakeError(Verdict::kPermanent, "PGC-CLI-CONFIRM", confirmation.what + " wants a confirmation",
                          "nobody can be asked here, so say it on the command line"),
                confirmation.next);
  }
  std::fputs(confirmation.question.c_str(), stderr);
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == confirmation.answer || (confirmation.answer == "y" && answer == "yes")) {
    return kOk;
  }
  Say("nothing was changed");
  return kRefused;
}

int FailUsage(const Session& session, std::string_view message, std::string_view remedy) {
  Fail(session, InputError("PGC-CLI-USAGE", message, remedy));
  return kUsage;
}

std::string Actor() {
  const std::string sudo_user = Env("SUDO_USER");
  if (!sudo_user.empty()) {
    return sudo_user;
  }
  const passwd* entry = getpwuid(geteuid());
  return entry != nullptr ? entry->pw_name : std::to_string(geteuid());
}

int64_t NowUnixMs() { return Clock::System().NowWall(); }
int64_t NowSteadyMs() { return Clock::System().NowMonotonic(); }

}  // namespace pgconvoy::cli
