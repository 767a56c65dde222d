// Whether a connection string takes plaintext from another machine, and whether a session is plaintext.
//
// Thread safety: all functions may be called from any thread.
#pragma once

#include <optional>
#include <string>

namespace pgconvoy::pg {

class Connection;

// --insecure: connection strings may ask for plaintext from now on. Once, before the first session.
void AllowPlaintext();

// "disable", "allow" or "prefer" when `conninfo`, keywords or a URI, says so for a server of which one host is another
// machine, and AllowPlaintext was not called; nothing when it says nothing of it, asks for GSSAPI's encryption instead,
// or cannot be parsed.
std::optional<std::string> ForbiddenPlaintext(const std::string& conninfo);

// Whether the session is neither encrypted nor with this machine: others may read and change what it carries.
bool IsExposed(Connection& connection);

}  // namespace pgconvoy::pg
