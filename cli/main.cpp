#include "base/words.hpp"
int main() { return 0; }
