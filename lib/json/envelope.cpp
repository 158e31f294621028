#include "json/envelope.hpp"

#include "json/diagnostic.hpp"
#include "json/shorthand.hpp"

namespace kfab::json {

Object to_json(const Envelope& e) {
  Object out;
  out.set("schema", e.schema);
  out.set("kfab", Object{{"version", e.kfab_version}});
  out.set("run", Object{{"id", e.run_id}, {"started_at", to_rfc3339(e.started_at)}, {"finished_at", to_rfc3339(e.finished_at)},
                        {"argv", array_of(e.argv)}});
  out.set("site", Object{{"name", text_or_null(e.site_name)}, {"manifest_sha256", text_or_null(e.manifest_sha256)}});
  out.set("outcome", to_string(e.outcome)).set("exit_code", e.exit_code);
  out.set("data", e.data).set("diagnostics", to_json(e.diagnostics));
  return out;
}

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

void NdjsonSink::finish(const Envelope& envelope) {
  Object line{{"type", "result"}};
  const Object document = to_json(envelope);
  for (const auto& [key, value] : document.members()) line.set(key, value);
  out_ << dump(Value(std::move(line))) << '\n' << std::flush;
}

}  // namespace kfab::json
