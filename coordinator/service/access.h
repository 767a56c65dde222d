// Who may call what: one table of methods and roles, asked before any method runs.
//
// Where a port has TLS, gRPC asks the check that MakeAccessCheck gives for every call, health and reflection included;
// a method that is not in the table is refused to everybody. A port without TLS knows no identities and checks nothing.
//
// Every unary call has a deadline, with TLS or without: CheckDeadline. gRPC has no place that knows the deadline of a
// call and may refuse it with details, so a service asks where its unary calls come in.
//
// Thread safety: all functions may be called from any thread.
// Errors: Unauthenticated as in common/rpc/identity.h; PermissionDenied PGC-AUTH-DENIED, PGC-AUTH-TRUST-DOMAIN,
// PGC-AUTH-WORKER-ID; InvalidArgument PGC-API-DEADLINE.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/rpc/identity.h"

namespace grpc {
class AuthMetadataProcessor;
class ServerContextBase;
}  // namespace grpc

namespace pgconvoy::service {

struct MethodAccess {
  // "/package.Service/Method"
  std::string_view method;
  bool viewer;
  bool operator_role;
  bool worker;
};

std::span<const MethodAccess> AccessTable();

// Whether the table lets `role` call `method`.
bool MayCall(rpc::Role role, std::string_view method);

// Refuses a call of `method` with this certificate (PEM) unless its identity is of `trust_domain` and may make it.
absl::Status CheckCall(std::string_view method,
                       std::string_view certificate_pem,
                       const std::string& trust_domain,
                       int64_t now_s);

// CheckCall for every call of a port.
std::shared_ptr<grpc::AuthMetadataProcessor> MakeAccessCheck(const std::string& trust_domain);

// Refuses a unary call that has no deadline (time_point::max()) or one later than `longest` from `now`, with a
// hundredth of grace for what gRPC's rounding adds. Streams need none.
absl::Status CheckDeadline(std::chrono::system_clock::time_point deadline,
                           std::chrono::system_clock::time_point now,
                           std::chrono::hours longest);

// The caller of a call that was let in; nothing on a port without TLS.
std::optional<rpc::Identity> CallerOf(const grpc::ServerContextBase& context);

// The name for the event log: that in the certificate, else what the caller says.
std::string ActorOf(const grpc::ServerContextBase& context, const std::string& claimed);

// Whether this caller may be the worker `worker_id`.
absl::Status CheckWorker(const std::optional<rpc::Identity>& caller, const std::string& worker_id);

}  // namespace pgconvoy::service
