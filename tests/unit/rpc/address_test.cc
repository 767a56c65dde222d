#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::rpc {
namespace {

TEST(Address, StaysAsItIsWhenItNamesOne) {
  for (const char* address : {"127.0.0.1:7070", "coordinator:7070", "coordinator", "[::1]:7070", "unix:/run/pgconvoy",
                              "dns:///coordinator:7070"}) {
    EXPECT_EQ(TargetOf(address).value_or("refused"), address);
  }
}

TEST(Address, StaysAsItIsInTheFormOfGrpc) {
  for (const char* address : {"ipv4:127.0.0.1:1,127.0.0.1:2", "ipv6:[::1]:1,[::1]:2"}) {
    EXPECT_EQ(TargetOf(address).value_or("refused"), address);
  }
}

TEST(Address, MayListSeveralOfOneKind) {
  EXPECT_EQ(TargetOf("192.0.2.1:7070,192.0.2.2:7071").value_or("refused"), "ipv4:192.0.2.1:7070,192.0.2.2:7071");
  EXPECT_EQ(TargetOf("[2001:db8::1]:1,[::1]:2,[::2]:3").value_or("refused"), "ipv6:[2001:db8::1]:1,[::1]:2,[::2]:3");
}

TEST(Address, IsRefusedWhenGrpcCouldNotReachAllThatItLists) {
  for (const char* address : {"", ",", "a:1,b:1", "localhost:1,localhost:2", "127.0.0.1:1,b:1", "127.0.0.1:1,[::1]:1",
                              "127.0.0.1:1,", ",127.0.0.1:1", "127.0.0.1:1,,127.0.0.1:2", "127.0.0.1,127.0.0.2",
                              "127.0.0.1:1,127.0.0.2:0", "127.0.0.1:1,127.0.0.2:65536", "127.0.0.1:1, 127.0.0.2:1",
                              "127.0.0:1,127.0.0.1:1", "::1:1,::2:1", "dns:a:1,b:1"}) {
    const auto target = TargetOf(address);
    ASSERT_FALSE(target.ok()) << address;
    EXPECT_EQ(CodeOf(target.status()), "PGC-RPC-ADDRESS") << address;
    EXPECT_EQ(target.status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_FALSE(RemedyOf(target.status()).empty()) << address;
  }
}

TEST(Connect, FindsTheOneOfAListThatAnswers) {
  grpc::ServerBuilder builder;
  int port = 0;
  v1::MigrationService::Service service;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  // tcpmux: nobody listens there.
  for (const std::string& prefix : {std::string(), std::string("ipv4:")}) {
    const auto stub =
        v1::MigrationService::NewStub(Connect(prefix + "127.0.0.1:1,127.0.0.1:" + std::to_string(port)));
    grpc::ClientContext context;
    v1::Migration migration;
    EXPECT_EQ(stub->GetMigration(&context, {}, &migration).error_code(), grpc::StatusCode::UNIMPLEMENTED) << prefix;
  }
  server->Shutdown();
}

TEST(Connect, NeverReachesAnybodyThroughAnAddressThatIsRefused) {
  const auto stub = v1::MigrationService::NewStub(Connect("localhost:1,localhost:2"));
  grpc::ClientContext context;
  v1::Migration migration;
  EXPECT_EQ(stub->GetMigration(&context, {}, &migration).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace pgconvoy::rpc
