// Values, rows and the choice between the two backends. See via/sql.hpp.
#include <cmath>
#include <cstdlib>

#include "backend.hpp"

namespace via::sql {
namespace {

[[noreturn]] void wrong_type(const char* wanted, const Value& value) {
  static constexpr const char* kNames[] = {"NULL", "an integer", "a real", "a text", "a blob"};
  raise("type", std::string("The value is ") + kNames[value.variant().index()] + ", not " + wanted + ".");
}

bool is_path(std::string_view name) {
  return name == ":memory:" || name.find('/') != std::string_view::npos || name.ends_with(".db") ||
         name.ends_with(".sqlite") || name.ends_with(".sqlite3");
}

bool is_binding(std::string_view name) {
  if (name.empty() || name.size() > 127 || (name.front() >= '0' && name.front() <= '9')) return false;
  for (const char c : name) {
    if (!((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) return false;
  }
  return true;
}

bool has_bootstrap(const ConnectOptions& options) {
  const char* file = std::getenv("VIA_BOOTSTRAP");
  return !options.bootstrap_file.empty() || (file != nullptr && *file != '\0');
}

}  // namespace

std::int64_t Value::checked(std::uint64_t number) {
  if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    raise("bad_request", "A number above 9223372036854775807 is no SQLite integer.");
  }
  return static_cast<std::int64_t>(number);
}

std::int64_t Value::to_integer(std::int64_t low, std::int64_t high) const {
  std::int64_t number = 0;
  if (const auto* integer = std::get_if<std::int64_t>(&data_)) {
    number = *integer;
  } else if (const auto* real = std::get_if<double>(&data_);
             real != nullptr && std::trunc(*real) == *real && std::fabs(*real) <= 9007199254740992.0) {
    number = static_cast<std::int64_t>(*real);
  } else {
    wrong_type("an integer", *this);
  }
  if (number < low || number > high) raise("type", "The integer does not fit the type asked for.");
  return number;
}

double Value::to_real() const {
  if (const auto* real = std::get_if<double>(&data_)) return *real;
  if (const auto* integer = std::get_if<std::int64_t>(&data_)) return static_cast<double>(*integer);
  wrong_type("a number", *this);
}

const std::string& Value::to_text() const {
  if (const auto* text = std::get_if<std::string>(&data_)) return *text;
  wrong_type("a text", *this);
}

const Blob& Value::to_blob() const {
  if (const auto* blob = std::get_if<Blob>(&data_)) return *blob;
  wrong_type("a blob", *this);
}

const Value& Row::operator[](std::size_t index) const {
  const auto& cells = rows_->cells[index_];
  if (index >= cells.size()) raise("type", "The result has no column " + std::to_string(index) + ".");
  return cells[index];
}

const Value& Row::operator[](std::string_view column) const {
  for (std::size_t i = 0; i < rows_->columns.size(); ++i) {
    if (rows_->columns[i] == column) return (*this)[i];
  }
  raise("type", "The result has no column '" + std::string(column) + "'.");
}

std::size_t Row::size() const noexcept {
  return rows_->cells[index_].size();
}

Row Rows::operator[](std::size_t index) const {
  if (index >= cells.size()) raise("type", "The result has no row " + std::to_string(index) + ".");
  return {*this, index};
}

Row Rows::one() const {
  if (size() != 1)
    raise("type", "The result has " + std::to_string(size()) + " rows where one was expected.");
  return (*this)[0];
}

Connection::Connection(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Rows Connection::query(const Statement& statement) {
  return backend_->query(statement);
}
Written Connection::execute(const Statement& statement) {
  return backend_->execute(statement);
}
std::int64_t Connection::setup(std::string sql) {
  return backend_->setup(sql);
}
std::vector<BatchResult> Connection::batch(const std::vector<Statement>& statements) {
  return backend_->batch(statements);
}
Access Connection::access() const noexcept {
  return backend_->access();
}
bool Connection::managed() const noexcept {
  return backend_->managed();
}
std::int64_t Connection::generation() const noexcept {
  return backend_->generation();
}

Connection connect(std::string_view name, const ConnectOptions& options) {
  const std::string text(name);
  if (is_path(name)) return Connection(open_local(text, options));
  if (!is_binding(name)) {
    raise("bad_request", "'" + text + "' is neither a binding name (A-Z, 0-9, '_') nor a path (write './" +
                             text + "' for a file here).");
  }
  if (has_bootstrap(options)) return Connection(open_remote(text, options));
  if (!options.local_fallback.empty()) {
    return Connection(open_local(options.local_fallback + "/" + text + ".sqlite", options));
  }
  raise("not_configured",
        "The binding " + text +
            " needs a Via host, and this process was not launched by one ($VIA_BOOTSTRAP is not "
            "set). Launch it with 'via deploy create', get material with 'via runtime issue', or "
            "set ConnectOptions::local_fallback to a folder for development.");
}

}  // namespace via::sql
