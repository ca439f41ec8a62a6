// SPDX-License-Identifier: Apache-2.0
#include "search.hpp"

#include <algorithm>
#include <charconv>
#include <ephor/plugin.hpp>
#include <utility>

namespace ephor::tracer {
namespace {

constexpr std::size_t kDepthMax = 32;
constexpr std::size_t kTermsMax = 64;

struct FieldName {
  std::string_view name;
  SearchField field;
};
constexpr FieldName kFields[] = {{"service", SearchField::service},
                                 {"component", SearchField::component},
                                 {"operation", SearchField::operation},
                                 {"root_service", SearchField::root_service},
                                 {"root_component", SearchField::root_component},
                                 {"root_operation", SearchField::root_operation},
                                 {"status", SearchField::error},
                                 {"duration", SearchField::duration},
                                 {"spans", SearchField::spans},
                                 {"errors", SearchField::errors},
                                 {"trace_id", SearchField::trace_id},
                                 {"verdict", SearchField::verdict},
                                 {"reason", SearchField::reason}};

bool is_number_field(SearchField field) {
  return field == SearchField::duration || field == SearchField::spans ||
         field == SearchField::errors;
}

bool compare(double found, Comparison comparison, double wanted) {
  switch (comparison) {
    case Comparison::equal:
      return found == wanted;
    case Comparison::unequal:
      return found != wanted;
    case Comparison::less:
      return found < wanted;
    case Comparison::at_most:
      return found <= wanted;
    case Comparison::more:
      return found > wanted;
    case Comparison::at_least:
      return found >= wanted;
  }
  return false;
}

Truth negated(Truth truth) {
  return truth == Truth::yes ? Truth::no : truth == Truth::no ? Truth::yes : Truth::unknown;
}
Truth truth_of(bool value) { return value ? Truth::yes : Truth::no; }

const std::string& part_of(const OperationName& name, SearchField field) {
  switch (field) {
    case SearchField::service:
    case SearchField::root_service:
      return name.service;
    case SearchField::component:
    case SearchField::root_component:
      return name.component;
    default:
      return name.operation;
  }
}

bool is_name_field(SearchField field) { return field <= SearchField::root_operation; }
bool is_root_field(SearchField field) {
  return field == SearchField::root_service || field == SearchField::root_component ||
         field == SearchField::root_operation;
}

// Before != is applied.
Truth has(const SearchTerm& term, const TraceChunk& chunk, const TraceSummary& summary) {
  const auto& names = chunk.operations();
  if (is_root_field(term.field)) {
    return truth_of(summary.root != TraceSummary::kNoOperation &&
                    part_of(names[summary.root], term.field) == term.text);
  }
  if (is_name_field(term.field)) {
    for (const std::uint16_t place : summary.operations) {
      if (part_of(names[place], term.field) == term.text) return Truth::yes;
    }
    return summary.is_cut ? Truth::unknown : Truth::no;
  }
  switch (term.field) {
    case SearchField::error:
      return truth_of((summary.error_count > 0) == (term.text == "error"));
    case SearchField::trace_id:
      return truth_of(hex_of(summary.id) == term.text);
    case SearchField::id:
      if (summary.has_id(term.kind, term.text)) return Truth::yes;
      return summary.is_cut ? Truth::unknown : Truth::no;
    case SearchField::attribute: {
      const auto kind = id_kind_of(term.name);
      return kind && summary.has_id(*kind, term.text) ? Truth::yes : Truth::unknown;
    }
    case SearchField::verdict:
      return truth_of(name_of(summary.verdict) == term.text);
    case SearchField::reason:
      return truth_of(name_of(summary.reason) == term.text);
    default:
      return Truth::unknown;
  }
}

Truth term_holds(const SearchTerm& term, const TraceChunk& chunk, const TraceSummary& summary,
                 const SearchExpression::AttributeTest& test) {
  if (term.field == SearchField::duration) {
    return truth_of(
        compare(static_cast<double>(summary.duration_ns()), term.comparison, term.number));
  }
  if (term.field == SearchField::spans) {
    return truth_of(compare(summary.span_count, term.comparison, term.number));
  }
  if (term.field == SearchField::errors) {
    return truth_of(compare(summary.error_count, term.comparison, term.number));
  }
  Truth truth = has(term, chunk, summary);
  // What the summary does not say, or was found out by the journal's index.
  if (truth != Truth::yes && test) {
    if (const Truth told = test(term); told != Truth::unknown) truth = told;
  }
  return term.comparison == Comparison::unequal ? negated(truth) : truth;
}

}  // namespace

std::optional<double> duration_ns_from(std::string_view text) {
  double amount = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error != std::errc() || !(amount >= 0.0) || amount > 1e15) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit == "ns") return amount;
  if (unit == "us" || unit == "\u00b5s") return amount * 1e3;
  if (unit == "ms" || unit.empty()) return amount * 1e6;
  if (unit == "s") return amount * 1e9;
  if (unit == "m") return amount * 60e9;
  if (unit == "h") return amount * 3600e9;
  return std::nullopt;
}

bool is_attribute_value(const std::string& wanted, std::string_view text,
                        std::optional<double> number) {
  if (text == wanted) return true;
  if (!number) return false;
  double parsed = 0.0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), parsed);
  return error == std::errc() && end == wanted.data() + wanted.size() && parsed == *number;
}

// Recursive descent; its depth is bounded, because requests come from outside.
class SearchParser {
 public:
  SearchParser(std::string_view text, const std::string& pointer)
      : text_(text), pointer_(pointer) {}

  SearchExpression parse() {
    skip_blanks();
    if (at_ == text_.size()) return std::move(out_);
    out_.root_ = any(0);
    skip_blanks();
    if (at_ != text_.size()) fail("expected \"and\", \"or\" or the end");
    return std::move(out_);
  }

 private:
  using Node = SearchExpression::Node;
  using NodeKind = SearchExpression::NodeKind;

  [[noreturn]] void fail(const std::string& expected) const {
    std::string message = "search, character " + std::to_string(at_ + 1) + ": found ";
    if (at_ >= text_.size()) {
      message += "the end";
    } else {
      message += '"';
      message += text_.substr(at_, 20);
      message += '"';
    }
    message += ", " + expected;
    throw Error(EPHOR_INVALID, message, pointer_);
  }

  static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  static bool ends_word(char c) {
    return is_blank(c) || c == '(' || c == ')' || c == '=' || c == '<' || c == '>' || c == '!' ||
           c == '"';
  }
  void skip_blanks() {
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  }
  std::string_view word_here() const {
    std::size_t end = at_;
    while (end < text_.size() && !ends_word(text_[end])) ++end;
    return text_.substr(at_, end - at_);
  }
  bool take_word(std::string_view wanted) {
    skip_blanks();
    if (word_here() != wanted) return false;
    at_ += wanted.size();
    return true;
  }

  std::size_t add(Node node) {
    out_.nodes_.push_back(std::move(node));
    return out_.nodes_.size() - 1;
  }
  std::size_t joined(NodeKind kind, std::vector<std::size_t> children) {
    if (children.size() == 1) return children.front();
    return add({kind, 0, std::move(children)});
  }

  std::size_t any(std::size_t depth) {
    if (depth > kDepthMax) fail("expected fewer brackets");
    std::vector<std::size_t> children{all(depth)};
    while (take_word("or")) children.push_back(all(depth));
    return joined(NodeKind::any, std::move(children));
  }

  std::size_t all(std::size_t depth) {
    std::vector<std::size_t> children{one(depth)};
    for (;;) {
      skip_blanks();
      if (at_ == text_.size() || text_[at_] == ')' || word_here() == "or") break;
      take_word("and");
      children.push_back(one(depth));
    }
    return joined(NodeKind::all, std::move(children));
  }

  std::size_t one(std::size_t depth) {
    skip_blanks();
    if (depth > kDepthMax) fail("expected a shorter search");
    if (at_ < text_.size() && text_[at_] == '(') {
      ++at_;
      const std::size_t inside = any(depth + 1);
      skip_blanks();
      if (at_ == text_.size() || text_[at_] != ')') fail("expected ')'");
      ++at_;
      return inside;
    }
    const std::string_view word = word_here();
    if (word == "not") {
      at_ += word.size();
      const std::size_t inside = one(depth + 1);
      return add({NodeKind::negation, 0, {inside}});
    }
    return term();
  }

  std::size_t term() {
    if (out_.terms_.size() >= kTermsMax) fail("expected at most 64 terms");
    const std::string_view word = word_here();
    if (word.empty() || word == "and" || word == "or") {
      fail("expected a field, \"error\", \"not\" or '('");
    }
    at_ += word.size();
    SearchTerm term;
    skip_blanks();
    const bool has_operator = at_ < text_.size() && (text_[at_] == '=' || text_[at_] == '<' ||
                                                     text_[at_] == '>' || text_[at_] == '!');
    if (!has_operator) {
      if (word != "error") fail("expected an operator (= != < <= > >=) behind a field");
      term.text = "error";
    } else {
      name(word, term);
      comparison(term);
      value(term);
    }
    out_.terms_.push_back(std::move(term));
    return add({NodeKind::term, out_.terms_.size() - 1, {}});
  }

  static void name(std::string_view word, SearchTerm& term) {
    for (const FieldName& known : kFields) {
      if (known.name == word) {
        term.field = known.field;
        return;
      }
    }
    for (const IdKind kind : kIdKinds) {
      if (name_of(kind) == word) {
        term.field = SearchField::id;
        term.kind = kind;
        return;
      }
    }
    term.field = SearchField::attribute;
    if (word.starts_with("attr.")) word.remove_prefix(5);
    term.name = word;
  }

  void comparison(SearchTerm& term) {
    const char first = text_[at_];
    const bool has_equal = at_ + 1 < text_.size() && text_[at_ + 1] == '=';
    if (first == '!' && !has_equal) fail("expected \"!=\"");
    if (first == '=') {
      term.comparison = Comparison::equal;
    } else if (first == '!') {
      term.comparison = Comparison::unequal;
    } else if (first == '<') {
      term.comparison = has_equal ? Comparison::at_most : Comparison::less;
    } else {
      term.comparison = has_equal ? Comparison::at_least : Comparison::more;
    }
    if (term.comparison > Comparison::unequal && !is_number_field(term.field)) {
      fail("expected = or != (only duration, spans and errors have an order)");
    }
    at_ += first != '=' && has_equal ? 2 : 1;
  }

  void value(SearchTerm& term) {
    skip_blanks();
    const std::size_t start = at_;
    if (at_ < text_.size() && text_[at_] == '"') {
      term.text = quoted();
    } else {
      // A value may hold '=' and the like; blanks and brackets end it.
      std::size_t end = at_;
      while (end < text_.size() && !is_blank(text_[end]) && text_[end] != ')' &&
             text_[end] != '"') {
        ++end;
      }
      term.text = text_.substr(at_, end - at_);
      at_ = end;
    }
    const auto fail_at = [&](const std::string& expected) {
      at_ = start;
      fail(expected);
    };
    if (term.text.empty() && term.field != SearchField::attribute) fail_at("expected a value");
    if (term.field == SearchField::duration) {
      const auto ns = duration_ns_from(term.text);
      if (!ns) fail_at("expected a duration such as 250ms or 1.5s");
      term.number = *ns;
    } else if (is_number_field(term.field)) {
      const char* const end = term.text.data() + term.text.size();
      const auto [stop, error] = std::from_chars(term.text.data(), end, term.number);
      if (error != std::errc() || stop != end) fail_at("expected a number");
    } else if (term.field == SearchField::error && term.text != "error" && term.text != "ok") {
      fail_at("expected error or ok");
    } else if (term.field == SearchField::trace_id) {
      const auto id = trace_id_from(term.text);
      if (!id) fail_at("expected 32 hex digits");
      term.text = hex_of(*id);
    }
  }

  std::string quoted() {
    std::string out;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
      out += text_[at_];
    }
    if (at_ == text_.size()) fail("expected a closing quote");
    ++at_;
    return out;
  }

  std::string_view text_;
  const std::string& pointer_;
  std::size_t at_ = 0;
  SearchExpression out_;
};

SearchExpression SearchExpression::parse(std::string_view text, const std::string& pointer) {
  return SearchParser(text, pointer).parse();
}

void SearchExpression::demand(SearchTerm term) {
  terms_.push_back(std::move(term));
  nodes_.push_back({NodeKind::term, terms_.size() - 1, {}});
  const std::size_t added = nodes_.size() - 1;
  if (!root_) {
    root_ = added;
    return;
  }
  nodes_.push_back({NodeKind::all, 0, {*root_, added}});
  root_ = nodes_.size() - 1;
}

Truth SearchExpression::holds(const TraceChunk& chunk, const TraceSummary& summary,
                              const AttributeTest& test) const {
  return root_ ? node_holds(*root_, chunk, summary, test) : Truth::yes;
}

Truth SearchExpression::node_holds(std::size_t at, const TraceChunk& chunk,
                                   const TraceSummary& summary, const AttributeTest& test) const {
  const Node& node = nodes_[at];
  if (node.kind == NodeKind::term) return term_holds(terms_[node.term], chunk, summary, test);
  if (node.kind == NodeKind::negation) {
    return negated(node_holds(node.children.front(), chunk, summary, test));
  }
  // Kleene's three-valued logic: the least of all, the greatest of any.
  Truth truth = node.kind == NodeKind::all ? Truth::yes : Truth::no;
  for (const std::size_t child : node.children) {
    const Truth one = node_holds(child, chunk, summary, test);
    truth = node.kind == NodeKind::all ? std::min(truth, one) : std::max(truth, one);
    if (truth == (node.kind == NodeKind::all ? Truth::no : Truth::yes)) break;
  }
  return truth;
}

bool SearchExpression::may_match(const TraceChunk& chunk) const {
  return !root_ || node_may_match(*root_, chunk);
}

bool SearchExpression::node_may_match(std::size_t at, const TraceChunk& chunk) const {
  const Node& node = nodes_[at];
  const auto may = [&](std::size_t child) { return node_may_match(child, chunk); };
  switch (node.kind) {
    case NodeKind::all:
      return std::all_of(node.children.begin(), node.children.end(), may);
    case NodeKind::any:
      return std::any_of(node.children.begin(), node.children.end(), may);
    case NodeKind::negation:
      return true;
    case NodeKind::term:
      break;
  }
  const SearchTerm& term = terms_[node.term];
  if (!is_name_field(term.field) || term.comparison != Comparison::equal) return true;
  // A full list may have left the name out.
  if (chunk.operations().size() >= TraceChunk::kOperationsMax) return true;
  return std::any_of(
      chunk.operations().begin(), chunk.operations().end(),
      [&](const OperationName& name) { return part_of(name, term.field) == term.text; });
}

std::vector<const SearchTerm*> SearchExpression::demands() const {
  std::vector<const SearchTerm*> out;
  if (root_) add_demands(*root_, out);
  return out;
}

void SearchExpression::add_demands(std::size_t at, std::vector<const SearchTerm*>& out) const {
  const Node& node = nodes_[at];
  if (node.kind == NodeKind::term) out.push_back(&terms_[node.term]);
  if (node.kind != NodeKind::all) return;
  for (const std::size_t child : node.children) add_demands(child, out);
}

}  // namespace ephor::tracer
