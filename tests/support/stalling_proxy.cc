#include "tests/support/stalling_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

namespace pgconvoy::testing {
namespace {

constexpr int kPollMs = 20;
// Type of SASLInitialResponse, SASLResponse and PasswordMessage.
constexpr char kPassword = 'p';

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

int ConnectTo(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

bool WriteAll(int fd, const std::string& bytes) {
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t n = ::send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
    if (n <= 0) {
      return false;
    }
    written += static_cast<size_t>(n);
  }
  return true;
}

// "" when there is nothing more to read.
std::string ReadSome(int fd) {
  std::string bytes(65'536, '\0');
  const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), 0);
  bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return bytes;
}

bool Readable(const pollfd& fd) { return (fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0; }

// The user that a startup message names; "" when it is no startup message.
std::string UserOf(const std::string& message) {
  const std::string key("user\0", 5);
  const size_t at = message.find(key);
  return at == std::string::npos ? "" : std::string(message.c_str() + at + key.size());
}

}  // namespace

StallingProxy::StallingProxy(int server_port) : server_port_(server_port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof(address);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), length) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    ::close(listener_);
    throw std::runtime_error("the proxy finds no port");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

StallingProxy::~StallingProxy() {
  ended_ = true;
  acceptor_.join();
  for (std::thread& connection : connections_) {
    connection.join();
  }
  ::close(listener_);
}

void StallingProxy::HoldLoginsOf(const std::string& user_prefix) {
  const std::lock_guard<std::mutex> lock(mutex_);
  held_prefix_ = user_prefix;
}

void StallingProxy::Release() { HoldLoginsOf(""); }

bool StallingProxy::IsHeld(const std::string& user) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return !held_prefix_.empty() && user.starts_with(held_prefix_);
}

void StallingProxy::Accept() {
  while (!ended_) {
    pollfd listening{listener_, POLLIN, 0};
    if (::poll(&listening, 1, kPollMs) > 0) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client >= 0) {
        connections_.emplace_back([this, client] { Serve(client); });
      }
    }
  }
}

// While it authenticates, a client sends one message and waits for the answer, so that what arrives is one message.
void StallingProxy::Serve(int client) {
  const int server = ConnectTo(server_port_);
  std::string user;
  int passwords = 0;
  bool open = server >= 0;
  while (open && !ended_) {
    pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (::poll(fds, 2, kPollMs) <= 0) {
      continue;
    }
    if (Readable(fds[0])) {
      const std::string bytes = ReadSome(client);
      if (user.empty()) {
        user = UserOf(bytes);
      }
      if (passwords < 2 && bytes.starts_with(kPassword) && ++passwords == 2 && IsHeld(user)) {
        ++holding_;
        while (IsHeld(user) && !ended_) {
          ::poll(nullptr, 0, kPollMs);
        }
        --holding_;
      }
      open = !bytes.empty() && WriteAll(server, bytes);
    }
    if (open && Readable(fds[1])) {
      const std::string bytes = ReadSome(server);
      open = !bytes.empty() && WriteAll(client, bytes);
    }
  }
  ::close(client);
  ::close(server);
}

}  // namespace pgconvoy::testing
