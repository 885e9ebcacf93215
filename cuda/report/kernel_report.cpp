// kernel_report.cpp   what nvcc made of the kernels: registers, shared memory, spills, tensor-core and 16-byte instructions
//
// usage     kernel_report TABLE SOURCES FILE...    writes TABLE (Markdown) from ptxas logs <family>.<target>.ptxas and PTX
//                                                  <family>.ptx; SOURCES is the folder of the .cu files
//           kernel_report --into README TABLE      puts the table between the marks in README
// exit      1 if a kernel spills more than its file's header declares, with a line for each:
//           `// spills    none`, or `// spills    <kernel> <target or *> <bytes stored and loaded>`, one line a kernel
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace {

namespace fs = std::filesystem;

// What ptxas says of one kernel on one target, in registers and bytes.
struct Usage {
  int registers = 0, shared = 0, stack = 0, spilled = 0;
};

// How often instructions that matter stand in a kernel's PTX.
struct Instructions {
  int tensor = 0;  // mma.sync
  int wide = 0;    // 16-byte accesses of global memory, cp.async among them
  int narrow = 0;  // all others of global memory
};

struct Kernel {
  std::string family;
  std::map<std::string, Usage> usage;  // by target
  Instructions instructions;
};

using Kernels = std::map<std::string, Kernel>;  // by name

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error(path.string() + " cannot be read");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& text) {
  if (fs::exists(path) && read(path) == text) {
    return;
  }
  std::ofstream file(path, std::ios::binary);
  if (!(file << text)) {
    throw std::runtime_error(path.string() + " cannot be written");
  }
}

int number(const std::smatch& match) { return std::stoi(match[1].str()); }

// "Compiling entry function", then what it uses, in this order for each kernel.
void read_log(const fs::path& path, Kernels& kernels) {
  static const std::regex entry("Compiling entry function '(\\w+)' for");
  static const std::regex frame("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
  static const std::regex registers("Used (\\d+) registers");
  static const std::regex shared("(\\d+) bytes smem");
  const std::string name = path.filename().string();  // <family>.<target>.ptxas
  const std::string family = name.substr(0, name.find('.'));
  const std::string target = path.stem().string().substr(family.size() + 1);
  std::istringstream lines(read(path));
  Usage* usage = nullptr;
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_search(line, match, entry)) {
      Kernel& kernel = kernels[match[1].str()];
      kernel.family = family;
      usage = &kernel.usage[target];
    } else if (usage != nullptr && std::regex_search(line, match, frame)) {
      usage->stack = number(match);
      usage->spilled = std::stoi(match[2].str()) + std::stoi(match[3].str());
    } else if (usage != nullptr && std::regex_search(line, match, registers)) {
      usage->registers = number(match);
      if (std::regex_search(line, match, shared)) {
        usage->shared = number(match);
      }
    }
  }
}

bool contains(const std::string& line, const char* text) { return line.find(text) != std::string::npos; }

// A kernel begins with ".entry name(" and ends with a brace at the start of a line.
void read_ptx(const fs::path& path, Kernels& kernels) {
  static const std::regex entry("\\.entry (\\w+)");
  std::istringstream lines(read(path));
  Instructions* counted = nullptr;
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (contains(line, ".entry") && std::regex_search(line, match, entry)) {
      counted = &kernels[match[1].str()].instructions;
    } else if (line.starts_with("}")) {
      counted = nullptr;
    } else if (counted != nullptr) {
      const bool global = contains(line, "ld.global") || contains(line, "st.global") || contains(line, "cp.async.c");
      const bool wide = contains(line, ".v4.u32") || contains(line, ".v4.b32") || contains(line, ".v4.f32") ||
                        contains(line, ".v2.u64") || contains(line, ".v2.b64") || contains(line, "], 16");
      counted->tensor += contains(line, "mma.sync") ? 1 : 0;
      counted->wide += global && wide ? 1 : 0;
      counted->narrow += global && !wide ? 1 : 0;
    }
  }
}

// Bytes that a file's header allows: by kernel and target.
std::map<std::pair<std::string, std::string>, int> declared_spills(const fs::path& source) {
  std::map<std::pair<std::string, std::string>, int> declared;
  std::istringstream lines(read(source));
  bool found = false;
  for (std::string line; std::getline(lines, line) && line.starts_with("//");) {
    std::istringstream words(line);
    std::string comment;
    std::string field;
    std::string kernel;
    std::string target;
    int bytes = 0;
    words >> comment >> field >> kernel;
    if (field == "spills") {
      found = true;
      if (words >> target >> bytes) {
        declared[{kernel, target}] = bytes;
      }
    }
  }
  if (!found) {
    throw std::runtime_error(source.filename().string() + ": the header has no field `spills`");
  }
  return declared;
}

// One line for each kernel that spills more than it says.
int check_spills(const Kernels& kernels, const fs::path& sources) {
  int wrong = 0;
  std::set<std::string> families;
  for (const auto& [name, kernel] : kernels) {
    families.insert(kernel.family);
  }
  for (const std::string& family : families) {
    const auto declared = declared_spills(sources / (family + ".cu"));
    for (const auto& [name, kernel] : kernels) {
      for (const auto& [target, usage] : kernel.usage) {
        const auto exact = declared.find({name, target});
        const auto any = declared.find({name, "*"});
        const int allowed = exact != declared.end() ? exact->second : any != declared.end() ? any->second : 0;
        if (kernel.family == family && usage.spilled > allowed) {
          std::fprintf(stderr, "%s.cu: %s spills %d bytes on %s, its header declares %d\n", family.c_str(), name.c_str(),
                       usage.spilled, target.c_str(), allowed);
          wrong++;
        }
      }
    }
  }
  return wrong;
}

std::string table(const Kernels& kernels) {
  std::set<std::string> targets;
  std::vector<std::pair<std::string, std::string>> order;  // family, name
  for (const auto& [name, kernel] : kernels) {
    order.emplace_back(kernel.family, name);
    for (const auto& [target, usage] : kernel.usage) {
      targets.insert(target);
    }
  }
  std::sort(order.begin(), order.end());
  std::string listed;
  for (const std::string& target : targets) {
    listed += (listed.empty() ? "" : " / ") + target;
  }
  std::ostringstream out;
  out << "Targets: " << listed << ". Bytes a thread for stack and spills, a block for static shared memory; instructions as\n"
      << "they stand in the PTX.\n\n"
      << "| family | kernel | registers | static shared | stack | spills | mma | 16-byte / other global accesses |\n"
      << "|---|---|---|---|---|---|---|---|\n";
  for (const auto& [family, name] : order) {
    const Kernel& kernel = kernels.at(name);
    // One number if all targets agree.
    const auto column = [&](int Usage::* field) {
      std::set<int> values;
      std::string all;
      for (const auto& [target, usage] : kernel.usage) {
        values.insert(usage.*field);
        all += (all.empty() ? "" : " / ") + std::to_string(usage.*field);
      }
      return values.size() == 1 ? std::to_string(*values.begin()) : all;
    };
    out << "| " << family << " | " << name << " | " << column(&Usage::registers) << " | " << column(&Usage::shared) << " | "
        << column(&Usage::stack) << " | " << column(&Usage::spilled) << " | " << kernel.instructions.tensor << " | "
        << kernel.instructions.wide << " / " << kernel.instructions.narrow << " |\n";
  }
  return out.str();
}

void put_into(const fs::path& readme, const fs::path& source) {
  const std::string begin = "<!-- kernel table: begin -->\n";
  const std::string end = "<!-- kernel table: end -->";
  std::string text = read(readme);
  const std::size_t from = text.find(begin);
  const std::size_t to = text.find(end);
  if (from == std::string::npos || to == std::string::npos || to < from) {
    throw std::runtime_error(readme.string() + " has no marks for the kernel table");
  }
  text.replace(from + begin.size(), to - from - begin.size(), read(source));
  write(readme, text);
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() == 3 && arguments[0] == "--into") {
    put_into(arguments[1], arguments[2]);
    return 0;
  }
  if (arguments.size() < 2) {
    std::fputs("usage: kernel_report TABLE SOURCES FILE... | kernel_report --into README TABLE\n", stderr);
    return 2;
  }
  Kernels kernels;
  for (auto file = arguments.begin() + 2; file != arguments.end(); ++file) {
    if (file->ends_with(".ptxas")) {
      read_log(*file, kernels);
    }
  }
  for (auto file = arguments.begin() + 2; file != arguments.end(); ++file) {
    if (file->ends_with(".ptx")) {
      read_ptx(*file, kernels);
    }
  }
  write(arguments[0], table(kernels));
  return check_spills(kernels, arguments[1]) == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run({arguments + 1, arguments + count});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kernel_report: %s\n", e.what());
    return 2;
  }
}
