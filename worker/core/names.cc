#include "worker/core/names.h"

#include "common/base/text.h"
#include "common/crypto/crypto.h"

namespace pgconvoy::worker {
namespace {

constexpr size_t kHashDigits = 16;

std::string CommentPrefix(std::string_view store_id) {
  return R"({"pgconvoy":1,"store":")" + std::string(store_id) + R"(","project":")";
}

std::string OwnerPrefix(const Owner& owner) {
  return CommentPrefix(owner.store_id) + owner.ref + R"(","migration":")" + owner.migration_id;
}

}  // namespace

std::string ProjectHash(std::string_view store_id, std::string_view ref) {
  return ShortHash(std::string(store_id) + "/" + std::string(ref), kHashDigits);
}

AttemptNames::AttemptNames(std::string_view store_id, std::string_view ref, int64_t fence)
    : project_hash(ProjectHash(store_id, ref)),
      login_prefix("pgc_a_" + project_hash + "_"),
      temporary_prefix("pgc_t_" + project_hash + "_"),
      doomed_prefix("pgc_d_" + project_hash + "_"),
      application_prefix("pgc:" + project_hash + ":"),
      fence_(fence) {
  const std::string number = std::to_string(fence);
  login = login_prefix + number;
  temporary_database = temporary_prefix + number;
  kept = "pgc_kept_" + project_hash + "_" + number;
  application_name = application_prefix + number;
}

std::string AttemptNames::DoomedDatabase(int n) const {
  const std::string name = doomed_prefix + std::to_string(fence_);
  return n == 0 ? name : name + "_" + std::to_string(n);
}

std::optional<int64_t> FenceInName(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) {
    return std::nullopt;
  }
  const std::string_view rest = name.substr(prefix.size());
  return ParseDecimal(rest.substr(0, rest.find('_')));
}

std::string OwnerComment(const Owner& owner, int64_t fence) {
  return OwnerPrefix(owner) + R"(","fence":)" + std::to_string(fence) + "}";
}

// The quote that ends the migration's id is part of the comparison, so that 1 is not taken for 12.
bool IsOwnComment(std::string_view comment, const Owner& owner) {
  return comment.starts_with(OwnerPrefix(owner) + R"(",)");
}

std::optional<std::string> ProjectOfComment(std::string_view comment, std::string_view store_id) {
  const std::string prefix = CommentPrefix(store_id);
  if (!comment.starts_with(prefix)) {
    return std::nullopt;
  }
  // Refs hold no quote, so the next one ends it.
  const std::string_view rest = comment.substr(prefix.size());
  const size_t quote = rest.find('"');
  if (quote == std::string_view::npos) {
    return std::nullopt;
  }
  return std::string(rest.substr(0, quote));
}

}  // namespace pgconvoy::worker
