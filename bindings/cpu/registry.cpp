// registry.cpp   the table of every exported operation.

#include "cpu/registry.h"

#include <map>
#include <utility>

namespace rt {
namespace {

// A function-local static: registrations of other files run before or after this file's own initialisers.
std::map<std::string, std::string>& operations() {
  static std::map<std::string, std::string> by_name;
  return by_name;
}

std::string render() {
  std::string table;
  for (const auto& [name, signature] : operations()) {
    table += name + ":" + signature + "\n";
  }
  return table;
}

}  // namespace

Registration::Registration(const char* name, std::string signature) {
  operations().emplace(name, std::move(signature));
}

}  // namespace rt

const char* rt_signature_table(void) {
  static const std::string table = rt::render();
  return table.c_str();
}

const char* rt_isa(void) { return RT_ISA; }
