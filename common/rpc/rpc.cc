#include "common/rpc/rpc.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/rpc/error_details.pb.h"

namespace pgconvoy::rpc {
namespace {

constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kBadRequestUrl[] = "type.googleapis.com/google.rpc.BadRequest";
constexpr char kDomain[] = "pgconvoy";
// Message and details travel as trailers, of which a peer takes 8 KiB unless it was told otherwise. These limits keep
// the sum below that, details being base64 and the message percent-encoded.
constexpr size_t kMaxMessageChars = 3000;
constexpr size_t kMaxRemedyChars = 500;
constexpr size_t kMaxViolations = 10;
constexpr size_t kMaxFieldChars = 80;
constexpr size_t kMaxDescriptionChars = 120;

std::string ReasonOf(const std::string& code) {
  std::string reason = code.starts_with("PGC-") ? code.substr(4) : code;
  std::replace(reason.begin(), reason.end(), '-', '_');
  std::transform(reason.begin(), reason.end(), reason.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return reason;
}

// Not in the middle of a UTF-8 sequence: protobuf refuses to parse broken ones.
std::string CutAt(const std::string& text, size_t end) {
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  return text.substr(0, end) + "…";
}

std::string Clip(const std::string& text, size_t limit) {
  const std::string legible = IsUtf8(text) ? text : Printable(text);
  return legible.size() <= limit ? legible : CutAt(legible, limit);
}

std::string ClipMessage(const std::string& text) {
  size_t encoded = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool as_it_is = text[i] >= ' ' && text[i] <= '~' && text[i] != '%';
    encoded += as_it_is ? 1 : 3;
    if (encoded > kMaxMessageChars) {
      return CutAt(text, i);
    }
  }
  return text;
}

void AddDetail(wire::Status& status, const char* url, const google::protobuf::Message& message) {
  google::protobuf::Any* const any = status.add_details();
  any->set_type_url(url);
  any->set_value(message.SerializeAsString());
}

wire::ErrorInfo InfoOf(const absl::Status& status) {
  wire::ErrorInfo info;
  const std::string code = CodeOf(status);
  info.set_reason(ReasonOf(code));
  info.set_domain(kDomain);
  (*info.mutable_metadata())["code"] = code;
  (*info.mutable_metadata())["verdict"] = std::string(VerdictName(VerdictOf(status)));
  if (const std::string remedy = RemedyOf(status); !remedy.empty()) {
    (*info.mutable_metadata())["remedy"] = Clip(remedy, kMaxRemedyChars);
  }
  return info;
}

std::string_view CodeName(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED: return "CANCELLED";
    case grpc::StatusCode::INVALID_ARGUMENT: return "INVALID-ARGUMENT";
    case grpc::StatusCode::DEADLINE_EXCEEDED: return "DEADLINE-EXCEEDED";
    case grpc::StatusCode::NOT_FOUND: return "NOT-FOUND";
    case grpc::StatusCode::ALREADY_EXISTS: return "ALREADY-EXISTS";
    case grpc::StatusCode::PERMISSION_DENIED: return "PERMISSION-DENIED";
    case grpc::StatusCode::UNAUTHENTICATED: return "UNAUTHENTICATED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return "RESOURCE-EXHAUSTED";
    case grpc::StatusCode::FAILED_PRECONDITION: return "FAILED-PRECONDITION";
    case grpc::StatusCode::ABORTED: return "ABORTED";
    case grpc::StatusCode::OUT_OF_RANGE: return "OUT-OF-RANGE";
    case grpc::StatusCode::UNIMPLEMENTED: return "UNIMPLEMENTED";
    case grpc::StatusCode::INTERNAL: return "INTERNAL";
    case grpc::StatusCode::UNAVAILABLE: return "UNAVAILABLE";
    case grpc::StatusCode::DATA_LOSS: return "DATA-LOSS";
    default: return "UNKNOWN";
  }
}

Verdict VerdictFromName(const std::string& name, grpc::StatusCode code) {
  for (const Verdict verdict : {Verdict::kTransient, Verdict::kPermanent, Verdict::kInDoubt, Verdict::kFenced,
                                Verdict::kOperator, Verdict::kAbandoned}) {
    if (name == VerdictName(verdict)) {
      return verdict;
    }
  }
  return VerdictOf(absl::Status(static_cast<absl::StatusCode>(code), ""));
}

// MakeError chooses the absl code from the verdict; the wire's code wins.
absl::Status WithCode(grpc::StatusCode code, const absl::Status& made) {
  return WithStatusCode(static_cast<absl::StatusCode>(code), made);
}

bool FindErrorInfo(const grpc::Status& status, wire::ErrorInfo& info) {
  wire::Status details;
  if (status.error_details().empty() || !details.ParseFromString(status.error_details())) {
    return false;
  }
  for (const auto& any : details.details()) {
    if (any.type_url() == kErrorInfoUrl && info.ParseFromString(any.value()) && info.domain() == kDomain) {
      return true;
    }
  }
  return false;
}

// A call that is refused for its certificate has no details; its code stands before the message.
std::pair<std::string, std::string> SplitCode(const grpc::Status& status) {
  const bool refused = status.error_code() == grpc::StatusCode::UNAUTHENTICATED ||
                       status.error_code() == grpc::StatusCode::PERMISSION_DENIED;
  const std::string message = status.error_message();
  const size_t colon = message.find(": ");
  if (refused && colon != std::string::npos && message.starts_with("PGC-")) {
    return {message.substr(0, colon), message.substr(colon + 2)};
  }
  return {"PGC-RPC-" + std::string(CodeName(status.error_code())), message};
}

bool IsPort(std::string_view text) {
  const auto port = ParseDecimal(text);
  return port.has_value() && *port >= 1 && *port <= 65535;
}

// AF_INET for "192.0.2.1:7070", AF_INET6 for "[2001:db8::1]:7070", else AF_UNSPEC.
int FamilyOf(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || !IsPort(std::string_view(address).substr(colon + 1))) {
    return AF_UNSPEC;
  }
  std::string host = address.substr(0, colon);
  in6_addr ignored{};
  if (::inet_pton(AF_INET, host.c_str(), &ignored) == 1) {
    return AF_INET;
  }
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  host = bracketed ? host.substr(1, host.size() - 2) : "";
  return ::inet_pton(AF_INET6, host.c_str(), &ignored) == 1 ? AF_INET6 : AF_UNSPEC;
}

// The family of all of a list's addresses; AF_UNSPEC when they have none in common.
int FamilyOfAll(const std::string& list) {
  const int family = FamilyOf(list.substr(0, list.find(',')));
  for (size_t from = 0; from <= list.size();) {
    const size_t end = std::min(list.find(',', from), list.size());
    if (FamilyOf(list.substr(from, end - from)) != family) {
      return AF_UNSPEC;
    }
    from = end + 1;
  }
  return family;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status, const std::vector<FieldViolation>& violations) {
  if (status.ok()) {
    return grpc::Status::OK;
  }
  const auto code = static_cast<grpc::StatusCode>(status.raw_code());
  wire::Status details;
  details.set_code(code);
  AddDetail(details, kErrorInfoUrl, InfoOf(status));
  if (!violations.empty()) {
    wire::BadRequest bad;
    for (size_t i = 0; i < std::min(violations.size(), kMaxViolations); ++i) {
      auto* const violation = bad.add_field_violations();
      violation->set_field(Clip(violations[i].field, kMaxFieldChars));
      violation->set_description(Clip(violations[i].description, kMaxDescriptionChars));
    }
    AddDetail(details, kBadRequestUrl, bad);
  }
  return {code, ClipMessage(MessageOf(status)), details.SerializeAsString()};
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) {
    return absl::OkStatus();
  }
  const grpc::StatusCode code = status.error_code();
  wire::ErrorInfo info;
  if (!FindErrorInfo(status, info)) {
    const auto [name, message] = SplitCode(status);
    return WithCode(code, MakeError(VerdictFromName("", code), name, message));
  }
  const auto value = [&info](const char* key) {
    const auto it = info.metadata().find(key);
    return it == info.metadata().end() ? std::string() : it->second;
  };
  return WithCode(code, MakeError(VerdictFromName(value("verdict"), code), value("code"), status.error_message(),
                                  value("remedy")));
}

void PrepareProcess() {
  // gRPC writes lines of its own to stderr, in a form of its own, for what our errors say already.
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
  // A connection that was begun makes progress only while a call waits on it, else at this interval; the usual five
  // seconds would be the time that a coordinator which is back stays unnoticed.
  ::setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "200", 0);
  // Debian's Abseil looks for lock cycles at every lock that gRPC takes. Our own locks are checked when they are
  // compiled.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

absl::StatusOr<std::string> TargetOf(const std::string& address) {
  const bool of_grpc = address.starts_with("ipv4:") || address.starts_with("ipv6:") || address.starts_with("unix:");
  if (of_grpc || (!address.empty() && address.find(',') == std::string::npos)) {
    return address;
  }
  switch (FamilyOfAll(address)) {
    case AF_INET: return "ipv4:" + address;
    case AF_INET6: return "ipv6:" + address;
    default: break;
  }
  return InputError(
      "PGC-RPC-ADDRESS", "\"" + Printable(address) + "\" does not name coordinators",
      "write HOST:PORT, or several as IP:PORT,IP:PORT, all IPv4 or all [IPv6]; several host names cannot "
      "be listed: use one name that resolves to all of them");
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address,
                                       const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                       const std::string& server_name) {
  grpc::ChannelArguments arguments;
  if (!server_name.empty()) {
    arguments.SetSslTargetNameOverride(server_name);
  }
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A coordinator that comes back must be found soon, not after gRPC's default of up to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  return grpc::CreateCustomChannel(TargetOf(address).value_or(address), credentials, arguments);
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  return Connect(address, grpc::InsecureChannelCredentials(), "");
}

}  // namespace pgconvoy::rpc
