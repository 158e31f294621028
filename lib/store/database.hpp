#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.hpp"

struct sqlite3;
struct sqlite3_stmt;

// SQLite as the store uses it: statements prepared once, values bound by type, result codes as diagnostics.
namespace kfab::store {

// One prepared statement. The first failure is kept and given back by run() or next(), so that binding is one chain.
class Statement {
 public:
  Statement(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Binds the next parameter. Texts are copied.
  Statement& bind(std::int64_t);
  Statement& bind(std::string_view);
  Statement& bind(std::optional<double>);
  Statement& bind(std::optional<std::int64_t>);

  Status run();             // a statement without rows; ready for new values afterwards
  Result<bool> next();      // whether there is a row; after the last one ready for new values
  void reset();             // drops the rows that are left and the values

  std::int64_t integer(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;
  std::optional<double> number(int column) const;   // null for NULL
  std::string text(int column) const;               // "" for NULL

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_;
  int next_parameter_ = 1;
  int failed_ = 0;
};

class Database {
 public:
  // ":memory:" is a new one without a file.
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Status use_write_ahead_log();   // readers and one writer at once; stays with the file
  Status execute(const char* sql);
  // The statement of this text, which must be a literal: prepared at the first call, reset at every other.
  Result<Statement*> prepare(const char* sql);
  Result<std::int64_t> pragma(const char* sql);
  std::int64_t last_rowid() const;
  Diagnostic error_of(int code) const;   // the last failure

 private:
  Database(sqlite3* db, std::string name) : db_(db), name_(std::move(name)) {}
  sqlite3* db_;
  std::string name_;
  std::unordered_map<const char*, std::unique_ptr<Statement>> statements_;
};

// A write transaction: rolled back unless it was committed. Waits for its turn when it begins, so that what follows
// does not fail half way.
class Transaction {
 public:
  static Result<std::unique_ptr<Transaction>> begin(Database&);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  Status commit();

 private:
  explicit Transaction(Database& db) : db_(db) {}
  Database& db_;
  bool open_ = true;
};

}  // namespace kfab::store
