#include "tests/support/worker_network.h"

#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

#include "tests/support/wait.h"

namespace pgconvoy::testing {
namespace {

void Run(const std::vector<std::string>& argv) {
  const Finished done = RunToEnd({.argv = argv});
  if (done.exit_code != 0) {
    throw std::runtime_error(argv[0] + ": " + done.err);
  }
}

// Of the ends of a link, here and there.
std::string Here(WorkerNetwork::Link link) { return "pgc-here" + std::to_string(link); }
std::string There(WorkerNetwork::Link link) { return "pgc-there" + std::to_string(link); }

std::string Subnet(WorkerNetwork::Link link) { return "10.77." + std::to_string(link) + "."; }

}  // namespace

bool WorkerNetwork::Enter() {
  if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
    return false;
  }
  Run({"/usr/sbin/ip", "link", "set", "lo", "up"});
  return true;
}

WorkerNetwork::WorkerNetwork()
    : holder_(std::make_unique<Process>(ProcessOptions{.argv = {"/usr/bin/unshare", "--net", "/bin/sleep", "inf"}})) {
  const auto ours = std::filesystem::read_symlink("/proc/self/ns/net");
  if (!Eventually([&] { return std::filesystem::read_symlink(Namespace()) != ours; })) {
    throw std::runtime_error("a process in a network namespace of its own does not start");
  }
  const std::string pid = std::to_string(holder_->pid());
  Inside({"/usr/sbin/ip", "link", "set", "lo", "up"});
  for (const Link link : {kCoordinator, kSource, kTarget}) {
    Run({"/usr/sbin/ip", "link", "add", Here(link), "type", "veth", "peer", "name", There(link), "netns", pid});
    Run({"/usr/sbin/ip", "address", "add", Address(link) + "/24", "dev", Here(link)});
    Inside({"/usr/sbin/ip", "address", "add", Subnet(link) + "2/24", "dev", There(link)});
    Inside({"/usr/sbin/ip", "link", "set", There(link), "up"});
    Heal(link);
  }
}

std::string WorkerNetwork::Namespace() const { return "/proc/" + std::to_string(holder_->pid()) + "/ns/net"; }

std::vector<std::string> WorkerNetwork::command() const { return {"/usr/bin/nsenter", "--net=" + Namespace(), "--"}; }

std::string WorkerNetwork::Address(Link link) { return Subnet(link) + "1"; }

// Without our end the other one has no carrier, but keeps its routes: what it sends is dropped.
void WorkerNetwork::Cut(Link link) const { Run({"/usr/sbin/ip", "link", "set", Here(link), "down"}); }

void WorkerNetwork::Heal(Link link) const { Run({"/usr/sbin/ip", "link", "set", Here(link), "up"}); }

void WorkerNetwork::Slow(Link link, int rate) const {
  const std::vector<std::string> limit = {"root",  "tbf",  "rate",    std::to_string(rate),
                                          "burst", "1600", "latency", "1s"};
  std::vector<std::string> here = {"/usr/sbin/tc", "qdisc", "replace", "dev", Here(link)};
  std::vector<std::string> there = {"/usr/sbin/tc", "qdisc", "replace", "dev", There(link)};
  here.insert(here.end(), limit.begin(), limit.end());
  there.insert(there.end(), limit.begin(), limit.end());
  Run(here);
  Inside(there);
}

void WorkerNetwork::Inside(const std::vector<std::string>& argv) const {
  std::vector<std::string> all = command();
  all.insert(all.end(), argv.begin(), argv.end());
  Run(all);
}

}  // namespace pgconvoy::testing
