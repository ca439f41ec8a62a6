// SPDX-License-Identifier: Apache-2.0
#include "event_members.hpp"

#include <charconv>

namespace ephor::tracer {

const Json& member(const Json& object, std::string_view name) {
  static const Json kNone = Json::object();
  const auto found = object.find(name);
  return found != object.end() && found->is_structured() ? *found : kNone;
}

const Json& data_of(const StoryEvent& event) { return member(event.event, "data"); }

std::string text_at(const Json& object, std::string_view name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return {};
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::int64_t integer_at(const Json& object, std::string_view name) {
  const auto found = object.find(name);
  if (found == object.end()) return 0;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  if (!found->is_string()) return 0;
  std::int64_t value = 0;
  const auto& text = found->get_ref<const std::string&>();
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace ephor::tracer
