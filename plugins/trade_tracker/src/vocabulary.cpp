// SPDX-License-Identifier: Apache-2.0
#include "vocabulary.hpp"

#include <cstddef>

namespace ephor::trade_tracker {
namespace {

constexpr std::size_t kReasonBytesMax = 200;

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The length of the number that starts at `at`; 0 if none does. Digits inside a word (ema20) belong
// to the word.
std::size_t number_at(std::string_view text, std::size_t at) {
  if (at > 0 && is_word(text[at - 1])) return 0;
  std::size_t end = at;
  if (text[end] == '-' || text[end] == '+') ++end;
  const std::size_t first = end;
  while (end < text.size() &&
         (is_digit(text[end]) || ((text[end] == '.' || text[end] == ',') && end > first &&
                                  end + 1 < text.size() && is_digit(text[end + 1])))) {
    ++end;
  }
  return end == first ? 0 : end - at;
}

}  // namespace

std::string normalise_side(std::string_view side) {
  std::string lower = lower_case(side);
  if (lower == "buy" || lower == "long" || lower == "enter_long" || lower == "exit_long") {
    return "buy";
  }
  if (lower == "sell" || lower == "short" || lower == "enter_short" || lower == "exit_short") {
    return "sell";
  }
  return lower;
}

std::string normalise_status(std::string_view status) {
  std::string lower = lower_case(status);
  return lower == "canceled" ? "cancelled" : lower;
}

int stage_of(std::string_view status) {
  if (status == "pending") return 0;
  if (status == "closed") return 3;
  if (status == "cancelled" || status == "failed") return 2;
  return 1;
}

std::string normalise_reason(std::string_view reason) {
  std::string out;
  for (std::size_t at = 0; at < reason.size() && out.size() < kReasonBytesMax;) {
    if (const std::size_t size = number_at(reason, at)) {
      out += '#';
      at += size;
    } else if (static_cast<unsigned char>(reason[at]) <= ' ') {
      if (!out.empty() && out.back() != ' ') out += ' ';
      ++at;
    } else {
      out += reason[at++];
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace ephor::trade_tracker
