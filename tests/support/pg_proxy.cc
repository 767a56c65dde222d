#include "tests/support/pg_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <utility>

namespace pgconvoy::testing {
namespace {

constexpr int kPollMs = 20;
constexpr size_t kLength = 4;
constexpr size_t kHeader = 1 + kLength;

// Codes in place of a protocol version, and types of messages.
constexpr uint32_t kCancelRequest = 80877102;
constexpr uint32_t kSslRequest = 80877103;
constexpr uint32_t kGssRequest = 80877104;
constexpr char kRefused = 'N';
// Of SASLInitialResponse, SASLResponse and PasswordMessage.
constexpr char kPassword = 'p';
constexpr char kQuery = 'Q';
constexpr char kParse = 'P';
constexpr char kReadyForQuery = 'Z';

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

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

// False when there is nothing more to read.
bool ReadSome(int fd, std::string& buffer) {
  std::array<char, 65'536> bytes;
  const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), 0);
  buffer.append(bytes.data(), n > 0 ? static_cast<size_t>(n) : 0);
  return n > 0;
}

bool Readable(const pollfd& fd) { return (fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0; }

uint32_t NumberAt(std::string_view bytes, size_t at) {
  uint32_t number = 0;
  std::memcpy(&number, bytes.data() + at, sizeof(number));
  return ntohl(number);
}

// Takes the first message off the buffer, with its header of `header` bytes; "" when it is not all there.
std::string TakeMessage(std::string& buffer, size_t header) {
  if (buffer.size() < header) {
    return "";
  }
  const size_t size = header - kLength + NumberAt(buffer, header - kLength);
  if (buffer.size() < size) {
    return "";
  }
  std::string message = buffer.substr(0, size);
  buffer.erase(0, size);
  return message;
}

// The user that a startup message names.
std::string UserOf(const std::string& startup) {
  const std::string key("user\0", 5);
  const size_t at = startup.find(key);
  return at == std::string::npos ? "" : std::string(startup.c_str() + at + key.size());
}

// The text of a Query or of a Parse; "" of any other message.
std::string_view StatementOf(const std::string& message) {
  if (message[0] == kQuery) {
    return message.c_str() + kHeader;
  }
  if (message[0] == kParse) {
    // The statement's name comes first.
    return message.c_str() + kHeader + std::strlen(message.c_str() + kHeader) + 1;
  }
  return "";
}

}  // namespace

// One connection, from its first byte on.
class PgProxy::Session {
 public:
  Session(PgProxy& proxy, int client, int server)
      : proxy_(proxy),
        client_(client),
        server_(server),
        state_(proxy.protocol_ == Protocol::kPostgres ? State::kStarting : State::kOpaque) {}

  // What has arrived from either side is passed on, held or swallowed; false when the connection is over.
  bool FromClient() {
    if (!ReadSome(client_, requests_)) {
      return false;
    }
    while (!requests_.empty()) {
      if (state_ == State::kOpaque) {
        return WriteAll(server_, std::exchange(requests_, {}));
      }
      if (state_ == State::kAsking) {
        return true;
      }
      const std::string message = TakeMessage(requests_, state_ == State::kStarting ? kLength : kHeader);
      if (message.empty()) {
        return true;
      }
      if (!(state_ == State::kStarting ? Start(message) : Pass(message))) {
        return false;
      }
    }
    return true;
  }

  bool FromServer() {
    if (!ReadSome(server_, answers_)) {
      return false;
    }
    if (state_ == State::kAsking) {
      state_ = answers_[0] == kRefused ? State::kStarting : State::kOpaque;
    }
    return dropping_ ? Swallow() : WriteAll(client_, std::exchange(answers_, {}));
  }

 private:
  // kAsking: the client has asked for encryption, and the server has not answered. kOpaque: cannot be read.
  enum class State { kStarting, kAsking, kOpen, kOpaque };

  bool Start(const std::string& message) {
    const uint32_t code = NumberAt(message, kLength);
    if (code == kSslRequest || code == kGssRequest) {
      state_ = State::kAsking;
    } else if (code == kCancelRequest) {
      state_ = State::kOpaque;
    } else {
      state_ = State::kOpen;
      user_ = UserOf(message);
    }
    return WriteAll(server_, message);
  }

  bool Pass(const std::string& message) {
    if (message[0] == kPassword) {
      if (++passwords_ == 2) {
        proxy_.HoldWhileWanted(user_);
      }
      return WriteAll(server_, message);
    }
    if (const int delay = proxy_.delay_ms_; delay > 0) {
      ::poll(nullptr, 0, delay);
    }
    const Verdict verdict = proxy_.Judge(StatementOf(message));
    dropping_ = dropping_ || verdict == Verdict::kDropReply;
    return verdict != Verdict::kClose && WriteAll(server_, message);
  }

  // False when the server has said all that it has to say to the statement.
  bool Swallow() {
    for (std::string answer = TakeMessage(answers_, kHeader); !answer.empty();
         answer = TakeMessage(answers_, kHeader)) {
      if (answer[0] == kReadyForQuery) {
        proxy_.Count(kDroppedReply);
        return false;
      }
    }
    return true;
  }

  PgProxy& proxy_;
  const int client_;
  const int server_;
  State state_;
  std::string requests_;
  std::string answers_;
  std::string user_;
  int passwords_ = 0;
  bool dropping_ = false;
};

PgProxy::PgProxy(int server_port, Protocol protocol) : server_port_(server_port), protocol_(protocol) {
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

PgProxy::~PgProxy() {
  ended_ = true;
  acceptor_.join();
  for (Served& served : served_) {
    served.thread.join();
  }
  ::close(listener_);
}

void PgProxy::CloseAtMessage(int n) {
  const std::lock_guard<std::mutex> lock(mutex_);
  messages_left_ = n;
}

void PgProxy::CloseAtStatement(const std::string& beginning) {
  const std::lock_guard<std::mutex> lock(mutex_);
  close_at_ = beginning;
}

void PgProxy::DropReplyTo(const std::string& beginning) {
  const std::lock_guard<std::mutex> lock(mutex_);
  drop_reply_to_ = beginning;
}

void PgProxy::CutAll() { ++generation_; }

void PgProxy::HoldLoginsOf(const std::string& user_prefix) {
  const std::lock_guard<std::mutex> lock(mutex_);
  held_prefix_ = user_prefix;
}

void PgProxy::Release() { HoldLoginsOf(""); }

bool PgProxy::IsHeld(const std::string& user) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return !held_prefix_.empty() && user.starts_with(held_prefix_);
}

void PgProxy::HoldWhileWanted(const std::string& user) {
  if (!IsHeld(user)) {
    return;
  }
  ++holding_;
  while (IsHeld(user) && !ended_) {
    ::poll(nullptr, 0, kPollMs);
  }
  --holding_;
}

PgProxy::Verdict PgProxy::Judge(std::string_view statement) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (messages_left_ > 0 && --messages_left_ == 0) {
    Count(kClosedAtMessage);
    return Verdict::kClose;
  }
  if (!close_at_.empty() && statement.starts_with(close_at_)) {
    close_at_.clear();
    Count(kClosedAtStatement);
    return Verdict::kClose;
  }
  if (!drop_reply_to_.empty() && statement.starts_with(drop_reply_to_)) {
    drop_reply_to_.clear();
    return Verdict::kDropReply;
  }
  return Verdict::kPass;
}

void PgProxy::Accept() {
  while (!ended_) {
    served_.remove_if([](Served& served) {
      if (served.ended) {
        served.thread.join();
      }
      return !served.thread.joinable();
    });
    pollfd listening{listener_, POLLIN, 0};
    if (::poll(&listening, 1, kPollMs) > 0) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client >= 0) {
        Served& served = served_.emplace_back();
        served.thread = std::thread([this, client, &served] { Serve(client, served.ended); });
      }
    }
  }
}

void PgProxy::Serve(int client, std::atomic<bool>& ended) {
  const int generation = generation_;
  const int server = ConnectTo(server_port_);
  Session session(*this, client, server);
  bool open = server >= 0;
  while (open && !ended_) {
    if (generation != generation_) {
      Count(kCut);
      break;
    }
    if (stalled_) {
      ::poll(nullptr, 0, kPollMs);
      continue;
    }
    pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (::poll(fds, 2, kPollMs) <= 0 || stalled_) {
      continue;
    }
    open = (!Readable(fds[0]) || session.FromClient()) && (!Readable(fds[1]) || session.FromServer());
  }
  ::close(client);
  ::close(server);
  ended = true;
}

}  // namespace pgconvoy::testing
