// SPDX-License-Identifier: Apache-2.0
#include "ingest/json_fault.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

// Walks the text and stops at the first value that cannot be taken; keeps the path to it.
class FaultFinder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit FaultFinder(unsigned depth_max) : depth_max_(depth_max) {}

  bool null() override { return item(); }
  bool boolean(bool) override { return item(); }
  bool number_integer(number_integer_t) override { return item(); }
  bool number_unsigned(number_unsigned_t) override { return item(); }
  bool number_float(number_float_t, const string_t& text) override {
    item();
    if (text.find_first_of(".eE") != std::string::npos) return true;
    constexpr std::size_t kDigitsMax = 60;
    return stop("found " + (text.size() > kDigitsMax ? shown(text) : text) +
                ", expected an integer of at most 64 bits");
  }
  bool string(string_t&) override { return item(); }
  bool binary(binary_t&) override { return item(); }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool key(string_t& name) override {
    path_.back().name = name;
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    item();
    std::string_view what = error.what();
    if (const auto bracket = what.find("] "); bracket != std::string_view::npos) {
      what.remove_prefix(bracket + 2);
    }
    constexpr std::string_view kPrefix = "parse error at ";
    if (what.starts_with(kPrefix)) what.remove_prefix(kPrefix.size());
    std::string reason;  // what() may show raw bytes of the input
    for (const char c : what.substr(0, 300)) {
      reason +=
          static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7E ? '?' : c;
    }
    stop("found bad JSON at byte " + std::to_string(position) + " (" + reason +
         "), expected one JSON value");
    return false;
  }

  bool has_fault() const { return has_fault_; }
  Fault fault() const { return fault_; }

 private:
  struct Level {
    bool is_array = false;
    std::size_t next_index = 0;
    std::string name;
  };

  bool item() {
    if (!path_.empty() && path_.back().is_array) ++path_.back().next_index;
    return true;
  }
  bool open(bool is_array) {
    item();
    path_.push_back({is_array, 0, {}});
    if (path_.size() <= depth_max_) return true;
    path_.pop_back();
    return stop("found nesting deeper than " + std::to_string(depth_max_) +
                " levels, expected less");
  }
  bool close() {
    path_.pop_back();
    return true;
  }
  bool stop(std::string reason) {
    if (has_fault_) return false;
    has_fault_ = true;
    fault_.reason = std::move(reason);
    for (const Level& level : path_) {
      std::string token;
      if (level.is_array) {
        if (level.next_index == 0) break;
        append_pointer_token(token, std::to_string(level.next_index - 1));
      } else {
        if (level.name.empty()) break;
        append_pointer_token(token, level.name);
      }
      if (fault_.json_pointer.size() + token.size() > kJsonPointerBytesMax) break;
      fault_.json_pointer += token;
    }
    return false;
  }

  unsigned depth_max_;
  std::vector<Level> path_;
  bool has_fault_ = false;
  Fault fault_;
};

}  // namespace

Fault json_fault(std::string_view text, unsigned depth_max, std::string_view fallback) {
  FaultFinder finder(depth_max);
  nlohmann::json::sax_parse(text.begin(), text.end(), &finder);
  if (finder.has_fault()) return finder.fault();
  return {"", "found bad JSON (" + std::string(fallback) + "), expected one JSON value"};
}

}  // namespace ephor::host
