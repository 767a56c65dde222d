// The gRPC seam: statuses both ways, and channels. gRPC's own headers are included by the users of a function, not
// here.
//
// Thread safety: all functions may be called from any thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpc {
class Channel;
class ChannelCredentials;
class Status;
}  // namespace grpc

namespace pgconvoy::rpc {

// One field of a request that is wrong; becomes a google.rpc.BadRequest violation.
struct FieldViolation {
  std::string field;
  std::string description;
};

// Keeps the absl code; attaches google.rpc.Status details with ErrorInfo{reason, domain "pgconvoy", metadata code,
// verdict, remedy}. The reason is the code without "PGC-", upper case with underscores.
grpc::Status ToGrpc(const absl::Status& status, const std::vector<FieldViolation>& violations = {});
// The inverse; a status that is not ours gets code PGC-RPC-<CODE NAME>. One that refuses a caller for its certificate
// has its code before the message, because gRPC takes no details there.
absl::Status FromGrpc(const grpc::Status& status);

// Sets what gRPC takes from nothing but the environment, unless the user has set it. Once, before the first thread.
void PrepareProcess();

// `address` in gRPC's form. "host:port" and "unix:PATH" stay as they are, and so do lists that begin with "ipv4:" or
// "ipv6:"; "host:port,host:port" becomes one of these. PGC-RPC-ADDRESS when it is empty or a list of anything but
// IPv4 literals or [IPv6] literals, because gRPC takes no list of names.
absl::StatusOr<std::string> TargetOf(const std::string& address);

// `address` as TargetOf takes it; one that it refuses never connects. Of several coordinators the first that takes
// the connection is used. Keepalive every 10 s; messages up to kMaxMessageBytes. `server_name`: the name that the
// coordinator's certificate must have instead of the address's host; may be empty.
std::shared_ptr<grpc::Channel> Connect(const std::string& address,
                                       const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                                       const std::string& server_name);
// Plaintext.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

// Largest message either side takes.
inline constexpr int kMaxMessageBytes = 4 << 20;
// Largest set of headers or trailers of a call that either side takes.
inline constexpr int kMaxMetadataBytes = 8 << 10;
// Longest time that a unary call to the coordinator may be given; it refuses those with more, and those with none.
inline constexpr std::chrono::hours kLongestCall{1};
// The same where the whole event log is read, or a worker reads or changes files and servers.
inline constexpr std::chrono::hours kLongestTask{24};
// What workers and coordinator say to each other. A change that an older side would misunderstand raises the first; the
// second is the oldest that a coordinator still takes.
inline constexpr int kWorkerProtocol = 1;
inline constexpr int kOldestWorkerProtocol = 1;
// Silence after which either side pings the other.
inline constexpr int kKeepaliveMs = 10'000;

}  // namespace pgconvoy::rpc
