#include "store/database.hpp"

#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/codes/store.hpp"
#include "base/text.hpp"

namespace kfab::store {
namespace {

constexpr int busy_wait_ms = 30'000;

struct Meaning { int sqlite; Code code; };
constexpr std::array meanings{
    Meaning{SQLITE_FULL, code::store_full},           Meaning{SQLITE_BUSY, code::store_busy},
    Meaning{SQLITE_LOCKED, code::store_busy},         Meaning{SQLITE_CORRUPT, code::store_damaged},
    Meaning{SQLITE_NOTADB, code::store_damaged},      Meaning{SQLITE_FORMAT, code::store_damaged},
    Meaning{SQLITE_READONLY, code::store_unwritable}, Meaning{SQLITE_IOERR, code::store_unwritable},
    Meaning{SQLITE_CANTOPEN, code::store_unwritable}, Meaning{SQLITE_PERM, code::store_unwritable},
    Meaning{SQLITE_AUTH, code::store_unwritable},
};

Code code_of(int sqlite) {
  for (const Meaning& row : meanings)
    if (row.sqlite == (sqlite & 0xFF)) return row.code;
  return code::store_failed;
}

Diagnostic failure(sqlite3* db, std::string_view name, int code) {
  const int os = sqlite3_system_errno(db);
  const bool no_space = (code & 0xFF) == SQLITE_IOERR && (os == ENOSPC || os == EDQUOT);
  auto message = fmt::format("{}: {}", one_line(name, 160), one_line(sqlite3_errmsg(db)));
  if (os != 0 && ((code & 0xFF) == SQLITE_IOERR || (code & 0xFF) == SQLITE_CANTOPEN)) message += fmt::format(" ({})", std::strerror(os));
  return error(no_space ? code::store_full : code_of(code), std::move(message));
}

}  // namespace

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(std::int64_t value) {
  if (failed_ == SQLITE_OK) failed_ = sqlite3_bind_int64(statement_, next_parameter_++, value);
  return *this;
}

Statement& Statement::bind(std::string_view value) {
  // An empty view may have no address, which SQLite would take for NULL.
  const char* bytes = value.empty() ? "" : value.data();
  if (failed_ == SQLITE_OK) failed_ = sqlite3_bind_text64(statement_, next_parameter_++, bytes, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind(std::optional<double> value) {
  if (failed_ == SQLITE_OK)
    failed_ = value ? sqlite3_bind_double(statement_, next_parameter_, *value) : sqlite3_bind_null(statement_, next_parameter_);
  ++next_parameter_;
  return *this;
}

Statement& Statement::bind(std::optional<std::int64_t> value) {
  if (failed_ == SQLITE_OK)
    failed_ = value ? sqlite3_bind_int64(statement_, next_parameter_, *value) : sqlite3_bind_null(statement_, next_parameter_);
  ++next_parameter_;
  return *this;
}

Status Statement::run() {
  KFAB_TRY_VOID(next());
  reset();
  return ok();
}

Result<bool> Statement::next() {
  const int code = failed_ != SQLITE_OK ? failed_ : sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  const char* file = sqlite3_db_filename(db_, "main");
  Diagnostic why = failure(db_, file ? file : "", code);
  reset();
  return why;
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  next_parameter_ = 1;
  failed_ = SQLITE_OK;
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::optional<std::int64_t> Statement::optional_integer(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return integer(column);
}

std::optional<double> Statement::number(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return sqlite3_column_double(statement_, column);
}

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (bytes == nullptr) return {};
  return std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(file.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (handle == nullptr) return error(code::store_failed, "SQLite has no memory for a connection");
  std::unique_ptr<Database> db(new Database(handle, file.string()));
  if (code != SQLITE_OK) return db->error_of(code);
  // What nodes told is nobody else's, whatever the directory allows. Another's store keeps its mode.
  if (file != ":memory:") ::chmod(file.c_str(), S_IRUSR | S_IWUSR);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, busy_wait_ms);
  // What is read may be damaged: a schema from it must not call functions that have effects.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  KFAB_TRY_VOID(db->execute("PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA cache_size = -65536"));
  KFAB_TRY_VOID(db->execute("PRAGMA synchronous = FULL"));
  return db;
}

Status Database::use_write_ahead_log() {
  // Changing to WAL does not wait for others by itself.
  Status done = ok();
  for (int attempt = 0; attempt < 100; ++attempt) {
    done = execute("PRAGMA journal_mode = WAL");
    if (done || done.error().code != code::store_busy) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return done;
}

Database::~Database() {
  statements_.clear();
  sqlite3_close_v2(db_);
}

Status Database::execute(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error_of(code);
  return ok();
}

Result<Statement*> Database::prepare(const char* sql) {
  auto& kept = statements_[sql];
  if (!kept) {
    sqlite3_stmt* handle = nullptr;
    const int code = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
    if (code != SQLITE_OK) {
      statements_.erase(sql);
      return error_of(code);
    }
    kept = std::make_unique<Statement>(db_, handle);
  }
  kept->reset();
  return kept.get();
}

Result<std::int64_t> Database::pragma(const char* sql) {
  KFAB_TRY(statement, prepare(sql));
  KFAB_TRY(row, statement->next());
  const std::int64_t value = row ? statement->integer(0) : 0;
  statement->reset();
  return value;
}

std::int64_t Database::last_rowid() const { return sqlite3_last_insert_rowid(db_); }

Diagnostic Database::error_of(int code) const { return failure(db_, name_, code); }

Result<std::unique_ptr<Transaction>> Transaction::begin(Database& db) {
  KFAB_TRY_VOID(db.execute("BEGIN IMMEDIATE"));
  return std::unique_ptr<Transaction>(new Transaction(db));
}

Transaction::~Transaction() {
  // A failed statement may have ended the transaction already; then this says so and changes nothing.
  if (open_) (void)db_.execute("ROLLBACK");
}

Status Transaction::commit() {
  KFAB_TRY_VOID(db_.execute("COMMIT"));
  open_ = false;
  return ok();
}

}  // namespace kfab::store
