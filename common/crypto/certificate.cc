#include "common/crypto/certificate.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/openssl.h"

namespace pgconvoy {
namespace {

absl::Status BadCertificate(const std::string& what) {
  return InputError("PGC-TLS-CERTIFICATE", what, "give a certificate in PEM form, -----BEGIN CERTIFICATE-----");
}

// Every certificate of a PEM text, in order.
std::vector<X509Ptr> ReadAll(std::string_view pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<X509Ptr> all;
  while (X509* const one = PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr)) {
    all.emplace_back(one);
  }
  // The end of the text is an error to OpenSSL, which would be taken for one of a later call.
  ERR_clear_error();
  return all;
}

std::string SubjectOf(X509& certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  return Printable(Contents(*bio));
}

absl::StatusOr<int64_t> Seconds(const ASN1_TIME* time) {
  std::tm broken{};
  if (ASN1_TIME_to_tm(time, &broken) != 1) {
    return BadCertificate("a time in the certificate cannot be read");
  }
  return static_cast<int64_t>(timegm(&broken));
}

absl::StatusOr<std::vector<std::string>> UrisOf(X509& certificate) {
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> uris;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) {
      continue;
    }
    const ASN1_IA5STRING* const text = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<size_t>(ASN1_STRING_length(text)));
    if (uris.back().find('\0') != std::string::npos) {
      return BadCertificate("a name in the certificate holds a NUL byte");
    }
  }
  return uris;
}

std::string Day(int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm broken{};
  gmtime_r(&time, &broken);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &broken)};
}

}  // namespace

absl::StatusOr<Certificate> ReadCertificate(std::string_view pem) {
  const std::vector<X509Ptr> all = ReadAll(pem);
  if (all.empty()) {
    return BadCertificate("there is no certificate");
  }
  X509& first = *all.front();
  Certificate certificate;
  certificate.subject = SubjectOf(first);
  PGC_ASSIGN_OR_RETURN(certificate.uris, UrisOf(first));
  certificate.is_authority = X509_check_ca(&first) != 0;
  PGC_ASSIGN_OR_RETURN(certificate.not_before_s, Seconds(X509_get0_notBefore(&first)));
  PGC_ASSIGN_OR_RETURN(certificate.not_after_s, Seconds(X509_get0_notAfter(&first)));
  return certificate;
}

absl::Status CheckTimes(const Certificate& certificate, int64_t now_s) {
  if (now_s < certificate.not_before_s) {
    return InputError("PGC-TLS-NOT-YET-VALID",
                      "the certificate of " + certificate.subject + " is valid from " + Day(certificate.not_before_s),
                      "check this machine's clock");
  }
  if (now_s > certificate.not_after_s) {
    return InputError("PGC-TLS-EXPIRED",
                      "the certificate of " + certificate.subject + " expired at " + Day(certificate.not_after_s),
                      "renew it");
  }
  return absl::OkStatus();
}

absl::Status CheckKeyOf(std::string_view certificate_pem, const Secret& key_pem) {
  const std::vector<X509Ptr> all = ReadAll(certificate_pem);
  if (all.empty()) {
    return BadCertificate("there is no certificate");
  }
  const std::string& pem = key_pem.Reveal();
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  const bool fits = key != nullptr && X509_check_private_key(all.front().get(), key.get()) == 1;
  ERR_clear_error();
  if (key == nullptr) {
    return InputError("PGC-TLS-KEY", "there is no private key that can be read", "give one in PEM form, unencrypted");
  }
  if (!fits) {
    return InputError("PGC-TLS-KEY", "the private key is not that of the certificate");
  }
  return absl::OkStatus();
}

absl::Status CheckChain(std::string_view certificate_pem, std::string_view authorities_pem) {
  const std::vector<X509Ptr> chain = ReadAll(certificate_pem);
  const std::vector<X509Ptr> authorities = ReadAll(authorities_pem);
  if (chain.empty() || authorities.empty()) {
    return BadCertificate("there is no certificate");
  }
  const StorePtr store(X509_STORE_new());
  for (const X509Ptr& authority : authorities) {
    X509_STORE_add_cert(store.get(), authority.get());
  }
  const StackPtr others(sk_X509_new_null());
  for (size_t i = 1; i < chain.size(); ++i) {
    sk_X509_push(others.get(), chain[i].get());
  }
  const StoreContextPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), others.get());
  X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(context.get()), X509_V_FLAG_NO_CHECK_TIME);
  const bool verified = X509_verify_cert(context.get()) == 1;
  const std::string why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  ERR_clear_error();
  if (!verified) {
    return InputError("PGC-TLS-CHAIN",
                      "the certificate of " + SubjectOf(*chain.front()) + " is not from this authority: " + why,
                      "give the authority that has signed it");
  }
  return absl::OkStatus();
}

}  // namespace pgconvoy
