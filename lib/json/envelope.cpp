#include "json/envelope.hpp"

#include "json/diagnostic.hpp"
#include "json/shorthand.hpp"

namespace kfab::json {
namespace {

// Adds the envelope's members, all but the rows.
Object with_members_of(Envelope e, Object out) {
  out.set("schema", e.schema);
  out.set("kfab", Object{{"version", e.kfab_version}});
  out.set("run", Object{{"id", e.run_id}, {"started_at", to_rfc3339(e.started_at)}, {"finished_at", to_rfc3339(e.finished_at)},
                        {"argv", array_of(e.argv)}});
  out.set("site", Object{{"name", text_or_null(e.site_name)}, {"manifest_sha256", text_or_null(e.manifest_sha256)}});
  out.set("outcome", to_string(e.outcome)).set("exit_code", e.exit_code);
  out.set("data", std::move(e.data)).set("diagnostics", to_json(e.diagnostics));
  return out;
}

// `head` stands before the envelope's own members.
void write_document(std::ostream& out, Object head, Envelope envelope, bool pretty) {
  const std::optional<Rows> rows = std::move(envelope.rows);
  const Value document(with_members_of(std::move(envelope), std::move(head)));
  StreamedArray streamed;
  if (rows) {
    streamed.in = &document["data"][rows->member];
    streamed.each = [&rows](const auto& element) { rows->each([&element](const Value& row) { element(row); }); };
  }
  write(out, document, pretty, streamed);
  out << '\n';
}

}  // namespace

NdjsonSink::NdjsonSink(std::ostream& out, const Clock& clock, std::string_view kfab_version, std::string_view command,
                       std::string_view run_id)
    : out_(out), clock_(clock) {
  Object hello{{"type", "hello"}, {"schema", "kfab.events/1.0"}, {"at", to_rfc3339(clock.now())},
               {"kfab", Object{{"version", kfab_version}}}, {"command", command}, {"run_id", run_id}};
  out_ << dump(Value(std::move(hello))) << '\n' << std::flush;
}

void NdjsonSink::emit(const Event& event) {
  if (event.type == "tick") return;   // only time has passed
  Object line{{"type", event.type},
              {"at", to_rfc3339(clock_.now())},
              {"node", text_or_null(event.node)},
              {"step", text_or_null(event.step)},
              {"message", text_or_null(event.message)},
              {"outcome", text_or_null(event.outcome)},
              {"done", event.done},
              {"total", event.total}};
  out_ << dump(Value(std::move(line))) << '\n' << std::flush;
}

void NdjsonSink::finish(Envelope envelope) {
  write_document(out_, {{"type", "result"}}, std::move(envelope), false);
  out_ << std::flush;
}

void write(std::ostream& out, Envelope envelope) { write_document(out, {}, std::move(envelope), true); }

}  // namespace kfab::json
