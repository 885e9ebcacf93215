// registry.h   RT_EXPORT(rt_name) enters a function and the signature of its C type into rt_signature_table().
//
// Java binds by name and signature, so a prototype that changed on one side only is an error at load, not a crash.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "retort/base.h"

namespace rt {

template <class T>
constexpr char type_code() {
  if constexpr (std::is_pointer_v<T>) {
    return 'p';
  } else if constexpr (std::is_integral_v<T> && sizeof(T) == 8) {
    return 'l';
  } else if constexpr (std::is_integral_v<T> && sizeof(T) == 4) {
    return 'i';
  } else if constexpr (std::is_same_v<T, float>) {
    return 'f';
  } else {
    static_assert(std::is_same_v<T, double>, "the contract knows pointers, int64, int32, float and double");
    return 'd';
  }
}

template <class... Arguments>
std::string signature(rt_status (*)(Arguments...)) {
  return {type_code<Arguments>()...};
}

// Enters one function; the only effect of constructing it.
struct Registration {
  Registration(const char* name, std::string signature);
};

}  // namespace rt

#define RT_EXPORT(name) static const rt::Registration registration_of_##name{#name, rt::signature(&name)}
