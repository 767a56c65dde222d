// What a simulated attempt does, as coroutines: they read like the phases that they stand for, and a crash destroys
// them wherever they are.
//
// Ownership: a Task owns its coroutine; one that is awaited lives in the frame of who awaits it, so that destroying
// the outermost one destroys all.
// Thread safety: none.
#pragma once

#include <coroutine>
#include <cstdlib>
#include <utility>

#include "common/base/error.h"

namespace pgconvoy::sim {

// A status that costs nothing to make.
struct Outcome {
  bool ok = true;
  Verdict verdict = Verdict::kTransient;
  const char* code = "";
};
constexpr Outcome Fail(Verdict verdict, const char* code) { return {false, verdict, code}; }

class Task {
 public:
  struct promise_type {
    std::coroutine_handle<> waiter;
    Outcome result;

    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) noexcept {
        const std::coroutine_handle<> waiter = self.promise().waiter;
        return waiter ? waiter : std::noop_coroutine();
      }
      void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void return_value(const Outcome& outcome) { result = outcome; }
    void unhandled_exception() { std::abort(); }
  };

  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) {
      handle_.destroy();
    }
  }

  // Until it waits for the first time.
  void Start() { handle_.resume(); }
  bool done() const { return handle_.done(); }

  bool await_ready() const { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) {
    handle_.promise().waiter = waiter;
    return handle_;
  }
  Outcome await_resume() const { return handle_.promise().result; }

 private:
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace pgconvoy::sim

// Leaves the coroutine when what is awaited fails.
#define SIM_TRY(...)                                                     \
  do {                                                                   \
    const ::pgconvoy::sim::Outcome sim_outcome = co_await (__VA_ARGS__); \
    if (!sim_outcome.ok) {                                               \
      co_return sim_outcome;                                             \
    }                                                                    \
  } while (false)
