#pragma once

#include <string>

#include "readiness/readiness.hpp"
#include "report/html_writer.hpp"

// The drawings of the page, as inline SVG. Each is drawn from the struct that the JSON is written from; figures stand
// beside the bars as text and in data-* attributes, and every drawing has a label that says in words what it shows.
namespace kfab::report {

// The patterns that the drawings share; once per page.
void draw_patterns(HtmlWriter&);

// From today to the last due date, a mark per tranche. Nothing when no date is known.
void draw_timeline(HtmlWriter&, const readiness::Readiness&);

// A bar per target: accepted, in nodes that failed, what is needed, what is still to come.
void draw_progress(HtmlWriter&, const readiness::Readiness&);

// Envelope, nameplate, what is needed at the meter, measured. Nothing when there is neither envelope nor load.
void draw_power(HtmlWriter&, const readiness::TrancheStatus&);

// A square per node, in the order of declaration, by rack where racks are declared. Colour, pattern and, while there
// is room, a letter tell the state; the node's name and reason are its tooltip.
void draw_nodes(HtmlWriter&, const readiness::TrancheStatus&);

}  // namespace kfab::report
