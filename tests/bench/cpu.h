// CPU time of processes and of what they have started: says where time goes, and unlike wall time it hardly depends on
// what else the machine does.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

namespace pgconvoy::bench {

// Seconds of user and system time of a process, its living descendants, and those that it has waited for.
double CpuSeconds(pid_t pid);

// What a group of processes used between Start and Stop, added up over all such pairs.
class CpuMeter {
 public:
  // Measures `pid` under this name from the next Start on.
  void Watch(const std::string& name, pid_t pid) { pids_[name] = pid; }
  // The same for all children of this process that end before Stop.
  void WatchEndedChildren(const std::string& name) { Watch(name, kEndedChildren); }
  void Start();
  void Stop();
  // "source 1.20 ms, target 14.10 ms, …": per unit, when there were so many units between all Starts and Stops.
  std::string PerUnit(int units) const;

 private:
  static constexpr pid_t kEndedChildren = 0;
  static double Seconds(pid_t pid);

  std::map<std::string, pid_t> pids_;
  std::map<std::string, double> begin_;
  std::map<std::string, double> used_;
};

}  // namespace pgconvoy::bench
