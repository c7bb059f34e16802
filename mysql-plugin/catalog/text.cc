#include "catalog/text.h"

#include <cstring>

#include "catalog/sql_session.h"
#include "compat.h"
#include "sql_string.h"

namespace smartengine::catalog {

namespace {

const CHARSET_INFO *utf8() { return &my_charset_utf8mb4_bin; }

/// Converts text; false if there is a character that `to` does not have.
bool convert(const std::string &text, const CHARSET_INFO *from, const CHARSET_INFO *to, std::string *out) {
  String converted;
  uint errors = 0;
  if (converted.copy(text.data(), text.size(), from, to, &errors) || errors != 0) return false;
  out->assign(converted.ptr(), converted.length());
  return true;
}

/// Reads a text with its quotes and comments, as the server's parser does.
class Scanner {
 public:
  Scanner(const std::string &text, size_t place, const CHARSET_INFO *charset, bool escapes)
      : m_text(text), m_place(place), m_charset(charset), m_escapes(escapes) {}

  /// The place of the parenthesis that closes the one at the start, or npos.
  size_t closing_parenthesis() {
    size_t depth = 0;
    while (m_place < m_text.size()) {
      const char character = m_text[m_place];
      if (skip_quoted(character) || skip_comment()) continue;
      if (character == '(') ++depth;
      if (character == ')' && --depth == 0) return m_place;
      step();
    }
    return std::string::npos;
  }

 private:
  void step() {
    const char *const at = m_text.data() + m_place;
    const unsigned length = use_mb(m_charset) ? my_ismbchar(m_charset, at, m_text.data() + m_text.size()) : 1;
    m_place += length > 1 ? length : 1;
  }

  bool skip_quoted(char quote) {
    if (quote != '\'' && quote != '"' && quote != '`') return false;
    for (++m_place; m_place < m_text.size() && m_text[m_place] != quote; step()) {
      if (m_escapes && quote != '`' && m_text[m_place] == '\\') ++m_place;
    }
    ++m_place;
    return true;
  }

  bool skip_comment() {
    const bool to_line_end = m_text[m_place] == '#' || m_text.compare(m_place, 3, "-- ") == 0;
    if (!to_line_end && m_text.compare(m_place, 2, "/*") != 0) return false;
    const char *const end = to_line_end ? "\n" : "*/";
    const size_t found = m_text.find(end, m_place + 2);
    m_place = found == std::string::npos ? m_text.size() : found + strlen(end);
    return true;
  }

  const std::string &m_text;
  size_t m_place;
  const CHARSET_INFO *m_charset;
  bool m_escapes;
};

/// Where the head of a routine goes on after its parameters, and where its body begins: after the line of the result and those of the
/// characteristics, which are indented.
bool find_rest_of_head(const std::string &text, size_t parameters, const CHARSET_INFO *charset, bool escapes, size_t *start, size_t *end) {
  *start = Scanner(text, parameters, charset, escapes).closing_parenthesis();
  if (*start == std::string::npos) return false;
  *end = *start;
  do {
    const size_t line_end = text.find('\n', *end);
    if (line_end == std::string::npos) return false;
    *end = line_end + 1;
  } while (text.compare(*end, 4, "    ") == 0);
  return true;
}

/// Writes strings as they are written where backslashes mean themselves.
std::string without_escapes(const std::string &head) {
  std::string out;
  bool quoted = false;
  for (size_t i = 0; i < head.size(); ++i) {
    char character = head[i];
    if (character == '\'') quoted = !quoted;
    if (quoted && character == '\\' && i + 1 < head.size()) {
      character = head[++i];
      if (character == 'n') character = '\n';
      if (character == 'r') character = '\r';
      if (character == '0') character = '\0';
    }
    out.push_back(character);
  }
  return out;
}

/// A text whose parts are of the head or the client's.
class Assembly {
 public:
  Assembly(const CHARSET_INFO *client, const CHARSET_INFO *out, bool escapes) : m_client(client), m_out(out), m_escapes(escapes) {}

  void add_head(const std::string &part) { add(m_escapes ? part : without_escapes(part), utf8()); }
  void add_client_text(const std::string &part) { add(part, m_client); }

  bool complete() const { return m_complete; }
  std::string take() { return std::move(m_text); }

 private:
  void add(const std::string &part, const CHARSET_INFO *from) {
    std::string converted;
    m_complete = convert(part, from, m_out, &converted) && m_complete;
    m_text += converted;
  }

  const CHARSET_INFO *m_client;
  const CHARSET_INFO *m_out;
  bool m_escapes;
  bool m_complete = true;
  std::string m_text;
};

}  // namespace

Statement statement_of(const Entry &entry) {
  const std::string &text = entry.field(0);
  const Statement as_shown{text, entry.field(2)};
  const CHARSET_INFO *const client = get_charset_by_csname(as_shown.client.c_str(), MY_CS_PRIMARY, MYF(0));
  if (client == nullptr) return as_shown;
  const bool escapes = ("," + entry.field(1) + ",").find(",NO_BACKSLASH_ESCAPES,") == std::string::npos;

  size_t head_end = 0, rest_start = 0, rest_end = 0;
  switch (entry.name.kind) {
    case Kind::kTrigger:
      head_end = find_unquoted(text, " FOR EACH ROW ", 0);
      break;
    case Kind::kEvent:
      head_end = find_unquoted(text, " DO ", 0);
      break;
    case Kind::kFunction:
    case Kind::kProcedure:
      head_end = find_unquoted(text, "(", 0);
      break;
    default:
      return as_shown;
  }
  if (head_end == std::string::npos) return as_shown;
  rest_start = rest_end = head_end;
  const bool is_routine = entry.name.kind == Kind::kFunction || entry.name.kind == Kind::kProcedure;
  if (is_routine && !find_rest_of_head(text, head_end, client, escapes, &rest_start, &rest_end)) return as_shown;

  for (const CHARSET_INFO *const charset : {client, utf8()}) {
    Assembly assembly(client, charset, escapes);
    assembly.add_head(text.substr(0, head_end));
    assembly.add_client_text(text.substr(head_end, rest_start - head_end));
    assembly.add_head(text.substr(rest_start, rest_end - rest_start));
    assembly.add_client_text(text.substr(rest_end));
    if (assembly.complete()) return {assembly.take(), charset->csname};
  }
  return as_shown;
}

}  // namespace smartengine::catalog
