#include "readiness/forecast.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

// Slow rates need more digits to be told from none.
std::string rate(double per_day) { return format_number(per_day, per_day < 1 ? 2 : 1); }

std::string rate_text(const Forecast& f) {
  if (!f.rate_needed_per_day) return {};
  std::string text = fmt::format("{} left in {}: {} accelerators a day are needed", count_text(*f.remaining_accelerators, "accelerator"),
                                 count_text(*f.days_to_due, "day"), rate(*f.rate_needed_per_day));
  if (f.nodes_needed_per_day) text += fmt::format(", {} nodes a day", rate(*f.nodes_needed_per_day));
  return text;
}

}  // namespace

Forecast forecast(const ForecastInput& in) {
  Forecast f;
  std::map<Date, std::int64_t> days;
  for (const auto& row : in.history) {
    f.acceptances += row.accelerators;
    days[row.day] += row.accelerators;
  }
  f.days_with_acceptances = static_cast<int>(days.size());
  f.remaining_accelerators = in.remaining_accelerators;
  f.remaining_nodes = in.remaining_nodes;
  if (in.due) f.days_to_due = days_between(in.today, *in.due);
  if (in.ready) {
    f.status = "ready";
    f.reason = "all gates pass";
    return f;
  }
  if (!in.remaining_accelerators && !in.remaining_nodes) {
    f.status = "no_target";
    f.reason = "cannot forecast: no target";
    return f;
  }
  if (f.days_to_due && *f.days_to_due < 0) {
    f.status = "due_passed";
    f.reason = fmt::format("the due date {} passed {} ago, and the tranche is not ready", to_string(*in.due), count_text(-*f.days_to_due, "day"));
    return f;
  }
  if (f.days_to_due) {
    // On the due day itself there is still that day.
    const double days_left = std::max(1, *f.days_to_due);
    if (f.remaining_accelerators) f.rate_needed_per_day = static_cast<double>(*f.remaining_accelerators) / days_left;
    if (f.remaining_nodes) f.nodes_needed_per_day = static_cast<double>(*f.remaining_nodes) / days_left;
  }
  const bool enough = f.days_with_acceptances >= fewest_days && f.acceptances >= fewest_acceptances;
  if (enough) {
    const int span = std::max(1, days_between(days.begin()->first, in.today) + 1);
    f.rate_observed_per_day = static_cast<double>(f.acceptances) / span;
  }
  const std::string needed = rate_text(f);
  if (!in.due) {
    f.status = "no_due_date";
    f.reason = "no due date is stated, so no rate can be named that would meet it";
  } else if (enough) {
    f.status = "rate_only";
    f.reason = fmt::format("{}; {} a day were accepted so far. No date is forecast from that", needed, rate(*f.rate_observed_per_day));
  } else {
    f.status = "insufficient_history";
    f.reason = join_sentences(needed, fmt::format("no date can be forecast from {} on {}: it takes {} on {}", count_text(f.acceptances, "acceptance"),
                                                  count_text(f.days_with_acceptances, "day"), fewest_acceptances, count_text(fewest_days, "day")));
  }
  return f;
}

}  // namespace kfab::readiness
