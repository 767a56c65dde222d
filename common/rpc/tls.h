// Mutual TLS (1.2 or newer) for the gRPC connections: which files, whether they can be used, and gRPC's credentials.
//
// A process is given all three files or none. Without them it speaks plaintext, to addresses that only this machine
// reaches; to others only if it was told --insecure.
//
// Thread safety: all functions may be called from any thread.
// Errors: InvalidArgument. PGC-TLS-USAGE: some of the three, or what contradicts them; PGC-TLS-REQUIRED: plaintext to
// an address that others reach; PGC-TLS-FILE, PGC-TLS-KEY-MODE: a file that cannot be read, or that too many can read;
// PGC-TLS-SERVER-NAME: nothing says which name the coordinator must have; PGC-CLOCK-UNSET: this machine does not know
// what time it is, by which a certificate would be judged; and those of common/crypto/certificate.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/crypto.h"
#include "common/rpc/identity.h"

namespace grpc {
class Channel;
class ServerCredentials;
}  // namespace grpc

namespace pgconvoy::rpc {

// What --tls-cert, --tls-key, --tls-ca, --tls-server-name and --insecure say.
struct Security {
  // Our certificate, followed by those between it and the authority, if any.
  std::string certificate_file;
  // Readable by its owner alone; one of root also by its group.
  std::string key_file;
  // The authorities that the other side's certificate may be from.
  std::string authority_file;
  // Clients: the name in the coordinator's certificate; "": the host of the address.
  std::string server_name;
  bool insecure = false;

  bool tls() const { return !certificate_file.empty(); }
};

// True when no other machine reaches the address: unix:PATH, localhost, 127.0.0.0/8, [::1]; of a list, all of it.
bool IsLocalAddress(const std::string& address);

// Whether the options go together and may be used with this address; reads no file.
absl::Status CheckSecurity(const Security& security, const std::string& address);

// PGC-CLOCK-UNSET when `now_s`, Unix seconds, is before 2020: a clock that nobody has set begins in 1970, or when the
// machine was built. LoadTls refuses it; who goes on without TLS says it once, as a warning.
absl::Status CheckClock(int64_t now_s);

// The contents of the files, checked: key and certificate fit, the certificate is valid now and from this authority.
struct TlsMaterial {
  std::string certificate_pem;
  Secret key_pem;
  std::string authority_pem;
};
absl::StatusOr<TlsMaterial> LoadTls(const Security& security);

// What our own certificate says that we are. Unauthenticated as in identity.h.
absl::StatusOr<Identity> OwnIdentity(const Security& security);

// A channel to a coordinator as rpc::Connect makes it; the files are read now, so a channel that is made anew takes up
// what was renewed.
absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(const std::string& address, const Security& security);

// For a server that asks every client for a certificate. The files are looked at every second: certificates that were
// renewed in place are used for new connections.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerTls(const Security& security);

}  // namespace pgconvoy::rpc
