#include "report/charts.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/words.hpp"

namespace kfab::report {
namespace {

using readiness::count_text;
using readiness::power_text;
using readiness::Readiness;
using readiness::TrancheStatus;

constexpr double width = 960;

// One SVG. `label` is what it says to those who cannot see it.
class Drawing {
 public:
  Drawing(HtmlWriter& html, double height, std::string_view label, std::string_view css = {}) : html_(html) {
    html_.open("figure");
    html_.open("svg", {{"viewBox", fmt::format("0 0 {} {}", number(width), number(height))}, {"role", "img"}, {"aria-label", label}, {"class", css}});
    html_.newline();
  }
  ~Drawing() { html_.close().close().newline(); }
  Drawing(const Drawing&) = delete;
  Drawing& operator=(const Drawing&) = delete;

  void rect(double x, double y, double w, double h, std::string_view css, double radius = 0) {
    if (w <= 0) return;
    html_.empty("rect", {{"x", x}, {"y", y}, {"width", w}, {"height", h}, {"rx", radius}, {"class", css}});
  }
  void line(double x1, double y1, double x2, double y2, std::string_view css) {
    html_.empty("line", {{"x1", x1}, {"y1", y1}, {"x2", x2}, {"y2", y2}, {"class", css}});
  }
  void text(double x, double y, std::string_view words, std::string_view css = {}) {
    html_.element("text", {{"x", x}, {"y", y}, {"class", css}}, words);
  }
  HtmlWriter& html() { return html_; }

 private:
  HtmlWriter& html_;
};

std::string full_name(const TrancheStatus& tranche, bool with_site) {
  return with_site && !tranche.site.empty() ? tranche.site + "/" + tranche.name : tranche.name;
}

// About as wide as 13 px text of the system's font is.
double text_width(std::string_view words) { return static_cast<double>(display_width(words)) * 7.0; }

std::string days_text(const readiness::Forecast& forecast) {
  if (!forecast.days_to_due) return {};
  const int days = *forecast.days_to_due;
  if (days == 0) return "today";
  return days > 0 ? fmt::format("in {}", count_text(days, "day")) : fmt::format("{} ago", count_text(-days, "day"));
}

struct StateLook { NodeState state; std::string_view css, letter, word; };
// In the order of the legend.
constexpr std::array looks{
    StateLook{NodeState::accepted, "a", "A", "accepted"},         StateLook{NodeState::validated, "a", "V", "validated"},
    StateLook{NodeState::provisioned, "p", "P", "provisioned"},   StateLook{NodeState::inventoried, "i", "I", "inventoried"},
    StateLook{NodeState::reachable, "r", "R", "reachable"},       StateLook{NodeState::declared, "d", "", "declared only"},
    StateLook{NodeState::failed, "f", "F", "failed"},             StateLook{NodeState::revoked, "x", "X", "revoked or stale"},
    StateLook{NodeState::quarantined, "x", "Q", "quarantined"},   StateLook{NodeState::in_rma, "x", "M", "in RMA"},
};
const StateLook& look_of(NodeState state) {
  return *std::find_if(looks.begin(), looks.end() - 1, [&](const auto& look) { return look.state == state; });
}

}  // namespace

void draw_patterns(HtmlWriter& html) {
  html.open("svg", {{"width", "0"}, {"height", "0"}, {"style", "position:absolute"}, {"aria-hidden", "true"}}).open("defs");
  html.open("pattern", {{"id", "hatch"}, {"width", "5"}, {"height", "5"}, {"patternUnits", "userSpaceOnUse"}, {"patternTransform", "rotate(45)"}});
  html.empty("rect", {{"width", "5"}, {"height", "5"}, {"class", "hb"}}).empty("line", {{"x1", "0"}, {"y1", "0"}, {"x2", "0"}, {"y2", "5"}, {"class", "hl"}}).close();
  html.open("pattern", {{"id", "dots"}, {"width", "4"}, {"height", "4"}, {"patternUnits", "userSpaceOnUse"}});
  html.empty("rect", {{"width", "4"}, {"height", "4"}, {"class", "db"}}).empty("circle", {{"cx", "2"}, {"cy", "2"}, {"r", "1"}, {"class", "dd"}}).close();
  html.close().close().newline();
}

void draw_timeline(HtmlWriter& html, const Readiness& r) {
  const Date today = date_of(r.now);
  struct Mark { double x; std::string name, date, css; int lane; };
  int earliest = 0, latest = 0;
  for (const auto& tranche : r.tranches)
    if (tranche.forecast.days_to_due) {
      earliest = std::min(earliest, *tranche.forecast.days_to_due);
      latest = std::max(latest, *tranche.forecast.days_to_due);
    }
  if (earliest == 0 && latest == 0) return;
  const double from = earliest, span = std::max(30.0, latest - from) * 1.04;
  const double left = 6, right = width - 6;
  const auto place = [&](double day) { return left + (day - from) / span * (right - left); };

  std::vector<Mark> marks;
  std::vector<double> lane_end;
  std::vector<const TrancheStatus*> order;
  for (const auto& tranche : r.tranches)
    if (tranche.forecast.days_to_due) order.push_back(&tranche);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return *a->forecast.days_to_due < *b->forecast.days_to_due; });
  for (const auto* tranche : order) {
    Mark mark{place(*tranche->forecast.days_to_due), full_name(*tranche, r.kind == "program"), tranche->due,
              tranche->ready ? "met" : *tranche->forecast.days_to_due < 0 ? "late" : "due", 0};
    const double half = std::max(text_width(mark.name), text_width(mark.date)) / 2 + 8;
    const double begin = std::clamp(mark.x - half, left, right - 2 * half);
    while (mark.lane < static_cast<int>(lane_end.size()) && lane_end[static_cast<std::size_t>(mark.lane)] > begin) ++mark.lane;
    if (mark.lane == static_cast<int>(lane_end.size())) lane_end.push_back(0);
    lane_end[static_cast<std::size_t>(mark.lane)] = begin + 2 * half;
    marks.push_back(std::move(mark));
  }
  constexpr double axis_y = 40, lane_height = 38;
  Drawing draw(html, axis_y + 30 + lane_height * static_cast<double>(lane_end.size()),
               fmt::format("Due dates of {} from {}", count_text(static_cast<std::int64_t>(marks.size()), "tranche"), to_string(today)));
  draw.line(left, axis_y, right, axis_y, "axis");
  // The first of January of every year on the way.
  const int year = static_cast<int>(today.value.year());
  for (int y = year - 30; y <= year + 40; ++y) {
    const int day = days_between(today, Date{std::chrono::year(y) / 1 / 1, false});
    if (day <= from || day >= from + span) continue;
    draw.line(place(day), axis_y - 5, place(day), axis_y + 5, "axis");
    draw.text(place(day) + 5, axis_y - 8, std::to_string(y), "m s num");
  }
  for (const auto& mark : marks) {
    const double y = axis_y + 30 + mark.lane * lane_height;
    const double half = std::max(text_width(mark.name), text_width(mark.date)) / 2;
    const double x = std::clamp(mark.x, left + half, right - half);
    draw.line(mark.x, axis_y, mark.x, y - 12, "axis");
    draw.html().empty("path", {{"d", fmt::format("M{} {}l6 6l-6 6l-6 -6z", number(mark.x), number(axis_y - 6))}, {"class", mark.css}});
    draw.text(x, y, mark.name, "c b");
    draw.text(x, y + 15, mark.date, "c m s num");
  }
  draw.html().empty("circle", {{"cx", place(0)}, {"cy", axis_y}, {"r", 4.0}, {"class", "now"}});
  draw.text(std::max(left, place(0) - 4), axis_y - 24, fmt::format("today, {}", to_string(today)), "s");
}

void draw_progress(HtmlWriter& html, const Readiness& r) {
  struct Row { const TrancheStatus* tranche; std::string what; std::int64_t whole, accepted, failed, required; std::string unit; bool known; };
  std::vector<Row> rows;
  for (const auto& tranche : r.tranches) {
    bool any = false;
    for (const auto& target : tranche.targets) {
      const auto whole = target.in_nodes ? target.nodes : target.accelerators;
      if (!whole || !target.required) continue;
      any = true;
      std::int64_t failed = 0;
      for (const auto& node : tranche.nodes)
        if (node.state == NodeState::failed && (target.profile.empty() || node.profile == target.profile)) failed += target.in_nodes ? 1 : node.accelerators;
      rows.push_back({&tranche, target.profile, *whole, target.accepted, failed, *target.required, target.in_nodes ? "node" : "accelerator", true});
    }
    if (!any && tranche.counts.declared > 0)
      rows.push_back({&tranche, "no target; of the declared nodes", tranche.counts.declared, tranche.counts.accepted, tranche.counts.failed, 0, "node", true});
    else if (!any)
      rows.push_back({&tranche, "no target is stated", 0, 0, 0, 0, "", false});
  }
  if (rows.empty()) return;
  constexpr double row_height = 50, left = 220, bar = 500, bar_height = 16;
  Drawing draw(html, row_height * static_cast<double>(rows.size()) + 6, "Accepted against target, per tranche");
  double y = 4;
  for (const auto& row : rows) {
    const auto& tranche = *row.tranche;
    draw.text(0, y + 14, one_line(full_name(tranche, r.kind == "program"), 28), "b");
    draw.text(0, y + 31, one_line(row.what, 34), "m s");
    const double top = y + 6;
    draw.html().open("g", {{"data-tranche", full_name(tranche, r.kind == "program")}, {"data-accepted", static_cast<long long>(row.accepted)},
                           {"data-target", static_cast<long long>(row.whole)}});
    draw.html().element("title", fmt::format("{} of {} {}s accepted", with_thousands(row.accepted), with_thousands(row.whole), row.unit));
    draw.rect(left, top, bar, bar_height, "track", 3);
    if (row.known && row.whole > 0) {
      const double unit = bar / static_cast<double>(std::max(row.whole, row.accepted + row.failed));
      const double done = static_cast<double>(row.accepted) * unit;
      // What is there but too small to see is drawn one pixel wide; nothing is drawn as nothing.
      draw.rect(left, top, row.accepted > 0 ? std::max(done, 1.0) : 0, bar_height, "done", 3);
      draw.rect(left + done, top, row.failed > 0 ? std::max(static_cast<double>(row.failed) * unit, 2.0) : 0, bar_height, "over", 3);
      const double needed = left + static_cast<double>(row.required > 0 ? row.required : row.whole) * unit;
      std::string note;
      if (row.required > 0) {
        draw.line(needed, top - 4, needed, top + bar_height + 4, "mark");
        note = fmt::format("{} needed", with_thousands(row.required));
      }
      if (row.failed > 0) note += fmt::format("{}{} in failed nodes", note.empty() ? "" : " · ", with_thousands(row.failed));
      if (!note.empty()) draw.text(needed, top + bar_height + 17, note, "e m s num");
    }
    draw.html().close();
    const double right = width;
    if (row.known)
      draw.text(right, y + 14, fmt::format("{} of {} {}s", with_thousands(row.accepted), with_thousands(row.whole), row.unit), "e num");
    else
      draw.text(right, y + 14, "cannot forecast: no target", "e m");
    const std::string due = tranche.due.empty() ? (tranche.due_unknown ? "due date unknown" : "no due date") : fmt::format("due {}, {}", tranche.due, days_text(tranche.forecast));
    draw.text(right, y + 31, due, "e m s num");
    y += row_height;
  }
}

void draw_power(HtmlWriter& html, const TrancheStatus& tranche) {
  const auto& p = tranche.power;
  struct Row { std::string_view id, name; std::optional<double> kw; std::string_view css; };
  const bool at_meter = p.envelope_at == "facility";
  const std::array all{
      Row{"envelope_kw", at_meter ? "envelope, at the meter" : "envelope, at the racks", p.envelope_kw, "env"},
      Row{"it_envelope_kw", "of it for IT load", at_meter ? p.it_envelope_kw : std::nullopt, "env"},
      Row{"nameplate_kw", "nodes at nameplate", p.nameplate_kw, "load"},
      Row{"needed_it_kw", "with other IT load", p.overhead_fraction ? p.needed_it_kw : std::nullopt, "load"},
      Row{"facility_needed_kw", "needed at the meter", at_meter ? p.facility_needed_kw : std::nullopt, "load"},
      Row{"measured_kw", "measured", p.measured_kw, "done"},
      Row{"projected_kw", "measured, for all nodes", p.projected_kw, "done"},
      Row{"measured_accelerators_kw", "accelerators, measured", p.measured_accelerators_kw, "done"},
  };
  std::vector<Row> rows;
  double most = 0;
  for (const auto& row : all)
    if (row.kw) {
      rows.push_back(row);
      most = std::max(most, *row.kw);
    }
  if (rows.empty() || most <= 0) return;
  constexpr double row_height = 27, left = 200, bar = 640;
  std::string label = "Power of tranche " + tranche.name + ":";
  for (const auto& row : rows) label += fmt::format(" {} {},", row.name, power_text(*row.kw));
  label.pop_back();
  Drawing draw(html, row_height * static_cast<double>(rows.size()) + 4, label);
  double y = 2;
  for (const auto& row : rows) {
    const double length = *row.kw / most * bar;
    // IT load is held against what is there for IT, the rest against the meter.
    const bool at_the_meter = row.id == "facility_needed_kw";
    const auto limit = at_the_meter ? p.envelope_kw : (p.it_envelope_kw ? p.it_envelope_kw : p.envelope_kw);
    draw.text(0, y + 15, row.name, row.css == "env" ? "b" : "");
    draw.html().open("g", {{"data-power", row.id}, {"data-kw", json::dump(json::Value(*row.kw))}});
    if (row.css != "env" && limit && *row.kw > *limit) {
      const double inside = *limit / most * bar;
      draw.rect(left, y + 3, inside, 15, row.css);
      draw.rect(left + inside, y + 3, std::max(length - inside, 1.5), 15, "over");
      draw.line(left + inside, y, left + inside, y + 21, "mark");
    } else {
      draw.rect(left, y + 3, std::max(length, 1.0), 15, row.css);
    }
    draw.html().close();
    draw.text(left + length + 8, y + 15, power_text(*row.kw), "num");
    y += row_height;
  }
}

void draw_nodes(HtmlWriter& html, const TrancheStatus& tranche) {
  const auto& nodes = tranche.nodes;
  if (nodes.empty()) return;
  // Racks as columns while they fit, in the order in which they are declared; else one field in order of declaration.
  struct Block { std::string name; std::vector<const readiness::NodeStatus*> nodes; };
  std::vector<Block> blocks;
  for (const auto& node : nodes) {
    const std::string& name = node.rack.empty() ? node.group : node.rack;
    if (blocks.empty() || blocks.back().name != name) blocks.push_back({name, {}});
    blocks.back().nodes.push_back(&node);
  }
  const bool racks = std::any_of(nodes.begin(), nodes.end(), [](const auto& node) { return !node.rack.empty(); });
  const auto count = nodes.size();
  const double cell = count <= 64 ? 26 : count <= 512 ? 15 : count <= 4096 ? 9 : count <= 12000 ? 6 : 4;
  const double gap = cell >= 15 ? 3 : 1;
  const bool letters = cell >= 15;
  const bool named = racks && cell >= 15;
  const double between = cell >= 15 ? 16 : cell >= 9 ? 4 : 2;

  struct Placed { const Block* block; double x, y; int columns, rows; };
  std::vector<Placed> placed;
  double x = 0, y = named ? 16 : 2, line_height = 0;
  std::size_t tallest = 1;
  for (const auto& block : blocks) tallest = std::max(tallest, block.nodes.size());
  const int most_rows = static_cast<int>(std::min<std::size_t>(tallest, racks ? 16 : 8));
  for (const auto& block : blocks) {
    const int size = static_cast<int>(block.nodes.size());
    int columns = (size + most_rows - 1) / most_rows;
    const int widest = std::max(1, static_cast<int>((width + gap) / (cell + gap)));
    columns = std::clamp(columns, 1, widest);
    if (!racks) columns = std::min(size, widest);
    const int rows = (size + columns - 1) / columns;
    const double need = std::max(columns * (cell + gap) - gap, named ? text_width(one_line(block.name, 10)) : 0.0);
    if (x > 0 && x + need > width) {
      x = 0;
      y += line_height + between + (named ? 16 : 0);
      line_height = 0;
    }
    placed.push_back({&block, x, y, columns, rows});
    x += need + between;
    line_height = std::max(line_height, rows * (cell + gap) - gap);
  }

  Drawing draw(html, y + line_height + 2, fmt::format("{}: {} accepted, {} failed, {} without a verdict", count_text(tranche.counts.declared, "node"),
                                                      with_thousands(tranche.counts.accepted), with_thousands(tranche.counts.failed), with_thousands(tranche.counts.not_judged)),
               cell >= 9 ? "map" : "map tiny");
  // Size once per drawing: with thousands of nodes the attributes would be most of the page.
  const std::string size = number(cell);
  for (const auto& spot : placed) {
    if (named && !spot.block->name.empty()) draw.text(spot.x, spot.y - 5, one_line(spot.block->name, 10), "m");
    int i = 0;
    for (const auto* node : spot.block->nodes) {
      const double nx = spot.x + (i % spot.columns) * (cell + gap), ny = spot.y + (i / spot.columns) * (cell + gap);
      const auto& look = look_of(node->state);
      std::string tip = node->name + ": " + std::string(look.word);
      if (!node->reason.empty() && (letters || node->state == NodeState::failed || count <= 4096)) tip += " - " + one_line(node->reason, 120);
      auto& out = draw.html();
      out.open("rect", {{"x", nx}, {"y", ny}, {"width", std::string_view(size)}, {"height", std::string_view(size)}, {"class", look.css}});
      out.element("title", tip).close();
      if (letters && !look.letter.empty())
        draw.text(nx + cell / 2, ny + cell / 2 + 4, look.letter, look.css == "a" ? "c ga" : "c g");
      ++i;
    }
    draw.html().newline();
  }
}

}  // namespace kfab::report
