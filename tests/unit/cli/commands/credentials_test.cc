#include <gtest/gtest.h>

#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include "common/crypto/crypto.h"
#include "fake_service.h"
#include "process.h"

namespace pgconvoy::cli {
namespace {

constexpr char kPassword[] = "correct-horse-battery-staple";

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 0777 : 0;
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

class Credentials : public testing::Test {
 protected:
  Credentials() {
    InitCrypto();
    keygen_ = Pgconvoy({"credentials", "keygen", "--out", key_});
    server_.service.migrations = {MakeMigration("7", v1::MIGRATION_RUNNING)};
    v1::SealedCredential& credential = server_.service.credential;
    credential.set_user("project_acme");
    credential.set_database("project_acme_db");
    credential.set_recipient(FirstLine(keygen_.out));
    credential.set_sealed_password(*SealTo(FirstLine(keygen_.out), Secret(kPassword)));
    credential.set_delivered(true);
    server_.Start();
  }

  Result Reveal(std::vector<std::string> more = {}) {
    std::vector<std::string> args = {"--address", server_.address(), "credentials", "reveal", "acme", "--key", key_};
    args.insert(args.end(), more.begin(), more.end());
    return Pgconvoy(args);
  }

  TempDir dir_;
  const std::string key_ = dir_.path() + "/operator.key";
  Result keygen_;
  FakeServer server_;
};

TEST_F(Credentials, KeygenKeepsThePrivateKeyToItsOwner) {
  EXPECT_EQ(keygen_.code, 0) << keygen_.err;
  EXPECT_EQ(ModeOf(key_), 0600U);
  EXPECT_EQ(ReadFile(key_ + ".pub"), keygen_.out);
  const std::string private_key = FirstLine(ReadFile(key_));
  EXPECT_EQ(*PublicKeyOf(Secret(private_key)), FirstLine(keygen_.out));
  EXPECT_EQ((keygen_.out + keygen_.err).find(private_key), std::string::npos) << "the private key was shown";
}

TEST_F(Credentials, KeygenNeverOverwritesAKey) {
  const std::string before = ReadFile(key_);
  const Result again = Pgconvoy({"credentials", "keygen", "--out", key_});
  EXPECT_EQ(again.code, 4);
  EXPECT_NE(again.err.find("PGC-KEY-EXISTS"), std::string::npos) << again.err;
  EXPECT_EQ(ReadFile(key_), before);
  std::remove((key_ + ".pub").c_str());
  EXPECT_EQ(Pgconvoy({"credentials", "keygen", "--out", key_}).code, 4);
  EXPECT_EQ(ReadFile(key_), before);
  EXPECT_EQ(ReadFile(key_ + ".pub"), "") << "a public key without its private key was left behind";
}

TEST_F(Credentials, RevealShowsTheLoginOnStdoutOnly) {
  const Result result = Reveal();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out,
            std::string("user      project_acme\ndatabase  project_acme_db\npassword  ") + kPassword + "\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(Credentials, RevealSpeaksJson) {
  const auto answer = nlohmann::json::parse(Reveal({"-o", "json"}).out);
  EXPECT_EQ(answer["password"], kPassword);
  EXPECT_EQ(answer["user"], "project_acme");
  EXPECT_EQ(answer["delivered"], true);
}

TEST_F(Credentials, RevealWarnsAboutACredentialThatWasNotDelivered) {
  server_.service.credential.set_delivered(false);
  EXPECT_NE(Reveal().err.find("the registry does not hold this credential"), std::string::npos);
}

TEST_F(Credentials, RevealRefusesAKeyFileThatOthersCanRead) {
  chmod(key_.c_str(), 0640);
  const Result result = Reveal();
  EXPECT_NE(result.code, 0);
  EXPECT_NE(result.err.find("PGC-SECRET-MODE"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "");
}

TEST_F(Credentials, RevealSaysWhenTheKeyIsAnotherOne) {
  server_.service.credential.set_recipient(GenerateKeyPair().public_key);
  const Result result = Reveal();
  EXPECT_NE(result.code, 0);
  EXPECT_NE(result.err.find("PGC-KEY-OTHER"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "");
}

}  // namespace
}  // namespace pgconvoy::cli
