#include <algorithm>

#include "common/base/planted.h"
#include "tests/sim/operation.h"
#include "tests/sim/phases.h"
#include "worker/core/takeover.h"

namespace pgconvoy::sim {
namespace {

using Login = Backend::Login;

// Whose sessions are ended at a site; registrar and transformer end those of their own role only.
bool MayEnd(Site site, Login login) {
  switch (site) {
    case Site::kRegistry: return login == Login::kRegistrar;
    case Site::kSource: return login == Login::kTransformer;
    case Site::kTarget: break;
  }
  return login == Login::kProvisioner || login == Login::kAttempt;
}

// Ends sessions of older attempts at one site.
auto EndOlder(Attempt& attempt, Site site, bool last) {
  return attempt.Statement(site, [fence = attempt.fence(), site, last](Project& project) {
    for (uint32_t i = 0; i < project.backends.size() && !PGC_PLANTED(kSkipTerminate); ++i) {
      const Backend& backend = project.backends[i];
      if (MayEnd(site, backend.login) && !backend.ended && worker::IsOlderAttempt(backend.fence, fence)) {
        project.End(i);
      }
    }
    if (last) {
      project.shut[At(site)] = std::max(project.shut[At(site)], fence);
    }
    return Outcome();
  });
}

Task FenceSite(Attempt& attempt, Site site, Login login) {
  SIM_TRY(EndOlder(attempt, site, false));
  SIM_TRY(attempt.Do({site, login, Mode::kRaise}, [](Project&) { return Outcome(); }));
  SIM_TRY(EndOlder(attempt, site, true));
  co_return Outcome();
}

Task FenceTarget(Attempt& attempt) {
  const int64_t fence = attempt.fence();
  SIM_TRY(EndOlder(attempt, Site::kTarget, false));
  SIM_TRY(attempt.Do({Site::kTarget, Login::kProvisioner, Mode::kRaise}, [fence](Project& project) {
    for (AttemptLogin& login : project.logins) {
      login.can_login = login.can_login && !worker::IsOlderAttempt(login.fence, fence);
    }
    return Outcome();
  }));
  SIM_TRY(EndOlder(attempt, Site::kTarget, true));
  SIM_TRY(attempt.Fenced(Site::kTarget, [fence](Project& project) {
    std::erase_if(project.logins,
                  [fence](const AttemptLogin& login) { return worker::IsOlderAttempt(login.fence, fence); });
    return Outcome();
  }));
  co_return Outcome();
}

}  // namespace

Task RunFence(Attempt& attempt) {
  const Config& config = attempt.sim().config;
  if (config.has_cutover || config.has_freeze) {
    SIM_TRY(FenceSite(attempt, Site::kRegistry, Login::kRegistrar));
  }
  if (config.has_credentials) {
    SIM_TRY(FenceTarget(attempt));
  }
  if (config.has_transform) {
    SIM_TRY(FenceSite(attempt, Site::kSource, Login::kTransformer));
  }
  co_return Outcome();
}

Task EnsureLogin(Attempt& attempt) {
  if (attempt.has_login) {
    co_return Outcome();
  }
  SIM_TRY(attempt.Fenced(Site::kTarget, [fence = attempt.fence()](Project& project) {
    std::erase_if(project.logins, [fence](const AttemptLogin& login) { return login.fence == fence; });
    project.logins.push_back({fence, true});
    return Outcome();
  }));
  attempt.has_login = true;
  co_return Outcome();
}

Task DoomAndDrop(Attempt& attempt, Database::Name name, int64_t fence, int n) {
  // Unique per attempt and number, as the name is.
  const int64_t doomed = attempt.fence() * 16 + n;
  const Database* const found = attempt.project().Find(name, fence);
  const bool as_it_is = PGC_PLANTED(kDropUnderFinalName) && name == Database::Name::kFinal;
  if (found != nullptr && !found->invalid && !(name == Database::Name::kDoomed && fence == doomed) && !as_it_is) {
    SIM_TRY(attempt.Fenced(Site::kTarget, [name, fence](Project& project) {
      if (Database* const database = project.Find(name, fence)) {
        database->allows_connections = false;
      }
      return Outcome();
    }));
    SIM_TRY(attempt.Statement(Site::kTarget, [](Project& project) {
      for (uint32_t i = 0; i < project.backends.size(); ++i) {
        if (project.backends[i].login == Login::kAttempt) {
          project.End(i);
        }
      }
      return Outcome();
    }));
    SIM_TRY(attempt.Fenced(Site::kTarget, [name, fence, doomed](Project& project) {
      Database* const database = project.Find(name, fence);
      // The reconciler of another worker was faster.
      if (database == nullptr) {
        return Outcome();
      }
      database->name = Database::Name::kDoomed;
      database->fence = doomed;
      return Outcome();
    }));
    name = Database::Name::kDoomed;
    fence = doomed;
  }
  SIM_TRY(attempt.Do({Site::kTarget, Login::kProvisioner, Mode::kStatement, 40, 500},
                     [name, fence, &sim = attempt.sim()](Project& project) {
                       const Database* const database = project.Find(name, fence);
                       if (database == nullptr) {
                         return Outcome();
                       }
                       if (database->name == Database::Name::kFinal && project.InUse()) {
                         return Fail(Verdict::kTransient, "PGC-PG-BUSY");
                       }
                       if (database->tenant_writes > 0 || database->foreign) {
                         sim.judge.Fail("O7", "a database that others have written to was dropped: " + project.ref);
                       }
                       if (sim.Faulty(sim.config.faults.server_error * 5)) {
                         project.Find(name, fence)->invalid = true;
                         return Fail(Verdict::kTransient, "PGC-PG-CANCELLED");
                       }
                       project.databases.erase(project.databases.begin() + (database - project.databases.data()));
                       return Outcome();
                     }));
  co_return Outcome();
}

bool IsLoadOf(const Project& project, const Database& database, int64_t backup) {
  const auto found = std::find_if(project.backups.begin(), project.backups.end(),
                                  [backup](const Backup& one) { return one.fence == backup; });
  return found != project.backups.end() && database.tenant_writes == 0 &&
         std::all_of(database.chunks.begin(), database.chunks.end(), [&](const Database::Chunk& chunk) {
           return chunk.copies == 1 && chunk.version == found->version && chunk.tenant == project.index;
         });
}

Task Thaw(Attempt& attempt) {
  if (!attempt.sim().config.has_freeze) {
    co_return Outcome();
  }
  SIM_TRY(attempt.Fenced(Site::kRegistry, [](Project& project) {
    if (project.freeze_row && !PGC_PLANTED(kThawForgotten)) {
      project.freeze_row = false;
      project.frozen = false;
    }
    return Outcome();
  }));
  co_return Outcome();
}

Task DropLogin(Attempt& attempt) {
  SIM_TRY(attempt.Fenced(Site::kTarget, [fence = attempt.fence()](Project& project) {
    std::erase_if(project.logins, [fence](const AttemptLogin& login) {
      return login.fence == fence && !PGC_PLANTED(kLoginNotDropped);
    });
    return Outcome();
  }));
  attempt.has_login = false;
  co_return Outcome();
}

}  // namespace pgconvoy::sim
