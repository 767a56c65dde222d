#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/rpc/error_details.pb.h"
#include "common/rpc/rpc.h"
#include "pgconvoy/v1/migration_service.grpc.pb.h"

namespace pgconvoy::rpc {
namespace {

// One detail of a status; an empty message when it has none of this type.
template <typename Message>
Message DetailOf(const grpc::Status& status, const std::string& type) {
  wire::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  Message message;
  for (const auto& any : details.details()) {
    if (any.type_url() == "type.googleapis.com/google.rpc." + type) {
      EXPECT_TRUE(message.ParseFromString(any.value()));
    }
  }
  return message;
}

void ExpectSame(const absl::Status& got, const absl::Status& wanted) {
  EXPECT_EQ(got.code(), wanted.code());
  EXPECT_EQ(VerdictOf(got), VerdictOf(wanted));
  EXPECT_EQ(CodeOf(got), CodeOf(wanted));
  EXPECT_EQ(MessageOf(got), MessageOf(wanted));
  EXPECT_EQ(RemedyOf(got), RemedyOf(wanted));
}

// Answers every call with one status, over a real connection.
class Refusing final : public v1::MigrationService::Service {
 public:
  explicit Refusing(grpc::Status status) : status_(std::move(status)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Refusing() override { server_->Shutdown(); }
  grpc::Status GetMigration(grpc::ServerContext*, const v1::GetMigrationRequest*, v1::Migration*) override {
    return status_;
  }
  grpc::Status Call() const {
    const auto stub = v1::MigrationService::NewStub(Connect("127.0.0.1:" + std::to_string(port_)));
    grpc::ClientContext context;
    v1::Migration migration;
    return stub->GetMigration(&context, {}, &migration);
  }

 private:
  const grpc::Status status_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

grpc::Status OverTheWire(const grpc::Status& status) { return Refusing(status).Call(); }

TEST(StatusOverGrpc, KeepsEveryVerdictCodeMessageAndRemedy) {
  for (const Verdict verdict : {Verdict::kTransient, Verdict::kPermanent, Verdict::kInDoubt, Verdict::kFenced,
                                Verdict::kOperator, Verdict::kAbandoned}) {
    const absl::Status status = MakeError(verdict, "PGC-TEST-ONE", "it \"failed\": 100 % für acme\n", "do that");
    ExpectSame(FromGrpc(OverTheWire(ToGrpc(status))), status);
  }
  const absl::Status input = InputError("PGC-TEST-TWO", "bad");
  ExpectSame(FromGrpc(OverTheWire(ToGrpc(input))), input);
}

TEST(StatusOverGrpc, IsOkWhenItWasOk) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_EQ(FromGrpc(grpc::Status::OK), absl::OkStatus());
}

TEST(StatusOverGrpc, KeepsACodeThatTheVerdictWouldNotGive) {
  const absl::Status made = MakeError(Verdict::kTransient, "PGC-TEST-ONE", "late", "wait");
  absl::Status status(absl::StatusCode::kDeadlineExceeded, made.message());
  made.ForEachPayload(
      [&status](absl::string_view url, const absl::Cord& payload) { status.SetPayload(url, payload); });
  ExpectSame(FromGrpc(ToGrpc(status)), status);
}

TEST(StatusOverGrpc, ShowsItselfToOtherClientsAsErrorInfo) {
  const grpc::Status status = ToGrpc(MakeError(Verdict::kOperator, "PGC-TEST-ONE-a", "why", "what"));
  const auto info = DetailOf<wire::ErrorInfo>(status, "ErrorInfo");
  EXPECT_EQ(info.reason(), "TEST_ONE_A");
  EXPECT_EQ(info.domain(), "pgconvoy");
  EXPECT_EQ(info.metadata().at("code"), "PGC-TEST-ONE-a");
  EXPECT_EQ(info.metadata().at("verdict"), "OPERATOR");
  EXPECT_EQ(info.metadata().at("remedy"), "what");
}

TEST(StatusOverGrpc, NamesTheFieldsThatAreWrong) {
  const grpc::Status status =
      ToGrpc(InputError("PGC-TEST", "bad"), {{"page_size", "negative"}, {"state", "unknown"}});
  const auto bad = DetailOf<wire::BadRequest>(status, "BadRequest");
  ASSERT_EQ(bad.field_violations_size(), 2);
  EXPECT_EQ(bad.field_violations(1).field(), "state");
  EXPECT_EQ(bad.field_violations(1).description(), "unknown");
}

TEST(StatusOverGrpc, ComesThroughHoweverMuchThereIsToSay) {
  // A letter of two bytes takes six where the message is percent-encoded.
  std::string letters;
  for (int i = 0; i < 20'000; ++i) {
    letters += "é";
  }
  const std::vector<FieldViolation> violations(100, {letters, letters});
  const grpc::Status got =
      OverTheWire(ToGrpc(MakeError(Verdict::kOperator, "PGC-TEST-LONG", letters, letters), violations));
  const absl::Status status = FromGrpc(got);
  EXPECT_EQ(CodeOf(status), "PGC-TEST-LONG") << got.error_message();
  EXPECT_EQ(VerdictOf(status), Verdict::kOperator);
  for (const std::string& text : {MessageOf(status), RemedyOf(status)}) {
    EXPECT_TRUE(text.starts_with("éé")) << text;
    EXPECT_TRUE(text.ends_with("é…")) << text;
    EXPECT_TRUE(IsUtf8(text));
  }
  EXPECT_GT(DetailOf<wire::BadRequest>(got, "BadRequest").field_violations_size(), 0);
}

TEST(StatusOverGrpc, ClipsNothingThatFits) {
  const std::string message(3000, 'm');
  const std::string remedy(500, 'r');
  const absl::Status status = FromGrpc(OverTheWire(ToGrpc(MakeError(Verdict::kFenced, "PGC-TEST", message, remedy))));
  EXPECT_EQ(MessageOf(status), message);
  EXPECT_EQ(RemedyOf(status), remedy);
}

TEST(StatusOverGrpc, KeepsItsVerdictWhenATextIsNotUtf8) {
  const absl::Status status =
      FromGrpc(OverTheWire(ToGrpc(MakeError(Verdict::kOperator, "PGC-TEST", "m\xff", "rename \xff"))));
  EXPECT_EQ(CodeOf(status), "PGC-TEST");
  EXPECT_EQ(VerdictOf(status), Verdict::kOperator);
  EXPECT_EQ(RemedyOf(status), "rename \\xff");
}

TEST(StatusOfAStranger, GetsACodeOfItsOwnAndTheVerdictOfItsKind) {
  const absl::Status down = FromGrpc({grpc::StatusCode::UNAVAILABLE, "connection refused"});
  EXPECT_EQ(CodeOf(down), "PGC-RPC-UNAVAILABLE");
  EXPECT_EQ(VerdictOf(down), Verdict::kTransient);
  EXPECT_EQ(MessageOf(down), "connection refused");
  const absl::Status missing = FromGrpc({grpc::StatusCode::UNIMPLEMENTED, ""});
  EXPECT_EQ(CodeOf(missing), "PGC-RPC-UNIMPLEMENTED");
  EXPECT_EQ(missing.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(VerdictOf(missing), Verdict::kPermanent);
}

TEST(StatusOfAStranger, IsNotTakenForOurs) {
  wire::ErrorInfo info;
  info.set_reason("QUOTA");
  info.set_domain("example.com");
  (*info.mutable_metadata())["code"] = "PGC-FORGED";
  wire::Status details;
  details.add_details()->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  details.mutable_details(0)->set_value(info.SerializeAsString());
  const grpc::Status foreign(grpc::StatusCode::RESOURCE_EXHAUSTED, "no", details.SerializeAsString());
  EXPECT_EQ(CodeOf(FromGrpc(foreign)), "PGC-RPC-RESOURCE-EXHAUSTED");
  const grpc::Status broken(grpc::StatusCode::INTERNAL, "no", "\xff\xff\xff");
  EXPECT_EQ(CodeOf(FromGrpc(broken)), "PGC-RPC-INTERNAL");
}

}  // namespace
}  // namespace pgconvoy::rpc
