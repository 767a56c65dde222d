#include "cli/commands/follow.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <thread>

#include "cli/commands/json.h"
#include "cli/commands/views.h"
#include "cli/render/rate.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace pgconvoy::cli {
namespace {

constexpr Millis kTick{200};
// A terminal's clock and ETA go on while nothing arrives.
constexpr int64_t kRedrawMs = 1'000;
constexpr int64_t kUnavailableMs = 60'000;
constexpr int64_t kFirstBackoffMs = 200;
constexpr int64_t kMostBackoffMs = 5'000;

volatile std::sig_atomic_t g_interrupted = 0;

void OnSignal(int) { g_interrupted = 1; }

// Takes SIGINT and SIGTERM for as long as it lives.
class InterruptScope {
 public:
  InterruptScope() {
    g_interrupted = 0;
    struct sigaction action {};
    action.sa_handler = OnSignal;
    sigaction(SIGINT, &action, &old_int_);
    sigaction(SIGTERM, &action, &old_term_);
  }
  ~InterruptScope() {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
  }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  struct sigaction old_int_ {};
  struct sigaction old_term_ {};
};

// Draws what comes: a block in place, a line now and then, or an object a line.
class Display {
 public:
  Display(const Session& session, bool to_stdout)
      : stream_(to_stdout ? stdout : stderr),
        style_(to_stdout ? session.out_style() : session.err_style()),
        moves_(to_stdout ? session.out_moves() : session.err_moves()),
        objects_(to_stdout && session.structured()),
        yaml_(session.format() == Format::kYaml) {}

  void Update(const v1::Migration& migration) {
    projects_.Add(NowSteadyMs(), render::EndedProjects(ProgressOf(migration, 0)));
    bytes_.Add(NowSteadyMs(), migration.bytes_copied());
    latest_ = migration;
    if (objects_) {
      Print(yaml_ ? "---\n" + YamlFromJson(ToJson(migration)) : ToJsonLine(migration));
      return;
    }
    Refresh(true);
  }

  // Called all the time; draws when it is due.
  void Refresh(bool changed) {
    if (objects_ || latest_.id().empty()) {
      return;
    }
    const int64_t now = NowSteadyMs();
    if (moves_ && (changed || now - drawn_ms_ >= kRedrawMs)) {
      Redraw(render::ProgressBlock(View(), style_));
      drawn_ms_ = now;
    } else if (!moves_ && pacer_.Due(now, changed)) {
      Print(render::ProgressLine(View()));
      stale_ = false;
    } else if (!moves_) {
      stale_ = stale_ || changed;
    }
  }

  // The last state is always shown, however fast it came.
  void Finish() {
    if (stale_) {
      Print(render::ProgressLine(View()));
      stale_ = false;
    }
    Leave();
  }

  // What is on the screen stays there; the next drawing begins below.
  void Leave() { lines_ = 0; }

 private:
  render::ProgressView View() const {
    render::ProgressView view = ProgressOf(latest_, NowUnixMs());
    if (HasEnded(latest_)) {
      return view;
    }
    view.projects_per_second = projects_.PerSecond();
    view.bytes_per_second = bytes_.PerSecond();
    view.eta_ms = projects_.EtaMs(view.total - render::EndedProjects(view));
    return view;
  }

  void Redraw(const std::string& block) {
    std::string text = lines_ > 0 ? "\x1b[" + std::to_string(lines_) + "A\r\x1b[J" : "";
    lines_ = std::count(block.begin(), block.end(), '\n');
    Print(text + block);
  }

  void Print(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stream_);
    std::fflush(stream_);
  }

  std::FILE* const stream_;
  const render::Style style_;
  const bool moves_;
  const bool objects_;
  const bool yaml_;
  v1::Migration latest_;
  render::RateMeter projects_;
  render::RateMeter bytes_;
  render::LinePacer pacer_;
  int64_t drawn_ms_ = 0;
  std::ptrdiff_t lines_ = 0;
  bool stale_ = false;
};

bool IsPassing(const absl::Status& status) {
  // A server that goes away ends its streams with OK, cancelled, unavailable or an unknown reset.
  return status.ok() || status.code() == absl::StatusCode::kUnavailable ||
         status.code() == absl::StatusCode::kCancelled || status.code() == absl::StatusCode::kUnknown;
}

// Follows one migration over as many streams as it takes.
class Follower {
 public:
  Follower(Session& session, v1::Migration first, bool to_stdout)
      : session_(session), display_(session, to_stdout), latest_(std::move(first)) {
    last_word_ms_ = started_ms_ = NowSteadyMs();
  }

  // The migration once it has ended, or why that was not awaited.
  absl::StatusOr<v1::Migration> Run() {
    display_.Update(latest_);
    while (!HasEnded(latest_)) {
      PGC_RETURN_IF_ERROR(ReadOneStream());
    }
    display_.Finish();
    return latest_;
  }

 private:
  absl::Status ReadOneStream() {
    const std::unique_ptr<MigrationStream> stream = session_.client().Watch(latest_.id());
    while (true) {
      PGC_RETURN_IF_ERROR(CheckEnd());
      MigrationStream::Next next = stream->Wait(kTick);
      if (next.migration) {
        Heard(*next.migration);
      } else {
        display_.Refresh(false);
      }
      if (next.closed) {
        return HasEnded(latest_) ? absl::OkStatus() : Lost(next.status);
      }
    }
  }

  void Heard(const v1::Migration& migration) {
    if (lost_) {
      display_.Leave();
      Say("the coordinator is back");
    }
    lost_ = false;
    backoff_ms_ = kFirstBackoffMs;
    last_word_ms_ = NowSteadyMs();
    latest_ = migration;
    display_.Update(migration);
  }

  // Waits before the next try; an error when there is no point in one.
  absl::Status Lost(const absl::Status& status) {
    if (!IsPassing(status)) {
      return status;
    }
    if (!lost_) {
      display_.Leave();
      Say("lost the coordinator at " + session_.address() + "; trying again for " + render::Duration(kUnavailableMs));
      last_word_ms_ = NowSteadyMs();
    }
    lost_ = true;
    if (NowSteadyMs() - last_word_ms_ > kUnavailableMs) {
      return MakeError(Verdict::kTransient, "PGC-CLI-UNAVAILABLE",
                       "the coordinator at " + session_.address() + " did not come back",
                       "the migration goes on as soon as a coordinator runs again");
    }
    const int64_t until = NowSteadyMs() + backoff_ms_;
    backoff_ms_ = std::min(backoff_ms_ * 2, kMostBackoffMs);
    while (NowSteadyMs() < until) {
      PGC_RETURN_IF_ERROR(CheckEnd());
      std::this_thread::sleep_for(std::min(kTick, Millis(std::max<int64_t>(until - NowSteadyMs(), 1))));
    }
    return absl::OkStatus();
  }

  absl::Status CheckEnd() const {
    if (g_interrupted != 0) {
      return absl::CancelledError("interrupted");
    }
    if (session_.timeout() && NowSteadyMs() - started_ms_ >= session_.timeout()->count()) {
      return absl::DeadlineExceededError("timeout");
    }
    return absl::OkStatus();
  }

  Session& session_;
  Display display_;
  v1::Migration latest_;
  int64_t started_ms_ = 0;
  int64_t last_word_ms_ = 0;
  int64_t backoff_ms_ = kFirstBackoffMs;
  bool lost_ = false;
};

int Stopped(const Session& session, const absl::Status& status, const std::string& id) {
  if (status.code() == absl::StatusCode::kCancelled) {
    Say("interrupted; migration " + id + " goes on. Follow it again: pgconvoy watch " + id);
    return kInterrupted;
  }
  if (status.code() == absl::StatusCode::kDeadlineExceeded) {
    Say("not done within " + render::Duration(session.timeout().value_or(Millis(0)).count()) + "; migration " + id +
        " goes on. Wait again: pgconvoy wait " + id);
    return kTimeout;
  }
  return Fail(session, status, "pgconvoy watch " + id);
}

void SayNext(const v1::Migration& ended) {
  const std::string list = "next: pgconvoy get projects --migration " + ended.id() + " --state ";
  if (ended.projects_need_operator() > 0) {
    Say(list + "NEEDS_OPERATOR");
  } else if (ended.projects_failed() + ended.projects_rolled_back() > 0 && ended.state() == v1::MIGRATION_FAILED) {
    Say(list + "FAILED,ROLLED_BACK");
  } else if (ended.projects_warned() > 0) {
    Say(list + "SUCCEEDED_WITH_WARNINGS");
  }
}

void ShowOutcome(const Session& session, const v1::Migration& ended) {
  if (session.structured()) {
    OutStructured(session, ToJson(ended));
  } else if (session.format() == Format::kName) {
    Out(ended.id() + "\n");
  } else {
    Out(render::OutcomeLine(ProgressOf(ended, NowUnixMs()), session.out_style()));
  }
}

}  // namespace

int Follow(Session& session, const v1::Migration& migration, FollowMode mode) {
  const InterruptScope scope;
  Follower follower(session, migration, mode == FollowMode::kWatch);
  const absl::StatusOr<v1::Migration> ended = follower.Run();
  if (!ended.ok()) {
    return Stopped(session, ended.status(), migration.id());
  }
  // The objects of a structured watch are its whole output.
  if (mode == FollowMode::kWait || !session.structured()) {
    ShowOutcome(session, *ended);
  }
  SayNext(*ended);
  return ExitCodeOf(*ended);
}

namespace {

int FollowNamed(Session& session, const std::string& name, FollowMode mode) {
  const auto migration = FindMigration(session, name);
  return migration.ok() ? Follow(session, *migration, mode) : Fail(session, migration.status());
}

}  // namespace

int Watch(Session& session, const std::string& name) { return FollowNamed(session, name, FollowMode::kWatch); }
int Wait(Session& session, const std::string& name) { return FollowNamed(session, name, FollowMode::kWait); }

}  // namespace pgconvoy::cli
