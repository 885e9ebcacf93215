// error.h   failures inside the library are exceptions, outside they are a status and a sentence.
#pragma once

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "retort/base.h"

namespace rt {

// A failure with the status that the caller will see.
class Error : public std::runtime_error {
 public:
  Error(rt_status status, const std::string& sentence) : std::runtime_error(sentence), status_(status) {}
  rt_status status() const noexcept { return status_; }

 private:
  rt_status status_;
};

// Throws RT_INVALID with a printf-style sentence: fail("group_norm: C must be a multiple of G, got %ld", c).
[[noreturn]] [[gnu::format(printf, 1, 2)]] void fail(const char* format, ...);

// The same with another status.
[[noreturn]] [[gnu::format(printf, 2, 3)]] void fail_with(rt_status status, const char* format, ...);

// Keeps the sentence for rt_last_error() on this thread and returns the status.
rt_status remember(rt_status status, const char* sentence) noexcept;

// Runs the body of an exported function; no exception leaves it.
template <class Body>
rt_status guarded(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return RT_OK;
  } catch (const Error& error) {
    return remember(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return remember(RT_OUT_OF_MEMORY, "scratch memory could not be allocated");
  } catch (const std::exception& error) {
    return remember(RT_INTERNAL, error.what());
  } catch (...) {
    return remember(RT_INTERNAL, "an unknown exception was thrown");
  }
}

}  // namespace rt
