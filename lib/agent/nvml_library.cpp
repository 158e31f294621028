#include "agent/nvml_library.hpp"

#include <dlfcn.h>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::agent {

NvmlLibrary::NvmlLibrary(const std::string& library) : handle_(::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ != nullptr) return;
  const char* why = ::dlerror();
  why_not_ = fmt::format("{} cannot be loaded: {}", library, one_line(why != nullptr ? why : "no reason given", 200));
}

void* NvmlLibrary::find(const char* name) const { return handle_ != nullptr ? ::dlsym(handle_, name) : nullptr; }

bool NvmlLibrary::has(const char* name) const { return find(name) != nullptr; }

std::string NvmlLibrary::words(Return code) const {
  if (code == function_not_found) return "this driver has no such function";
  void* symbol = find("nvmlErrorString");
  if (symbol == nullptr) return fmt::format("NVML error {}", code);
  const char* (*function)(Return) = nullptr;
  std::memcpy(&function, &symbol, sizeof function);
  const char* text = function(code);
  return fmt::format("{} (NVML error {})", one_line(text != nullptr ? text : "unknown", 120), code);
}

}  // namespace kfab::agent
