#include "common/rpc/identity.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/crypto/authority.h"

namespace pgconvoy::rpc {
namespace {

constexpr int64_t kFrom = 1'700'000'000;
constexpr int64_t kUntil = 1'800'000'000;
constexpr int64_t kNow = 1'750'000'000;

CertificateRequest Request(const std::string& uri) {
  CertificateRequest request;
  request.common_name = "test";
  request.uri = uri;
  request.not_before_s = kFrom;
  request.not_after_s = kUntil;
  return request;
}

std::string LeafPem(const std::string& uri) {
  const auto authority = MakeAuthority(Request(""));
  EXPECT_TRUE(authority.ok()) << Describe(authority.status());
  const auto made = Issue(*authority, Request(uri));
  EXPECT_TRUE(made.ok()) << Describe(made.status());
  return made->certificate_pem;
}

TEST(Identity, IsReadFromItsUriAndWrittenBack) {
  for (const char* uri : {"spiffe://example.org/pgconvoy/viewer/dashboard", "spiffe://td/pgconvoy/operator/alice",
                          "spiffe://td/pgconvoy/worker/w-1_a.b", "spiffe://td/pgconvoy/coordinator/c"}) {
    const auto identity = ParseUri(uri);
    ASSERT_TRUE(identity.ok()) << uri;
    EXPECT_EQ(ToUri(*identity), uri);
  }
}

TEST(Identity, IsRefusedInAnyOtherForm) {
  const std::string long_name(64, 'a');
  for (const std::string& uri :
       {std::string(""), std::string("spiffe://"), std::string("spiffe://td"), std::string("spiffe://td/pgconvoy"),
        std::string("spiffe://td/pgconvoy/operator"), std::string("spiffe://td/pgconvoy/operator/"),
        std::string("spiffe://td/pgconvoy/admin/a"), std::string("spiffe://td/pgconvoy/Operator/a"),
        std::string("spiffe://td/pgconvoy/operator/a/b"), std::string("spiffe://td/pgconvoy/operator/.."),
        std::string("spiffe://td/other/operator/a"), std::string("spiffe:///pgconvoy/operator/a"),
        std::string("https://td/pgconvoy/operator/a"), std::string("spiffe://td/pgconvoy/operator/a b"),
        std::string("spiffe://td:1/pgconvoy/operator/a"), std::string("spiffe://u@td/pgconvoy/operator/a"),
        "spiffe://td/pgconvoy/operator/" + long_name}) {
    const auto identity = ParseUri(uri);
    ASSERT_FALSE(identity.ok()) << uri;
    EXPECT_EQ(CodeOf(identity.status()), "PGC-AUTH-IDENTITY") << uri;
    EXPECT_EQ(identity.status().code(), absl::StatusCode::kUnauthenticated) << uri;
  }
}

TEST(Identity, IsThatOfTheCertificateWhileItIsValid) {
  const std::string pem = LeafPem("spiffe://td/pgconvoy/worker/w1");
  const auto identity = IdentityOf(pem, kNow);
  ASSERT_TRUE(identity.ok()) << Describe(identity.status());
  EXPECT_EQ(identity->role, Role::kWorker);
  EXPECT_EQ(identity->name, "w1");
  EXPECT_EQ(identity->not_after_s, kUntil);
  EXPECT_EQ(CodeOf(IdentityOf(pem, kUntil + 1).status()), "PGC-TLS-EXPIRED");
  EXPECT_EQ(IdentityOf(pem, kUntil + 1).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(CodeOf(IdentityOf(pem, kFrom - 1).status()), "PGC-TLS-NOT-YET-VALID");
}

TEST(Identity, NeedsExactlyOneUri) {
  EXPECT_EQ(CodeOf(IdentityOf(LeafPem(""), kNow).status()), "PGC-AUTH-IDENTITY");
  // What follows the comma is a second name.
  const std::string two = LeafPem("spiffe://td/pgconvoy/viewer/v,URI:spiffe://td/pgconvoy/operator/o");
  const auto identity = IdentityOf(two, kNow);
  EXPECT_EQ(CodeOf(identity.status()), "PGC-AUTH-IDENTITY");
  EXPECT_NE(MessageOf(identity.status()).find("2 URIs"), std::string::npos) << MessageOf(identity.status());
}

TEST(Identity, IsNotTakenFromAnAuthority) {
  const auto authority = MakeAuthority(Request("spiffe://td/pgconvoy/operator/o"));
  ASSERT_TRUE(authority.ok());
  EXPECT_EQ(CodeOf(IdentityOf(authority->certificate_pem, kNow).status()), "PGC-AUTH-IDENTITY");
  EXPECT_EQ(CodeOf(IdentityOf("", kNow).status()), "PGC-AUTH-IDENTITY");
}

TEST(Identity, CoversTheWorkerOfItsNameAndThoseBelowItAndNoOther) {
  Identity identity;
  identity.name = "fleet";
  EXPECT_TRUE(CoversWorker(identity, "fleet"));
  EXPECT_TRUE(CoversWorker(identity, "fleet/pod-1"));
  EXPECT_FALSE(CoversWorker(identity, "fleet-2"));
  EXPECT_FALSE(CoversWorker(identity, "fleet2/pod-1"));
  EXPECT_FALSE(CoversWorker(identity, "other"));
  EXPECT_FALSE(CoversWorker(identity, ""));
}

}  // namespace
}  // namespace pgconvoy::rpc
