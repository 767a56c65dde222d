#include "common/rpc/tls.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <ctime>
#include <fstream>

#include "common/base/error.h"
#include "common/crypto/authority.h"
#include "tests/support/temp_dir.h"

namespace pgconvoy::rpc {
namespace {

Security Files(const std::string& folder, const std::string& name) {
  Security security;
  security.certificate_file = folder + "/" + name + ".crt";
  security.key_file = folder + "/" + name + ".key";
  security.authority_file = folder + "/ca.crt";
  return security;
}

TEST(CheckClock, RefusesATimeBefore2020) {
  EXPECT_EQ(CodeOf(CheckClock(0)), "PGC-CLOCK-UNSET");
  EXPECT_EQ(CodeOf(CheckClock(-1)), "PGC-CLOCK-UNSET");
  EXPECT_EQ(CodeOf(CheckClock(1'577'836'799)), "PGC-CLOCK-UNSET");
  EXPECT_TRUE(CheckClock(1'577'836'800).ok());
  EXPECT_TRUE(CheckClock(std::time(nullptr)).ok());
}

class Tls : public ::testing::Test {
 protected:
  void SetUp() override {
    authority_ = Made("ca", MakeAuthority(Request(0, kHour)));
    Made("one", Issue(authority_, Request(-kHour, kHour)));
    Made("old", Issue(authority_, Request(-kHour, -kHour / 2)));
    Made("new", Issue(authority_, Request(kHour / 2, kHour)));
  }

  static constexpr int64_t kHour = 3'600;

  static CertificateRequest Request(int64_t from, int64_t until) {
    CertificateRequest request;
    request.common_name = "test";
    request.uri = "spiffe://td/pgconvoy/worker/one";
    request.not_before_s = std::time(nullptr) + from;
    request.not_after_s = std::time(nullptr) + until;
    return request;
  }

  void Write(const std::string& name, const std::string& content, mode_t mode) const {
    const std::string path = folder_.path() + "/" + name;
    std::ofstream(path) << content;
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
  }

  IssuedCertificate Made(const std::string& name, absl::StatusOr<IssuedCertificate> made) {
    EXPECT_TRUE(made.ok()) << Describe(made.status());
    Write(name + ".crt", made->certificate_pem, 0644);
    Write(name + ".key", made->key_pem.Reveal(), 0600);
    return *std::move(made);
  }

  Security Named(const std::string& name) const { return Files(folder_.path(), name); }
  static std::string CodeOfLoading(const Security& security) { return CodeOf(LoadTls(security).status()); }

  testing::TempDir folder_;
  IssuedCertificate authority_;
};

TEST(LocalAddress, IsOneThatNoOtherMachineReaches) {
  for (const char* address : {"unix:/run/pgconvoy.sock", "localhost:7070", "127.0.0.1:7070", "127.8.8.8:1", "[::1]:1",
                              "ipv4:127.0.0.1:1,127.0.0.2:2", "ipv6:[::1]:1", "127.0.0.1:1,127.0.0.1:2"}) {
    EXPECT_TRUE(IsLocalAddress(address)) << address;
  }
  for (const char* address :
       {"0.0.0.0:7070", "[::]:7070", "192.0.2.1:7070", "coordinator:7070", "localhost.example:1",
        "127.0.0.1.example:1", "", ":7070", "*:7070", "127.0.0.1:1,192.0.2.1:1", "ipv4:127.0.0.1:1,192.0.2.1:1",
        "dns:///localhost:1", "[::ffff:192.0.2.1]:1", "2130706433:1"}) {
    EXPECT_FALSE(IsLocalAddress(address)) << address;
  }
}

TEST(SecurityOptions, AreRequiredWhereOthersReachTheAddress) {
  EXPECT_TRUE(CheckSecurity({}, "127.0.0.1:7070").ok());
  EXPECT_EQ(CodeOf(CheckSecurity({}, "0.0.0.0:7070")), "PGC-TLS-REQUIRED");
  EXPECT_TRUE(CheckSecurity(Files("certs", "one"), "0.0.0.0:7070").ok());
  Security insecure;
  insecure.insecure = true;
  EXPECT_TRUE(CheckSecurity(insecure, "0.0.0.0:7070").ok());
}

TEST(SecurityOptions, BelongTogether) {
  for (std::string Security::*missing :
       {&Security::certificate_file, &Security::key_file, &Security::authority_file}) {
    Security security = Files("certs", "one");
    security.*missing = "";
    EXPECT_EQ(CodeOf(CheckSecurity(security, "127.0.0.1:1")), "PGC-TLS-USAGE");
  }
  Security both = Files("certs", "one");
  both.insecure = true;
  EXPECT_EQ(CodeOf(CheckSecurity(both, "127.0.0.1:1")), "PGC-TLS-USAGE");
}

TEST_F(Tls, TakesFilesThatFitTogether) {
  const auto material = LoadTls(Named("one"));
  ASSERT_TRUE(material.ok()) << Describe(material.status());
  const auto self = OwnIdentity(Named("one"));
  ASSERT_TRUE(self.ok()) << Describe(self.status());
  EXPECT_EQ(self->name, "one");
}

TEST_F(Tls, RefusesAKeyThatOthersCanRead) {
  for (const mode_t mode : {0644, 0640, 0660, 0602, 0620}) {
    ASSERT_EQ(chmod(Named("one").key_file.c_str(), mode), 0);
    EXPECT_EQ(CodeOfLoading(Named("one")), "PGC-TLS-KEY-MODE") << std::oct << mode;
  }
  ASSERT_EQ(chmod(Named("one").key_file.c_str(), 0400), 0);
  EXPECT_EQ(CodeOfLoading(Named("one")), "");
}

TEST_F(Tls, RefusesWhatIsNotValidNow) {
  EXPECT_EQ(CodeOfLoading(Named("old")), "PGC-TLS-EXPIRED");
  EXPECT_EQ(CodeOfLoading(Named("new")), "PGC-TLS-NOT-YET-VALID");
}

TEST_F(Tls, RefusesFilesThatDoNotFitTogether) {
  Security other_key = Named("one");
  other_key.key_file = Named("old").key_file;
  EXPECT_EQ(CodeOfLoading(other_key), "PGC-TLS-KEY");
  Security no_certificate = Named("one");
  no_certificate.certificate_file = Named("one").key_file;
  EXPECT_EQ(CodeOfLoading(no_certificate), "PGC-TLS-CERTIFICATE");
  Security missing = Named("one");
  missing.authority_file = folder_.path() + "/nothing";
  EXPECT_EQ(CodeOfLoading(missing), "PGC-TLS-FILE");
  Security folder = Named("one");
  folder.certificate_file = folder_.path();
  EXPECT_EQ(CodeOfLoading(folder), "PGC-TLS-FILE");
  Made("ca", MakeAuthority(Request(0, kHour)));
  EXPECT_EQ(CodeOfLoading(Named("one")), "PGC-TLS-CHAIN");
}

TEST_F(Tls, NeedsANameForACoordinatorWhoseAddressHasNone) {
  for (const char* address : {"unix:/run/pgconvoy.sock", "127.0.0.1:1,127.0.0.2:1", "ipv4:127.0.0.1:1"}) {
    Security security = Named("one");
    EXPECT_EQ(CodeOf(Connect(address, security).status()), "PGC-TLS-SERVER-NAME") << address;
    security.server_name = "coordinator";
    EXPECT_TRUE(Connect(address, security).ok()) << address;
  }
  EXPECT_TRUE(Connect("127.0.0.1:1", Named("one")).ok());
}

}  // namespace
}  // namespace pgconvoy::rpc
