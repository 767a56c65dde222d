#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include <sys/stat.h>

#include "common/base/error.h"
#include "common/crypto/certificate.h"
#include "common/rpc/tls.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
}

class Certs : public testing::Test {
 protected:
  Certs() { made_ = Pgconvoy({"certs", "init", certs_, "--host", "coordinator.example", "--trust-domain", "td"}); }

  rpc::Security Files(const std::string& name) const {
    rpc::Security security;
    security.certificate_file = certs_ + "/" + name + ".crt";
    security.key_file = certs_ + "/" + name + ".key";
    security.authority_file = certs_ + "/ca.crt";
    return security;
  }
  std::string IdentityOf(const std::string& name) const {
    const auto identity = rpc::OwnIdentity(Files(name));
    return identity.ok() ? rpc::ToUri(*identity) : Describe(identity.status());
  }
  Result Issue(std::vector<std::string> args) const {
    args.insert(args.begin(), {"certs", "issue", certs_});
    return Pgconvoy(args);
  }

  TempDir dir_;
  const std::string certs_ = dir_.path() + "/certs";
  Result made_;
};

TEST_F(Certs, InitMakesAPairOfEachRoleThatFitsAndNobodyElseCanRead) {
  ASSERT_EQ(made_.code, 0) << made_.err;
  EXPECT_EQ(made_.out, certs_ + "\n");
  EXPECT_EQ(ModeOf(certs_), 0700U);
  for (const std::string name : {"coordinator", "worker", "operator", "viewer"}) {
    EXPECT_EQ(IdentityOf(name), "spiffe://td/pgconvoy/" + name + "/" + name);
    EXPECT_EQ(Describe(rpc::LoadTls(Files(name)).status()), "OK") << name;
    EXPECT_EQ(ModeOf(Files(name).key_file), 0600U) << name;
  }
  EXPECT_EQ(ModeOf(certs_ + "/ca.key"), 0600U);
  EXPECT_NE(made_.err.find("pgconvoy-coordinator --listen"), std::string::npos) << "the next step: " << made_.err;
}

TEST_F(Certs, InitTouchesNoFolderThatHoldsSomething) {
  const std::string before = ReadFile(certs_ + "/ca.key");
  const Result again = Pgconvoy({"certs", "init", certs_});
  EXPECT_EQ(again.code, 4) << again.err;
  EXPECT_NE(again.err.find("PGC-TLS-EXISTS"), std::string::npos) << again.err;
  EXPECT_EQ(ReadFile(certs_ + "/ca.key"), before);
}

TEST_F(Certs, InitRefusesBadNamesBeforeItMakesAnything) {
  const std::string other = dir_.path() + "/other";
  EXPECT_EQ(Pgconvoy({"certs", "init", other, "--host", "a b"}).code, 64);
  EXPECT_EQ(Pgconvoy({"certs", "init", other, "--days", "0"}).code, 64);
  EXPECT_NE(Pgconvoy({"certs", "init", other, "--trust-domain", "a/b"}).code, 0);
  EXPECT_FALSE(std::filesystem::exists(other));
}

TEST_F(Certs, IssueMakesOneMoreAndReplacesItOnlyWhenAsked) {
  EXPECT_EQ(Issue({"operator", "alice"}).out, "spiffe://td/pgconvoy/operator/alice\n");
  EXPECT_EQ(Describe(rpc::LoadTls(Files("alice")).status()), "OK");
  const std::string before = ReadFile(certs_ + "/alice.crt");
  const Result again = Issue({"operator", "alice"});
  EXPECT_EQ(again.code, 4) << again.err;
  EXPECT_EQ(ReadFile(certs_ + "/alice.crt"), before);
  EXPECT_EQ(Issue({"operator", "alice", "--renew", "--days", "2"}).code, 0);
  EXPECT_NE(ReadFile(certs_ + "/alice.crt"), before);
  EXPECT_EQ(Describe(rpc::LoadTls(Files("alice")).status()), "OK");
  EXPECT_EQ(ModeOf(Files("alice").key_file), 0600U);
}

TEST_F(Certs, IssueRefusesWhatIsNoRoleAndNoName) {
  EXPECT_EQ(Issue({"admin", "a"}).code, 64);
  for (const char* name : {"a/b", "..", "a b", "ca,URI:spiffe://td/pgconvoy/operator/x"}) {
    EXPECT_NE(Issue({"operator", name}).code, 0) << name;
  }
  EXPECT_EQ(Issue({"operator", "ca"}).code, 4) << "the authority's own files";
  EXPECT_NE(Issue({"operator", "ca", "--renew"}).code, 0) << "the authority's own files";
  EXPECT_NE(Pgconvoy({"certs", "issue", dir_.path(), "operator", "a"}).code, 0) << "there is no authority";
}

TEST_F(Certs, OptionsMayStandInTheEnvironmentOrTheFile) {
  const auto missing = [](const Result& result) { return result.err.find("PGC-TLS-USAGE") != std::string::npos; };
  EXPECT_TRUE(missing(Pgconvoy({"get", "workers", "--tls-cert", "x"})));
  EXPECT_TRUE(missing(Pgconvoy({"get", "workers"}, {{"PGCONVOY_TLS_KEY", "x"}})));
  const std::string config = dir_.Write("config.yaml", "address: 127.0.0.1:1\ntls_ca: x\n");
  EXPECT_TRUE(missing(Pgconvoy({"get", "workers", "--config", config})));
  const std::string remote = dir_.Write("remote.yaml", "address: 192.0.2.1:1\ninsecure: maybe\n");
  EXPECT_TRUE(missing(Pgconvoy({"get", "workers", "--config", remote})));
}

}  // namespace
}  // namespace pgconvoy::cli
