#include "tests/sim/operation.h"

#include <string>

namespace pgconvoy::sim {

void Project::End(uint32_t backend) {
  backends[backend].ended = true;
  for (uint32_t& row : holder) {
    row = row == backend + 1 ? 0 : row;
  }
}

bool OpContext::ClientLives() const { return sim->workers[static_cast<size_t>(worker)]->life() == life; }

MonotonicMs OpContext::ClientStoppedFor() const {
  return ClientLives() ? sim->workers[static_cast<size_t>(worker)]->StoppedFor() : 0;
}

bool OpContext::StopClient() {
  if (sim->stops_left == 0 || !sim->Faulty(spec.stops)) {
    return false;
  }
  --sim->stops_left;
  sim->workers[static_cast<size_t>(worker)]->Pause(sim->time.now() + sim->rng.Between(500, 30'000));
  if (sim->rng.PerMille(700)) {
    LendSession();
  }
  return true;
}

void OpContext::LendSession() {
  if (backend.has_value() && spec.login != Backend::Login::kAttempt) {
    OnProject().End(*backend);
    backend.reset();
  }
}

MonotonicMs OpContext::UntilZombieWakes() const {
  for (const auto& other : sim->workers) {
    if (other->StoppedFor() > 0 && other->Holds(OnProject().ref)) {
      return other->StoppedFor();
    }
  }
  return 0;
}

bool OpContext::EnterSession() {
  Project& world = OnProject();
  if (backend.has_value()) {
    return !world.backends[*backend].ended;
  }
  if (spec.login == Backend::Login::kAttempt) {
    const AttemptLogin* const login = world.FindLogin(fence);
    const Database* const database = world.Find(Database::Name::kFinal);
    if (login == nullptr || !login->can_login || database == nullptr || !database->allows_connections) {
      return false;
    }
  }
  world.backends.push_back({fence, spec.login, false});
  backend = static_cast<uint32_t>(world.backends.size() - 1);
  return true;
}

bool OpContext::RowIsHeld() const {
  const uint32_t holder = OnProject().holder[At(spec.site)];
  return (spec.mode == Mode::kFenced || spec.mode == Mode::kRaise) && holder != 0 && holder != *backend + 1;
}

bool OpContext::PassFence() const {
  int64_t& row = OnProject().fence[At(spec.site)];
  if (spec.mode == Mode::kRaise) {
    if (row > fence && !PGC_PLANTED(kRaiseBackwards)) {
      return false;
    }
    row = PGC_PLANTED(kSkipFenceRaise) ? row : fence;
  }
  if (spec.mode == Mode::kFenced) {
    if (row != fence && !PGC_PLANTED(kFenceRowNotRead)) {
      return false;
    }
    if (!PGC_PLANTED(kFenceRowNotLocked)) {
      TakeRow();
    }
  }
  return true;
}

void OpContext::LeaveRow() const {
  uint32_t& holder = OnProject().holder[At(spec.site)];
  holder = holder == *backend + 1 ? 0 : holder;
}

// Nothing may happen on behalf of an attempt after a newer one has shut it out.
void OpContext::CheckFence() const {
  const Project& world = OnProject();
  const bool late = (spec.mode == Mode::kFenced && fence < world.fence[At(spec.site)]) ||
                    (spec.mode == Mode::kOwnLogin && fence < world.shut[At(spec.site)]);
  if (late) {
    sim->judge.Fail("O5", "project " + world.ref + ": something happened under fence " + std::to_string(fence) +
                              " after fence " + std::to_string(world.fence[At(spec.site)]));
  }
}

void OpContext::Answer(const Outcome& outcome) const {
  const Reply reply{outcome, SessionLives() ? backend : std::nullopt};
  LeaveRowIfOwn();
  sim->time.After(sim->rng.Between(1, 2), [context = *this, reply] {
    Worker& client = *context.sim->workers[static_cast<size_t>(context.worker)];
    if (client.life() == context.life) {
      client.Answer(context.attempt, reply);
    }
  });
}

void OpContext::LeaveRowIfOwn() const {
  if (backend.has_value()) {
    LeaveRow();
  }
}

void OpContext::AnswerLost(const Outcome& outcome) const {
  sim->time.After(kSilenceMs, [context = *this, outcome] {
    Worker& client = *context.sim->workers[static_cast<size_t>(context.worker)];
    if (client.life() == context.life) {
      client.Answer(context.attempt, {outcome, std::nullopt});
    }
  });
}

// The reply to a COMMIT may be lost: then nobody knows.
void OpContext::AnswerCommitted() const {
  if (sim->Faulty(sim->config.faults.reply_lost)) {
    const bool in_doubt = spec.mode != Mode::kStatement;
    AnswerLost(Fail(in_doubt ? Verdict::kInDoubt : Verdict::kTransient, "PGC-PG-LOST"));
    return;
  }
  Answer(Outcome());
}

}  // namespace pgconvoy::sim
