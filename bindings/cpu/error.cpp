// error.cpp   sentences for the thread that made the failing call.

#include "cpu/error.h"

#include <cstdarg>
#include <cstdio>

namespace rt {
namespace {

constexpr int kSentenceBytes = 512;  // longer ones are cut; shapes of rank 5 fit several times

thread_local char last_sentence[kSentenceBytes] = "no error";

std::string format_sentence(const char* format, std::va_list arguments) {
  char sentence[kSentenceBytes];
  std::vsnprintf(sentence, sizeof sentence, format, arguments);
  return sentence;
}

}  // namespace

void fail(const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const std::string sentence = format_sentence(format, arguments);
  va_end(arguments);
  throw Error(RT_INVALID, sentence);
}

void fail_with(rt_status status, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  const std::string sentence = format_sentence(format, arguments);
  va_end(arguments);
  throw Error(status, sentence);
}

rt_status remember(rt_status status, const char* sentence) noexcept {
  std::snprintf(last_sentence, sizeof last_sentence, "%s", sentence);
  return status;
}

}  // namespace rt

const char* rt_last_error(void) { return rt::last_sentence; }
