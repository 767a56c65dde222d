#include <sodium.h>

#include <ostream>
#include <utility>

#include "common/crypto/crypto.h"

namespace pgconvoy {
namespace {

// A short string lives inside the object, where moving copies it: the source has to be wiped as well.
void WipeString(std::string& text) {
  text.resize(text.capacity());
  sodium_memzero(text.data(), text.size());
  text.clear();
}

}  // namespace

Secret::Secret(std::string value) : value_(std::move(value)) { WipeString(value); }

Secret::~Secret() { Wipe(); }

Secret::Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.Wipe(); }

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    Wipe();
    value_ = std::move(other.value_);
    other.Wipe();
  }
  return *this;
}

Secret Secret::Clone() const { return Secret(value_); }

void Secret::Wipe() { WipeString(value_); }

std::ostream& operator<<(std::ostream& out, const Secret& /*secret*/) { return out << "***"; }

}  // namespace pgconvoy
