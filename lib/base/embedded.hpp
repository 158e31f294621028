#pragma once

#include <string_view>

// KFAB_EMBEDDED(name) gives a function embedded_name() that returns the bytes which cmake/embed.cmake put into this
// executable under that name.
#define KFAB_EMBEDDED(name)                                                                  \
  extern "C" const char kfab_embedded_##name##_begin[];                                      \
  extern "C" const char kfab_embedded_##name##_end[];                                        \
  static inline std::string_view embedded_##name() {                                         \
    return {kfab_embedded_##name##_begin,                                                    \
            static_cast<std::size_t>(kfab_embedded_##name##_end - kfab_embedded_##name##_begin)}; \
  }
