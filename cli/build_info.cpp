#include "cli/build_info.hpp"

#include "base/text.hpp"

namespace kfab::cli {

commands::BuildFacts build_facts() {
  commands::BuildFacts facts;
  facts.version = KFAB_VERSION;
  facts.build_type = KFAB_BUILD_TYPE;
  facts.compiler = "g++ " __VERSION__;
#ifdef __clang__
  facts.compiler = __VERSION__;
#endif
  facts.cuda = KFAB_CUDA_BUILT_IN != 0;
  if (facts.cuda) {
    facts.cuda_toolkit = KFAB_CUDA_TOOLKIT;
    facts.cuda_least_driver = KFAB_CUDA_LEAST_DRIVER;
    for (const std::string& arch : split(KFAB_CUDA_ARCH_LIST, ' ')) facts.cuda_archs.push_back("sm_" + arch);
  }
  for (const std::string& row : split(KFAB_LIBRARIES, ' ')) {
    const auto equals = row.find('=');
    if (equals != std::string::npos && equals + 1 < row.size()) facts.libraries.push_back({row.substr(0, equals), row.substr(equals + 1)});
  }
  return facts;
}

}  // namespace kfab::cli
