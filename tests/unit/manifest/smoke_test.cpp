#include <doctest/doctest.h>
#include "manifest/load.hpp"
TEST_CASE("x"){ auto l = kfab::manifest::load_file(KFAB_SOURCE_DIR "/manifests/examples/site.yaml");
 for (auto& d: l.diagnostics) MESSAGE(kfab::to_string(d.code), " ", d.message, " ", d.path, " ", d.span? d.span->file:"", ":", d.span? d.span->line:0, " ", d.label);
 CHECK(l.site()); }
