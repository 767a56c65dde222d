// Tests of one coordinator with mutual TLS, which all tests of a suite share, and calls that need no stub.
//
// Thread safety: one thread. Errors: a failed step fails the test.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "common/crypto/crypto.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"
#include "tests/integration/secure_coordinator.h"

namespace pgconvoy::testing {

inline void SetDeadline(grpc::ClientContext& context, int seconds = 30) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
}

inline grpc::Status List(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::ListMigrationsResponse response;
  return v1::MigrationService::NewStub(channel)->ListMigrations(&context, {}, &response);
}

// Calls any method with an empty message, as if it took and gave one message.
inline grpc::Status CallByName(const std::shared_ptr<grpc::Channel>& channel, const std::string& method) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  // Only health's Watch never ends.
  SetDeadline(context, method.ends_with("/Watch") ? 1 : 30);
  const grpc::ByteBuffer request(nullptr, 0);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, method, {}, &request, &response, [&done](grpc::Status status) { done.set_value(status); });
  return done.get_future().get();
}

class SecuredTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    InitCrypto();
    coordinator_ = std::make_unique<SecureCoordinator>();
  }
  static void TearDownTestSuite() { coordinator_.reset(); }

  // Whatever a test did to the coordinator, it serves who may ask.
  void TearDown() override {
    EXPECT_TRUE(coordinator_->process().Running()) << coordinator_->Log();
    const grpc::Status status = coordinator_->GetAs("viewer");
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  inline static std::unique_ptr<SecureCoordinator> coordinator_;
};

}  // namespace pgconvoy::testing
