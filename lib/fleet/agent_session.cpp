#include "fleet/agent_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "agent/protocol.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/ssh.hpp"
#include "base/ids.hpp"
#include "base/text.hpp"
#include "fleet/bootstrap.hpp"
#include "fleet/framing.hpp"
#include "fleet/rack_relays.hpp"
#include "fleet/supervisor.hpp"
#include "fleet/turns.hpp"
#include "fleet/window.hpp"

namespace kfab::fleet {
namespace {

using std::chrono::seconds;
using Time = std::chrono::steady_clock::time_point;

constexpr seconds bootstrap_limit{300};   // from the start of the shell until the agent is there, its transfer included
constexpr seconds deadline_grace{30};     // the agent ends itself at its deadline; what has not by then is cut
constexpr seconds goodbye_limit{10};      // from "done" to the end of the process
constexpr std::size_t max_noise_bytes = 64 * 1024;   // what a login shell may print before the bootstrap speaks
constexpr std::size_t kept_stderr_bytes = 4096;
// What one agent may say in all, but for its progress, which nobody keeps: somewhat more than a job's record may hold. Without a
// limit one node could fill this machine's memory.
constexpr std::size_t most_said_bytes = std::size_t{80} << 20;

// The end of a text, for a message.
std::string last_words(const std::string& text) {
  const auto lines = split_lines(text);
  std::string words;
  for (std::size_t i = lines.size() > 3 ? lines.size() - 3 : 0; i < lines.size(); ++i) {
    if (!words.empty()) words += "; ";
    words += one_line(lines[i]);
  }
  return one_line(words, 300);
}

// One agent session, from the bootstrap's first line to the end of the process.
class AgentJob final : public Job, public AgentSeeker {
 public:
  // `relays` may be null: then the agent is always sent from here.
  AgentJob(std::size_t index, const ssh::Target& target, const AgentImage& image, AgentTask task, AgentListener& listener,
           const FleetOptions& options, const Clock& clock, EventSink& sink, AgentEnd& end, RackRelays* relays)
      : index_(index), target_(target), image_(image), task_(std::move(task)), listener_(listener), options_(options), clock_(clock),
        sink_(&sink), end_(&end), relays_(relays) {}

  void start(ssh::Transport& transport, std::shared_ptr<Job> self) override {
    emit({.type = "node_started", .node = target_.node, .step = "connect"});
    ssh::Command command{bootstrap_line(image_, become(), nonce_), options_.deadlines, std::numeric_limits<std::size_t>::max(),
                         std::numeric_limits<std::size_t>::max()};
    command.deadlines.idle = command.deadlines.total = std::chrono::milliseconds(0);   // due_ sees to that
    command.keep_connection = options_.keep_connections;
    transport.launch(target_, command, std::move(self));
  }
  bool over() const override { return state_ == State::over; }
  bool ok() const override { return ok_; }
  const std::string& node() const override { return target_.node; }
  std::string_view doing() const override { return step_; }
  void wind_down() override {
    stopped_ = true;
    if (state_ == State::working) send(json::Object{{"type", "cancel"}});
    else if (state_ != State::done) cut();
  }
  void cut() override {
    stopped_ = true;
    if (peer_ != nullptr) peer_->abort();
  }
  void detach() override {
    end_ = nullptr;
    relays_ = nullptr;
  }
  // Its node lacks the agent and was told to wait: it may ask again.
  void ask_for_agent() override;

  void tick(Time now, bool behind) override {
    look_after_relays(now);
    if (peer_ == nullptr) return;
    if (due_ && now >= *due_ && !waits_for_turn_ && !behind) {
      overdue_ = true;
      peer_->abort();
    } else if (state_ == State::working && now - last_heartbeat_ >= heartbeat_every) {
      last_heartbeat_ = now;
      send(json::Object{{"type", "heartbeat"}});
    }
  }

  void on_launch(ssh::CommandPeer& peer) override {
    peer_ = &peer;
    if (stopped_ || end_ == nullptr) peer.abort();
  }
  void on_phase(ssh::Phase phase) override {
    step_ = to_string(phase);
    Job::on_phase(phase);
  }
  void on_start(ssh::CommandPeer&) override {
    if (end_ == nullptr) return;
    state_ = State::bootstrap;
    step_ = "agent";
    due_ = clock_.steady_now() + bootstrap_limit;
  }
  void on_stdout(std::string_view bytes) override {
    if (end_ == nullptr || broken_) return;
    const bool whole = framer_.feed(bytes, [this](std::string_view line) {
      on_line(line);
      return !broken_;
    });
    if (!whole) protocol_error(fmt::format("a line of more than {} MiB", LineFramer::default_max_line >> 20));
  }
  void on_stderr(std::string_view bytes) override {
    if (end_ == nullptr) return;
    if (become() != Become::sudo_password || state_ == State::working || state_ == State::done) return keep_stderr(bytes);
    voice_.feed(bytes, [this](std::string_view own) { keep_stderr(own); }, [this](const SupervisorVoice::Word& word) { on_word(word); });
  }
  void on_end(const ssh::CommandEnd& end) override {
    peer_ = nullptr;
    left();
    if (end_ != nullptr && options_.turns != nullptr) options_.turns->gone(index_);
    if (end_ != nullptr) conclude(end);
    state_ = State::over;
  }

 private:
  enum class State { connecting, bootstrap, starting, working, done, over };

  void emit(const Event& event) { sink_->emit(event); }
  void send(json::Object message) {
    if (peer_ != nullptr) peer_->write(json::dump(std::move(message)) + "\n");
  }

  Become become() const {
    if (!task_.sudo) return Become::none;
    return task_.password != nullptr ? Become::sudo_password : Become::sudo;
  }
  void keep_stderr(std::string_view bytes) {
    stderr_ += bytes;
    if (stderr_.size() > kept_stderr_bytes) stderr_.erase(0, stderr_.size() - kept_stderr_bytes);
  }
  // sudo asks. The password is given once: several wrong ones lock an account.
  void on_word(const SupervisorVoice::Word& word) {
    if (word.word != "password" || peer_ == nullptr) return;
    if (!asked_) {
      asked_ = true;
      peer_->write_view(task_.password->view());
      return;
    }
    broken_ = error(code::sudo_wrong_password, one_line(target_.node) + ": sudo did not accept the password");
    peer_->abort();
  }

  void protocol_error(const std::string& what) {
    if (broken_) return;
    broken_ = error(code::agent_protocol_error, one_line(target_.node) + ": " + what);
    if (peer_ != nullptr) peer_->abort();
  }

  void on_line(std::string_view line) {
    if (trim(line).empty() || state_ == State::done) return;
    auto message = json::parse(line, LineFramer::default_max_line);
    const bool typed = message && message->is_object() && (*message)["type"].is_string();
    if (state_ == State::bootstrap) {
      if (typed && *(*message)["type"].as_string() == "bootstrap") on_bootstrap(*message);
      else on_noise(line);
      return;
    }
    if (!typed) {
      protocol_error(fmt::format("not a message of the agent: {}", one_line(line, 120)));
      return;
    }
    if (*(*message)["type"].as_string() != "progress" && (said_bytes_ += line.size()) > most_said_bytes) {
      protocol_error(fmt::format("more than {} MiB of messages", most_said_bytes >> 20));
      return;
    }
    on_message(*(*message)["type"].as_string(), *message);
  }

  // Start-up files of shells print things; that is no fault until there is too much of it.
  void on_noise(std::string_view line) {
    noise_bytes_ += line.size();
    noise_ = one_line(line, 200);
    if (noise_bytes_ > max_noise_bytes) protocol_error("the login shell prints without end: " + noise_);
  }

  void on_bootstrap(const json::Value& message) {
    const std::string state = message.string_or("state");
    if (state == "need" && !end_->image_sent) {
      wanted_ = &image_for(message.string_or("machine"));
      if (relayed_) relay_failed();
      ask_for_agent();
    } else if (state == "ready") {
      has_agent();
      state_ = State::starting;
      // What sudo would take for a password is sent only once the agent itself has spoken.
      if (become() != Become::sudo_password) send_request();
    } else {
      bootstrap_error_ = bootstrap_error(state, message.string_or("detail"), target_.node);
      peer_->close_input();
    }
  }

  void send_image() {
    end_->image_sent = true;
    emit({.type = "progress", .node = target_.node, .step = "agent", .message = "sending the agent"});
    peer_->write("direct\n");
    peer_->write_view(wanted_->gz);
  }
  // A node that names a machine which was not offered gets what the others get, and finds that its checksum is not right.
  const AgentImage& image_for(const std::string& machine) const {
    const auto other = std::find_if(image_.others.begin(), image_.others.end(), [&](const AgentImage& one) { return one.machine == machine; });
    return other == image_.others.end() ? image_ : *other;
  }
  void look_after_relays(Time now);
  void relay_failed();
  void has_agent();
  void left();

  void send_request() {
    json::Object request{{"type", "request"}, {"protocol", agent::protocol_version}};
    request.set("deadline_s", static_cast<long>(task_.deadline.count()));
    request.set("heartbeat_s", agent::default_heartbeat_s);
    if (const json::Object* own = task_.request.as_object()) {
      for (const auto& [key, value] : own->members()) {
        if (request.find(key) == nullptr) request.set(key, value);
      }
    }
    std::string line = json::dump(request) + "\n";
    // A view, because a request may be larger than what a queue of copies takes. It lives until the command is over.
    request_line_ = std::move(line);
    peer_->write_view(request_line_);
    task_.request = {};
    const Time now = clock_.steady_now();
    due_ = now + task_.deadline + deadline_grace;
    last_heartbeat_ = now;
  }

  // Of what only so many nodes may do at once. While it waits its time stands still, here as on the node.
  void on_turn(const json::Value& message) {
    const std::string name = message.string_or("name");
    const bool asks = message.string_or("state") == "wanted";
    if (options_.turns == nullptr) {
      if (asks) give_turn(name);
    } else if (!asks) {
      options_.turns->over(index_, name);
    } else if (!waits_for_turn_) {
      waits_for_turn_ = clock_.steady_now();
      options_.turns->ask(index_, name, [this, name] { give_turn(name); });
      if (waits_for_turn_)
        emit({.type = "progress", .node = target_.node, .step = step_,
              .message = fmt::format("waiting for its turn: {}, {} at a time", one_line(name, 80), options_.turns->limit(name))});
    }
  }
  void give_turn(const std::string& name) {
    if (waits_for_turn_ && due_) *due_ += clock_.steady_now() - *waits_for_turn_;
    waits_for_turn_.reset();
    const double now = std::chrono::duration<double>(clock_.now().time_since_epoch()).count();
    send(json::Object{{"type", "turn"}, {"name", name}, {"now", now}});
  }

  void on_message(const std::string& type, const json::Value& message) {
    if (type == "hello") {
      if (message.int_or("protocol", -1) != agent::protocol_version) {
        broken_ = error(code::agent_protocol_unknown, fmt::format("{}: the agent speaks protocol {}, kfab {}", one_line(target_.node),
                                                                  message.int_or("protocol", -1), agent::protocol_version));
        peer_->abort();
        return;
      }
      end_->hello = message;
      if (become() == Become::sudo_password) send_request();
      state_ = State::working;
      step_ = "task";
      if (stopped_) send(json::Object{{"type", "cancel"}});
      return;
    }
    if (state_ != State::working) {
      protocol_error("the agent spoke before its hello");
      return;
    }
    if (type == "done") {
      end_->done = message;
      state_ = State::done;
      due_ = clock_.steady_now() + goodbye_limit;
      peer_->close_input();
      return;
    }
    if (type == "turn") return on_turn(message);
    if (type == "progress") {
      if (auto step = one_line(message.string_or("step"), 80); !step.empty()) step_ = std::move(step);
      emit({.type = "progress", .node = target_.node, .step = step_,
            .message = one_line(message.string_or("message")), .done = message["done"].as_double(), .total = message["total"].as_double()});
    }
    listener_.on_message(index_, message);
  }

  void conclude(const ssh::CommandEnd& end) {
    end_->duration_s = end.duration_s;
    end_->phase = end.phase;
    end_->outcome = NodeOutcome::failed;
    end_->why.reset();
    if (state_ == State::done) conclude_done();
    else if (broken_) end_->why = std::move(broken_);
    else if (overdue_) conclude_overdue();
    else if (stopped_) conclude_stopped();
    else if (bootstrap_error_) end_->why = std::move(bootstrap_error_);
    else if (end.outcome != NodeOutcome::ok && end.outcome != NodeOutcome::failed) {
      end_->outcome = end.outcome;
      end_->why = end.why;
    } else {
      end_->why = ended_without_done(end);
    }
    if (end_->why) end_->why->node = target_.node;
    emit({.type = "node_done", .node = target_.node, .message = end_->why ? end_->why->message : "",
          .outcome = std::string(to_string(end_->outcome))});
    ok_ = listener_.on_end(index_, *end_);
  }

  void conclude_done() {
    end_->phase = ssh::Phase::close;
    if (end_->done.bool_or("ok", false)) {
      end_->outcome = NodeOutcome::ok;
      return;
    }
    const json::Value& said = end_->done["error"];
    const auto code = parse_code(said.string_or("code"));
    if (code == code::agent_deadline) end_->outcome = NodeOutcome::timed_out;
    if (code == code::agent_cancelled && stopped_) end_->outcome = NodeOutcome::unreachable;   // no answer, as asked
    end_->why = error(code.value_or(code::agent_task_failed),
                      one_line(target_.node) + ": " + one_line(said.string_or("message", "the agent does not say why"), 400));
  }
  void conclude_overdue() {
    end_->outcome = NodeOutcome::timed_out;
    end_->why = state_ == State::bootstrap || state_ == State::connecting
                    ? error(code::agent_not_started, fmt::format("{}: no agent after {} s{}", one_line(target_.node), bootstrap_limit.count(), spoken()))
                    : error(code::agent_deadline, fmt::format("{}: the agent was not done {} s after its deadline of {} s", one_line(target_.node),
                                                              deadline_grace.count(), task_.deadline.count()));
  }
  void conclude_stopped() {
    end_->outcome = NodeOutcome::unreachable;
    end_->why = cancelled(target_.node, true);
  }

  Diagnostic ended_without_done(const ssh::CommandEnd& end) const {
    const std::string who = one_line(target_.node);
    const std::string how = end.signal.empty() ? fmt::format("exit status {}", end.exit_status.value_or(-1)) : "signal " + one_line(end.signal, 32);
    if (state_ == State::bootstrap || state_ == State::connecting) {
      return error(code::agent_not_started, fmt::format("{}: the login shell ended with {}{}", who, how, spoken()));
    }
    if (state_ == State::starting) {
      constexpr int cannot_execute = 126;
      if (end.exit_status == cannot_execute) return error(code::agent_cannot_run, fmt::format("{}: the agent was not executed{}", who, spoken()));
      // sudo puts itself in the agent's place only once it agrees, so whatever ends before the agent's hello is sudo.
      if (task_.sudo && end.exit_status == 1) return error(code::agent_sudo_refused, fmt::format("{}: sudo refused{}", who, spoken()));
    }
    return error(code::agent_ended_early, fmt::format("{}: the agent ended with {} before it was done{}", who, how, spoken()));
  }

  // ": what it said last", if it said anything.
  std::string spoken() const {
    std::string words = last_words(stderr_);
    if (words.empty()) words = noise_;
    return words.empty() ? "" : ": " + words;
  }

  const std::size_t index_;
  const ssh::Target target_;
  const AgentImage& image_;
  const AgentImage* wanted_ = &image_;   // the one of those that the node asked for
  AgentTask task_;
  AgentListener& listener_;
  const FleetOptions& options_;
  const Clock& clock_;
  EventSink* sink_;
  AgentEnd* end_;   // null once the run is gone; then nothing above is touched
  RackRelays* relays_;
  ssh::CommandPeer* peer_ = nullptr;
  State state_ = State::connecting;
  LineFramer framer_;
  std::string request_line_, stderr_, noise_;
  std::string step_ = "connect";
  std::size_t noise_bytes_ = 0, said_bytes_ = 0;
  std::optional<Time> due_;
  Time last_heartbeat_{};
  std::optional<Diagnostic> broken_, bootstrap_error_;
  bool relayed_ = false;                   // it was told where in its rack the agent is
  std::optional<Time> waits_since_{};      // for its rack's relay
  std::optional<Time> waits_for_turn_{};   // since when
  std::string nonce_ = random_hex(8);   // of sudo's prompt
  SupervisorVoice voice_{nonce_};
  bool stopped_ = false, overdue_ = false, asked_ = false, ok_ = false;
};

void AgentJob::ask_for_agent() {
  if (peer_ == nullptr || end_ == nullptr || state_ != State::bootstrap) return;
  waits_since_.reset();
  const auto way = relays_ == nullptr ? RelayPlan::Way::direct : relays_->ask(index_, wanted_->machine);
  if (way == RelayPlan::Way::wait) {
    waits_since_ = clock_.steady_now();
    emit({.type = "progress", .node = target_.node, .step = "agent", .message = "waiting for the agent of its rack"});
  } else if (way == RelayPlan::Way::relay) {
    const RelayEndpoint& from = relays_->endpoint(index_);
    relayed_ = true;
    peer_->write(fmt::format("relay {} {} {}\n", from.host, from.port, from.token));
  } else {
    send_image();
  }
}
void AgentJob::relay_failed() {
  relayed_ = false;
  if (relays_ == nullptr) return;
  relays_->failed(index_);
}
void AgentJob::has_agent() {
  if (relays_ != nullptr && end_->image_sent) relays_->stored(index_);
}
void AgentJob::left() {
  if (relays_ != nullptr) relays_->gone(index_);
}
void AgentJob::look_after_relays(Time now) {
  constexpr seconds patience{60};   // a slow relay costs time, never a node
  if (relays_ == nullptr) return;
  relays_->tick(now);
  if (waits_since_ && now - *waits_since_ > patience) relay_failed();
}

// Passes everything on and keeps in mind whose end was told, so that those that were never started are told of as well.
class EndsTold final : public AgentListener {
 public:
  EndsTold(AgentListener& listener, std::size_t nodes) : listener_(listener), told_(nodes, false) {}
  void on_message(std::size_t index, const json::Value& message) override { listener_.on_message(index, message); }
  bool on_end(std::size_t index, const AgentEnd& end) override {
    told_[index] = true;
    return listener_.on_end(index, end);
  }
  void tell_the_rest(const std::vector<AgentEnd>& ends) {
    for (std::size_t i = 0; i < ends.size(); ++i)
      if (!told_[i]) on_end(i, ends[i]);
  }

 private:
  AgentListener& listener_;
  std::vector<bool> told_;
};

void tell_relayed(EventSink& sink, std::int64_t nodes) {
  if (nodes > 0) sink.emit({.type = "message", .message = fmt::format("{} nodes were handed the agent by another node of their rack", with_thousands(nodes))});
}

}  // namespace

std::vector<AgentEnd> run_agents(ssh::Transport& transport, const std::vector<ssh::Target>& targets, const AgentImage& image,
                                 const std::function<AgentTask(std::size_t)>& task_of, AgentListener& listener, const FleetOptions& options,
                                 const Clock& clock, EventSink& sink, const CancelToken& cancel) {
  std::vector<AgentEnd> ends(targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i) {
    ends[i].node = targets[i].node;
    ends[i].why = cancelled(targets[i].node, true);   // until it has ended
  }
  std::vector<bool> made(targets.size(), false);
  EndsTold told(listener, targets.size());
  std::optional<RackRelays> relays;
  NullEventSink nobody;
  if (options.relay) {
    relays.emplace(transport, targets, [&](std::size_t i, AgentTask task, AgentListener& server, AgentEnd& end) {
      return std::make_shared<AgentJob>(i, targets[i], image, std::move(task), server, options, clock, nobody, end, nullptr);
    });
  }
  const auto make = [&](std::size_t i) {
    made[i] = true;
    auto job = std::make_shared<AgentJob>(i, targets[i], image, task_of(i), told, options, clock, sink, ends[i], relays ? &*relays : nullptr);
    if (relays) relays->know(i, job);
    return job;
  };
  run_window(transport, targets, make, options, clock, sink, cancel);
  if (relays) {
    relays->finish();
    tell_relayed(sink, relays->served());
  }
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (!made[i]) ends[i].why = never_started(options, i, targets[i].node);
  told.tell_the_rest(ends);
  return ends;
}

}  // namespace kfab::fleet
