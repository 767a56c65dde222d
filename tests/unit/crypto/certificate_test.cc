#include "common/crypto/certificate.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/crypto/authority.h"

namespace pgconvoy {
namespace {

constexpr int64_t kFrom = 1'700'000'000;
constexpr int64_t kUntil = 1'800'000'000;

CertificateRequest Request(const std::string& name) {
  CertificateRequest request;
  request.common_name = name;
  request.not_before_s = kFrom;
  request.not_after_s = kUntil;
  return request;
}

IssuedCertificate Authority(const std::string& name = "authority") {
  auto made = MakeAuthority(Request(name));
  EXPECT_TRUE(made.ok()) << Describe(made.status());
  return *std::move(made);
}

IssuedCertificate Leaf(const IssuedCertificate& authority, const CertificateRequest& request) {
  auto made = Issue(authority, request);
  EXPECT_TRUE(made.ok()) << Describe(made.status());
  return *std::move(made);
}

TEST(Certificate, SaysWhatWasAskedFor) {
  CertificateRequest request = Request("alice");
  request.uri = "spiffe://example/pgconvoy/operator/alice";
  request.hosts = {"host.example", "192.0.2.1", "2001:db8::1"};
  const auto read = ReadCertificate(Leaf(Authority(), request).certificate_pem);
  ASSERT_TRUE(read.ok()) << Describe(read.status());
  EXPECT_EQ(read->subject, "CN = alice");
  EXPECT_EQ(read->uris, std::vector<std::string>{request.uri});
  EXPECT_FALSE(read->is_authority);
  EXPECT_EQ(read->not_before_s, kFrom);
  EXPECT_EQ(read->not_after_s, kUntil);
}

TEST(Certificate, OfAnAuthorityIsKnownAsOne) {
  const auto read = ReadCertificate(Authority().certificate_pem);
  ASSERT_TRUE(read.ok()) << Describe(read.status());
  EXPECT_TRUE(read->is_authority);
}

TEST(Certificate, IsRefusedWhenThereIsNone) {
  for (const char* pem : {"", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}) {
    EXPECT_EQ(CodeOf(ReadCertificate(pem).status()), "PGC-TLS-CERTIFICATE") << pem;
  }
}

TEST(Certificate, IsValidFromItsFirstToItsLastSecond) {
  Certificate certificate;
  certificate.not_before_s = kFrom;
  certificate.not_after_s = kUntil;
  EXPECT_EQ(CodeOf(CheckTimes(certificate, kFrom - 1)), "PGC-TLS-NOT-YET-VALID");
  EXPECT_TRUE(CheckTimes(certificate, kFrom).ok());
  EXPECT_TRUE(CheckTimes(certificate, kUntil).ok());
  const absl::Status expired = CheckTimes(certificate, kUntil + 1);
  EXPECT_EQ(CodeOf(expired), "PGC-TLS-EXPIRED");
  EXPECT_NE(MessageOf(expired).find("2027-01-15T08:00:00Z"), std::string::npos) << MessageOf(expired);
}

TEST(CertificateKey, MustBeThatOfTheCertificate) {
  const IssuedCertificate authority = Authority();
  const IssuedCertificate one = Leaf(authority, Request("one"));
  const IssuedCertificate two = Leaf(authority, Request("two"));
  EXPECT_TRUE(CheckKeyOf(one.certificate_pem, one.key_pem).ok());
  EXPECT_EQ(CodeOf(CheckKeyOf(one.certificate_pem, two.key_pem)), "PGC-TLS-KEY");
  EXPECT_EQ(CodeOf(CheckKeyOf(one.certificate_pem, Secret("no key"))), "PGC-TLS-KEY");
  EXPECT_EQ(CodeOf(CheckKeyOf("no certificate", one.key_pem)), "PGC-TLS-CERTIFICATE");
}

TEST(CertificateChain, LeadsToTheAuthorityThatSignedOrIsRefused) {
  const IssuedCertificate ours = Authority("ours");
  const IssuedCertificate other = Authority("ours");
  const IssuedCertificate leaf = Leaf(ours, Request("leaf"));
  EXPECT_TRUE(CheckChain(leaf.certificate_pem, ours.certificate_pem).ok());
  EXPECT_TRUE(CheckChain(leaf.certificate_pem, other.certificate_pem + ours.certificate_pem).ok());
  EXPECT_EQ(CodeOf(CheckChain(leaf.certificate_pem, other.certificate_pem)), "PGC-TLS-CHAIN");
  EXPECT_EQ(CodeOf(CheckChain(leaf.certificate_pem, "")), "PGC-TLS-CERTIFICATE");
}

TEST(CertificateChain, HasNoSecondAuthorityBelowTheFirst) {
  const IssuedCertificate ours = Authority();
  const IssuedCertificate leaf = Leaf(ours, Request("leaf"));
  const IssuedCertificate forged = Leaf(leaf, Request("forged"));
  EXPECT_EQ(CodeOf(CheckChain(forged.certificate_pem + leaf.certificate_pem, ours.certificate_pem)), "PGC-TLS-CHAIN");
}

TEST(CertificateHost, IsANameOrAnAddressAndNothingElse) {
  const IssuedCertificate authority = Authority();
  for (const char* host : {"", "a b", "a,DNS:b", "a\nb", "host/path", "käse.example"}) {
    CertificateRequest request = Request("coordinator");
    request.hosts = {host};
    EXPECT_EQ(CodeOf(Issue(authority, request).status()), "PGC-TLS-HOST") << host;
  }
}

}  // namespace
}  // namespace pgconvoy
