// What the project's login may do in a database that was there before it: given in CREDENTIALS, taken back by a
// rollback. Only for plans without a target; with one the login owns its database from the beginning.
//
// The role, what is granted to it and what it comes to own are one transaction in the project's database, run while
// the project's fence row is held in the control database: a newer attempt first ends that session, then waits for the
// row. So the role exists exactly when all of it was given. What belonged to whom is written down before, in
// pgconvoy.access of the control database.
//
// A rollback hands back every object as it was written down; what the project has made with its new login since goes
// to the former owner of the database, so that nothing is lost.
//
// Errors: OPERATOR PGC-CRED-EXISTS, PGC-CRED-RECORD, PGC-CRED-DEPENDS; PERMANENT PGC-CRED-GRANT, and PGC-PG-DENIED when
// the provisioner lacks what PRE_VALIDATION asks for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/phases/attempt.h"

namespace pgconvoy::worker {

// The database or an object of it that the plan's permissions concern.
struct OwnedObject {
  // "database" or "classid:objid".
  std::string key;
  // As in ALTER <kind> <identity>: "TABLE", "ROUTINE"; the identity is quoted and qualified.
  std::string kind;
  std::string identity;
  std::string owner;
  // A sequence of a column: its owner follows the table's.
  bool attached = false;
};
// The database, credentials.schemas and what is in them, schemas before their objects. Members of extensions are left
// out.
absl::StatusOr<std::vector<OwnedObject>> ListOwned(pg::Connection& connection, const Attempt& attempt);

// `make_role` makes the role, in the transaction that it is given. PGC-CRED-EXISTS when a role of that name is there
// that this migration did not make; when it did, only `make_role` is run, to give it the new password.
absl::Status GiveAccess(Attempt& attempt, const std::function<absl::Status(pg::Connection&)>& make_role);

// Shuts and drops the role after handing back what it owns. Does nothing when the role is gone or not ours.
absl::Status TakeAccessBack(Attempt& attempt, v1::UndoResult& undo);

}  // namespace pgconvoy::worker
