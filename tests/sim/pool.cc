// The heap of the simulation: a schedule makes and drops thousands of small things, all of them on one thread, and so
// each thread keeps what it has freed for itself. A sanitizer has a heap of its own, which finds more.
//
// Thread safety: what one thread has made another one may drop.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <cstddef>
#include <cstdlib>
#include <new>

namespace pgconvoy::sim {
namespace {

constexpr size_t kUnit = alignof(std::max_align_t);
// What is larger comes from malloc.
constexpr size_t kMaxUnits = 256;
constexpr size_t kSlabBytes = size_t{1} << 20;

// In front of every block; what follows it is as aligned as malloc's.
union Head {
  // 0: malloc's.
  size_t units;
  alignas(kUnit) std::byte room[kUnit];
};
struct Free {
  Free* next;
};

thread_local Free* free_of[kMaxUnits + 1];
thread_local std::byte* slab = nullptr;
thread_local size_t slab_left = 0;

Head* FromMalloc(size_t bytes) {
  auto* const head = static_cast<Head*>(std::malloc(bytes));
  if (head == nullptr) {
    // Nobody here could go on.
    std::abort();
  }
  return head;
}

Head* FromSlab(size_t bytes) {
  if (slab_left < bytes) {
    slab = reinterpret_cast<std::byte*>(FromMalloc(kSlabBytes));
    slab_left = kSlabBytes;
  }
  auto* const head = reinterpret_cast<Head*>(slab);
  slab += bytes;
  slab_left -= bytes;
  return head;
}

void* Make(size_t bytes) {
  const size_t units = bytes == 0 ? 1 : (bytes + kUnit - 1) / kUnit;
  if (units > kMaxUnits) {
    Head* const head = FromMalloc(sizeof(Head) + bytes);
    head->units = 0;
    return head + 1;
  }
  if (Free* const found = free_of[units]) {
    free_of[units] = found->next;
    return found;
  }
  Head* const head = FromSlab(sizeof(Head) + units * kUnit);
  head->units = units;
  return head + 1;
}

void Drop(void* block) {
  if (block == nullptr) {
    return;
  }
  Head* const head = static_cast<Head*>(block) - 1;
  if (head->units == 0) {
    std::free(head);
    return;
  }
  auto* const freed = static_cast<Free*>(block);
  freed->next = free_of[head->units];
  free_of[head->units] = freed;
}

}  // namespace
}  // namespace pgconvoy::sim

// NOLINTBEGIN(misc-new-delete-overloads): the others of the standard library call these.
void* operator new(size_t bytes) { return pgconvoy::sim::Make(bytes); }
void operator delete(void* block) noexcept { pgconvoy::sim::Drop(block); }
void operator delete(void* block, size_t) noexcept { pgconvoy::sim::Drop(block); }
// NOLINTEND(misc-new-delete-overloads)

#endif
