#pragma once

#include <string>

namespace kfab::cli {

// The tables of kfab-checks(7) as scdoc, made from what the judge itself reads: the catalogue of checks, the criteria that ship,
// the table of XIDs, the rates by which floors are derived, and the constants of the comparison with peers. None of them can
// therefore say anything else than the code does.
std::string level_table();
std::string check_table();          // every check of every device with its metrics
std::string common_metric_table();  // what comes with every check
std::string criteria_table();       // every set with its criteria
std::string xid_list();
std::string derived_floor_table();
std::string peer_rules();
std::string fact_list();            // the facts of which a profile may expect something
std::string test_code_table();      // the codes by which a test says why it did not run or failed

}  // namespace kfab::cli
