#include "base/words.hpp"
namespace kfab::cli { }
