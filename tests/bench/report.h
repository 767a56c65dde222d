// How a benchmark is run and what it says: contestants take turns in each round on the same servers, so that a noisy
// machine disturbs all of them alike; medians are compared, never single runs.
//
// Errors: everything throws std::runtime_error. A wrong result is an error, not a bad time.
// Thread safety: one thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace pgconvoy::bench {

struct Options {
  // Small sizes and one round: shows that everything still works and judges no times.
  bool quick = false;
  // One JSON object per line instead of tables.
  bool json = false;
  // 0: the benchmark's own number.
  int rounds = 0;
  // Names of the contestants that take part beside ours; empty: all.
  std::vector<std::string> peers;
};

// Who is measured. `run` does the work once and returns the seconds that count, per unit of the benchmark (a project,
// say); it prepares and checks outside of that time.
struct Contestant {
  std::string name;
  std::function<double()> run;
};

// Ours must be at most `at_most` times as slow as the peer. target.at_most 0.5 is "twice as fast".
struct Target {
  std::string ours;
  std::string peer;
  double at_most = 0;
};

class Report {
 public:
  Report(std::string benchmark, const Options& options) : benchmark_(std::move(benchmark)), options_(options) {}

  // What the figures depend on, printed before them.
  void Setting(const std::string& name, const std::string& value);
  // Runs all contestants in turn, `rounds` times, and prints a table of them with unit `unit`.
  void Compare(const std::string& unit, int rounds, const std::vector<Contestant>& contestants);
  // The median of a contestant of Compare, in seconds.
  double Median(const std::string& name) const;
  bool Has(const std::string& name) const { return seconds_.contains(name); }
  // One line per target whose contestants took part; none for a quick run, which judges nothing.
  void Judge(const std::vector<Target>& targets);
  // A figure that is compared with a limit of its own instead of with a peer.
  enum class Want { kAtMost, kAtLeast };
  void JudgeValue(const std::string& name, double value, Want want, double target, const std::string& unit);

  // False when a target was missed. Always true for quick runs.
  bool ok() const { return ok_; }
  const Options& options() const { return options_; }
  int RoundsOr(int usual) const { return options_.quick ? 1 : options_.rounds > 0 ? options_.rounds : usual; }
  bool TakesPart(const std::string& peer) const;

 private:
  void Verdict(bool pass);

  std::string benchmark_;
  Options options_;
  std::map<std::string, std::vector<double>> seconds_;
  bool ok_ = true;
};

// Seconds that `work` takes.
double Timed(const std::function<void()>& work);

}  // namespace pgconvoy::bench
