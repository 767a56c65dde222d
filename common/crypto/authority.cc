#include "common/crypto/authority.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/openssl.h"

namespace pgconvoy {
namespace {

constexpr size_t kMaxHostBytes = 253;
// RFC 5280: at most 20 bytes, positive; random, so that no two authorities have the same.
constexpr size_t kSerialBytes = 16;

absl::Status Failed(const char* what) {
  ERR_clear_error();
  return absl::InternalError(std::string("OpenSSL cannot ") + what);
}

bool IsIpAddress(const std::string& host) {
  in6_addr ignored{};
  return inet_pton(AF_INET, host.c_str(), &ignored) == 1 || inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

bool IsDnsName(const std::string& host) {
  return !host.empty() && host.size() <= kMaxHostBytes && std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '*';
  });
}

// In the form of OpenSSL's configuration. Nothing in it needs quoting: hosts are checked, and URIs come from us.
absl::StatusOr<std::string> AlternativeNames(const CertificateRequest& request) {
  std::string names = request.uri.empty() ? "" : "URI:" + request.uri;
  for (const std::string& host : request.hosts) {
    if (!IsIpAddress(host) && !IsDnsName(host)) {
      return InputError("PGC-TLS-HOST", "\"" + Printable(host) + "\" is neither a host name nor an IP address");
    }
    names += (names.empty() ? "" : ",") + std::string(IsIpAddress(host) ? "IP:" : "DNS:") + host;
  }
  return names;
}

absl::Status AddExtension(X509& certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, &certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (extension == nullptr || X509_add_ext(&certificate, extension.get(), -1) != 1) {
    return Failed("add an extension to a certificate");
  }
  return absl::OkStatus();
}

absl::Status SetSerial(X509& certificate) {
  std::array<unsigned char, kSerialBytes> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return Failed("make random numbers");
  }
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7F) | 0x40);
  BIGNUM* const number = BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr);
  const bool set = number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(&certificate)) != nullptr;
  BN_free(number);
  return set ? absl::OkStatus() : Failed("set a serial number");
}

absl::Status SetNames(X509& certificate, X509* issuer, const std::string& common_name) {
  X509_NAME* const name = X509_get_subject_name(&certificate);
  const auto* const text = reinterpret_cast<const unsigned char*>(common_name.data());
  const int size = static_cast<int>(common_name.size());
  if (X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, text, size, -1, 0) != 1 ||
      X509_set_issuer_name(&certificate, issuer != nullptr ? X509_get_subject_name(issuer) : name) != 1) {
    return Failed("name a certificate");
  }
  return absl::OkStatus();
}

absl::Status SetBody(X509& certificate, X509* issuer, EVP_PKEY& key, const CertificateRequest& request) {
  X509_set_version(&certificate, X509_VERSION_3);
  PGC_RETURN_IF_ERROR(SetSerial(certificate));
  PGC_RETURN_IF_ERROR(SetNames(certificate, issuer, request.common_name));
  if (ASN1_TIME_set(X509_getm_notBefore(&certificate), request.not_before_s) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(&certificate), request.not_after_s) == nullptr ||
      X509_set_pubkey(&certificate, &key) != 1) {
    return Failed("fill a certificate");
  }
  return absl::OkStatus();
}

absl::Status AddLeafExtensions(X509& certificate, X509* issuer, const CertificateRequest& request) {
  PGC_ASSIGN_OR_RETURN(const std::string names, AlternativeNames(request));
  PGC_RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  PGC_RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_key_usage, "critical,digitalSignature"));
  PGC_RETURN_IF_ERROR(
      AddExtension(certificate, issuer, NID_ext_key_usage, request.server ? "serverAuth" : "clientAuth"));
  PGC_RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_subject_key_identifier, "hash"));
  PGC_RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_authority_key_identifier, "keyid:always"));
  return names.empty() ? absl::OkStatus() : AddExtension(certificate, issuer, NID_subject_alt_name, names);
}

absl::Status AddAuthorityExtensions(X509& certificate, const std::string& uri) {
  PGC_RETURN_IF_ERROR(AddExtension(certificate, &certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  PGC_RETURN_IF_ERROR(AddExtension(certificate, &certificate, NID_key_usage, "critical,keyCertSign,cRLSign"));
  PGC_RETURN_IF_ERROR(AddExtension(certificate, &certificate, NID_subject_key_identifier, "hash"));
  return uri.empty() ? absl::OkStatus() : AddExtension(certificate, &certificate, NID_subject_alt_name, "URI:" + uri);
}

absl::StatusOr<IssuedCertificate> ToPem(X509& certificate, EVP_PKEY& key) {
  const BioPtr certificate_text(BIO_new(BIO_s_mem()));
  const BioPtr key_text(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_X509(certificate_text.get(), &certificate) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(key_text.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return Failed("write a certificate");
  }
  return IssuedCertificate{Contents(*certificate_text), Secret(Contents(*key_text))};
}

}  // namespace

absl::StatusOr<IssuedCertificate> MakeAuthority(const CertificateRequest& request) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const X509Ptr certificate(X509_new());
  if (key == nullptr || certificate == nullptr) {
    return Failed("make a key");
  }
  PGC_RETURN_IF_ERROR(SetBody(*certificate, nullptr, *key, request));
  PGC_RETURN_IF_ERROR(AddAuthorityExtensions(*certificate, request.uri));
  if (X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) {
    return Failed("sign a certificate");
  }
  return ToPem(*certificate, *key);
}

absl::StatusOr<IssuedCertificate> Issue(const IssuedCertificate& authority, const CertificateRequest& request) {
  const std::string& pem = authority.key_pem.Reveal();
  const BioPtr issuer_text(BIO_new_mem_buf(authority.certificate_pem.data(), -1));
  const BioPtr key_text(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const X509Ptr issuer(PEM_read_bio_X509(issuer_text.get(), nullptr, NoPassphrase, nullptr));
  const KeyPtr issuer_key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, NoPassphrase, nullptr));
  const KeyPtr key(EVP_EC_gen("P-256"));
  const X509Ptr certificate(X509_new());
  if (issuer == nullptr || issuer_key == nullptr || key == nullptr || certificate == nullptr) {
    return Failed("read the authority");
  }
  PGC_RETURN_IF_ERROR(SetBody(*certificate, issuer.get(), *key, request));
  PGC_RETURN_IF_ERROR(AddLeafExtensions(*certificate, issuer.get(), request));
  if (X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()) == 0) {
    return Failed("sign a certificate");
  }
  return ToPem(*certificate, *key);
}

}  // namespace pgconvoy
