// SPDX-License-Identifier: Apache-2.0
//
// config/*: create with configurations of every kind.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <array>
#include <functional>

#include "check/check.hpp"
#include "check/allocations.hpp"
#include "check/config_maker.hpp"
#include "check/context.hpp"
#include "check/process_state.hpp"
#include "check/subject.hpp"

namespace ephor::host::check {
namespace {

constexpr int kRandomConfigs = 250;

std::string shortened(const std::string& text) {
  return text.size() <= 1000 ? text : text.substr(0, 1000) + "...";
}

// What an attempt to create came to, the instance gone again.
struct Attempt {
  ephor_status status = EPHOR_OK;
  std::string described;
  std::string json_pointer;
  bool is_out_untouched = true;
};

// Rules about create itself fail the check; others have checks of their own.
Attempt attempt(Context& context, const std::string& config) {
  Subject subject(context);
  Attempt out;
  out.status = subject.create(config);
  if (out.status != EPHOR_OK) {
    out.described = subject.described(out.status);
    out.json_pointer = subject.error().json_pointer;
    out.is_out_untouched = subject.is_out_untouched();
  }
  require_no(subject.host(), {Rule::exceptions, Rule::errors});
  return out;
}

// The pointer names a value, or a key that is missing in an object that is there.
bool names_a_place(const Json& config, const std::string& text) {
  try {
    const Json::json_pointer pointer(text);
    return config.contains(pointer) || config.contains(pointer.parent_pointer());
  } catch (const Json::exception&) {
    return false;
  }
}

// A schema cannot say everything (one bound below another, a time zone that exists). What it lets
// through may be refused, if the user is then told what and where.
void must_be_refused_well(const Attempt& found, const Json& config, const std::string& what) {
  constexpr std::array kReasons{EPHOR_INVALID, EPHOR_NOT_FOUND, EPHOR_IO, EPHOR_UNSUPPORTED,
                                EPHOR_DENIED};
  if (std::find(kReasons.begin(), kReasons.end(), found.status) == kReasons.end()) {
    Context::fail(what + ": create failed with " + found.described,
                  "success, or a refusal: INVALID, NOT_FOUND, IO, UNSUPPORTED or DENIED");
  }
  if (found.status != EPHOR_INVALID) return;
  if (found.json_pointer.empty() || !names_a_place(config, found.json_pointer)) {
    Context::fail(what + ": create refused with " + found.described,
                  "a JSON pointer to the value that it refuses");
  }
}

void default_creates(Context& context) {
  std::string wrong;
  const Json config = context.completed(context.target().config.value_or(Json::object()), wrong);
  if (!wrong.empty()) {
    if (context.target().config) Context::fail("--config: " + wrong);
    Context::fail("the configuration {} is not valid: " + wrong,
                  "one that is; give the values that it demands with --config");
  }
  const Attempt made = attempt(context, config.dump());
  if (made.status != EPHOR_OK) {
    Context::fail("create failed with " + made.described + " for " + shortened(config.dump()),
                  "an instance");
  }
}

void random_valid(Context& context) {
  ConfigMaker maker(context.schema(), context.config(), context.random());
  int created = 0;
  for (int i = 0; i < kRandomConfigs; ++i) {
    const Json config = maker.random_valid();
    const std::string text = config.dump();
    const Attempt made = attempt(context, text);
    if (made.status == EPHOR_OK) {
      ++created;
    } else {
      must_be_refused_well(made, config,
                           "configuration " + std::to_string(i) + " " + shortened(text));
    }
  }
  Context::expect(created > 0, "that create refused all of them", "some taken");
  context.note(std::to_string(created) + " of " + std::to_string(kRandomConfigs) +
               " created, the others refused with a reason and a place (seed " +
               std::to_string(context.target().seed) + ")");
}

void bounds(Context& context) {
  ConfigMaker maker(context.schema(), context.config(), context.random());
  const std::vector<ConfigMaker::Case> cases = maker.at_bounds();
  if (cases.empty()) Context::skip("the schema has no keys");
  int created = 0;
  for (const ConfigMaker::Case& one : cases) {
    const Attempt made = attempt(context, one.config.dump());
    if (made.status == EPHOR_OK) ++created;
    if (made.status != EPHOR_OK) must_be_refused_well(made, one.config, one.what);
  }
  context.note(std::to_string(created) + " of " + std::to_string(cases.size()) + " created");
}

void survives_invalid(Context& context) {
  ConfigMaker maker(context.schema(), context.config(), context.random());
  const std::vector<ConfigMaker::Case> cases = maker.refused();
  int created = 0;
  for (const ConfigMaker::Case& one : cases) {
    context.step("create with " + one.what);
    if (attempt(context, one.config.dump()).status == EPHOR_OK) ++created;
  }
  context.note(std::to_string(cases.size()) + " configurations that the host refuses; " +
               std::to_string(created) + " were taken all the same");
}

void survives_bad_json(Context& context) {
  const std::string good = context.config_text();
  const std::string deep(100'000, '[');
  const std::vector<std::string> texts{"",
                                       " ",
                                       "null",
                                       "[]",
                                       "1",
                                       "\"text\"",
                                       "{",
                                       "{\"",
                                       "{\"a\"",
                                       "{\"a\":}",
                                       "{]",
                                       good + "}",
                                       "\xFF\xFE",
                                       "{\"a\":\"\xC3\x28\"}",
                                       "{\"a\":\"\\ud800\"}",
                                       "\xEF\xBB\xBF{}",
                                       "{\"a\":1e999}",
                                       std::string("{}\0", 3),
                                       std::string(1000, '{'),
                                       deep,
                                       good.substr(0, good.size() / 2)};
  for (const std::string& text : texts) (void)attempt(context, text);
}

// An escape for each character of a text, and blanks wherever they may stand.
std::string differently_written(const Json& value) {
  if (value.is_object()) {
    std::string out = "\n{ ";
    std::vector<std::string> keys;
    for (const auto& [key, unused] : value.items()) keys.push_back(key);
    std::reverse(keys.begin(), keys.end());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      out += (i == 0 ? "" : " ,\r\n") + differently_written(Json(keys[i])) + " :\t" +
             differently_written(value[keys[i]]);
    }
    return out + " }\n";
  }
  if (value.is_array()) {
    std::string out = "[ ";
    for (std::size_t i = 0; i < value.size(); ++i) {
      out += (i == 0 ? "" : " , ") + differently_written(value[i]);
    }
    return out + " ]";
  }
  if (!value.is_string()) return value.dump();
  std::string out = "\"";
  for (const char c : value.get_ref<const std::string&>()) {
    char escaped[8];
    const auto code = static_cast<unsigned char>(c);
    std::snprintf(escaped, sizeof escaped, "\\u%04x", code);
    out += code < 0x80 ? std::string(escaped) : std::string(1, c);
  }
  return out + '"';
}

void any_notation(Context& context) {
  const Attempt made = attempt(context, differently_written(context.config()));
  if (made.status != EPHOR_OK) {
    Context::fail("that create takes a configuration, and fails with " + made.described +
                      " when it is written with other blanks, order and escapes",
                  "that JSON is read as JSON");
  }
}

void tolerates_unknown_keys(Context& context) {
  if (context.schema().value("additionalProperties", Json(true)) == Json(false)) {
    Context::skip("its schema allows no unknown keys");
  }
  Json config = context.config();
  config["x_unknown_to_it"] = {{"nested", Json::array({1, "two"})}};
  std::string wrong;
  (void)context.completed(config, wrong);
  if (!wrong.empty()) Context::skip("its schema demands something of unknown keys");
  const Attempt made = attempt(context, config.dump());
  if (made.status != EPHOR_OK) {
    Context::fail(
        "create failed with " + made.described + " for an unknown key that the schema allows",
        "an instance");
  }
}

void examples_create(Context& context) {
  const Json examples = context.schema().value("examples", Json::array());
  if (!examples.is_array() || examples.empty())
    Context::skip("the schema has no examples of a whole configuration");
  for (const Json& example : examples) {
    std::string wrong;
    const Json config = context.completed(example, wrong);
    if (!wrong.empty()) Context::blocked_by("schema/examples_are_valid");
    const Attempt made = attempt(context, config.dump());
    if (made.status != EPHOR_OK) {
      Context::fail("create failed with " + made.described + " for its example " + example.dump(),
                    "an instance");
    }
  }
  context.note(std::to_string(examples.size()) + " examples");
}

// Configurations that create refuses, as many as there are: of the schema's neighbours and of what
// is no JSON.
std::vector<std::string> refused_configs(Context& context) {
  ConfigMaker maker(context.schema(), context.config(), context.random());
  std::vector<std::string> texts{"{", ""};
  for (const ConfigMaker::Case& one : maker.refused()) texts.push_back(one.config.dump());
  std::vector<std::string> out;
  for (std::string& text : texts) {
    Subject subject(context);
    if (subject.create(text) != EPHOR_OK) out.push_back(std::move(text));
  }
  if (out.empty()) Context::skip("create takes every configuration");
  return out;
}

void failure_leaves_out_alone(Context& context) {
  for (const std::string& text : refused_configs(context)) {
    const Attempt made = attempt(context, text);
    if (made.status == EPHOR_OK || made.is_out_untouched) continue;
    Context::fail("that create wrote to out and failed with " + made.described,
                  "an out that is written last, when nothing can fail any more");
  }
}

void failure_is_explained(Context& context) {
  for (const std::string& text : refused_configs(context)) {
    Subject subject(context);
    if (subject.create(text) == EPHOR_OK) continue;
    require_no(subject.host(), {Rule::errors});
    Context::expect(subject.error().message[0] != '\0', "a failure without a message",
                    "what was found and what was expected");
  }
}

void failure_leaves_nothing(Context& context) {
  const std::vector<std::string> texts = refused_configs(context);
  const auto fail_all = [&](int rounds) {
    for (int i = 0; i < rounds; ++i)
      (void)attempt(context, texts[static_cast<std::size_t>(i) % texts.size()]);
  };
  fail_all(static_cast<int>(std::max<std::size_t>(30, texts.size())));
  const std::size_t thread_count = threads().size();
  const std::size_t descriptor_count = open_descriptors().size();
  const allocations::Usage before = allocations::usage();
  constexpr int kRounds = 100;
  const int rounds = std::max<int>(kRounds, static_cast<int>(texts.size()));
  fail_all(rounds);
  const allocations::Usage after = allocations::usage();
  const std::size_t threads_now = threads_after_wait(thread_count, 200);
  Context::expect(threads_now <= thread_count,
                  std::to_string(threads_now - thread_count) + " more threads after " +
                      std::to_string(rounds) + " failed creates",
                  "none");
  const std::size_t descriptors_now = open_descriptors().size();
  Context::expect(descriptors_now <= descriptor_count,
                  std::to_string(descriptors_now - descriptor_count) + " more open descriptors",
                  "none");
  if (!allocations::is_counted()) return;
  const std::int64_t blocks = after.blocks - before.blocks;
  Context::expect(blocks < rounds / 4,
                  std::to_string(blocks) + " more blocks of memory (" +
                      std::to_string(after.bytes - before.bytes) + " bytes) after " +
                      std::to_string(rounds) + " failed creates",
                  "what was taken given back");
}

}  // namespace

std::vector<Check> config_checks() {
  return {
      {"config/default_creates", "create succeeds with its defaults (or with --config).",
       "Nobody can try it otherwise.", &default_creates},
      {"config/random_valid",
       "create takes 250 random valid configurations, or refuses with a reason and a place.",
       "What the schema allows, a user will write.", &random_valid},
      {"config/bounds",
       "create takes the bounds of each key, or refuses with a reason and a place.",
       "Zero, the least, the greatest, the empty and the longest are where code is wrong.",
       &bounds},
      {"config/survives_invalid", "create survives configurations that its schema refuses.",
       "A schema and the code behind it drift apart; an error is then better than a crash.",
       &survives_invalid},
      {"config/survives_bad_json", "create survives text that is no JSON object.",
       "One bad byte must not end the host.", &survives_bad_json},
      {"config/any_notation", "create reads JSON in any notation.",
       "The order of keys, blanks and escapes are the host's choice.", &any_notation},
      {"config/tolerates_unknown_keys", "create tolerates unknown keys that its schema allows.",
       "What the schema promises must hold.", &tolerates_unknown_keys},
      {"config/examples_create", "create succeeds with each example of its schema.",
       "People begin with the examples.", &examples_create},
      {"config/failure_is_explained", "A failed create says why.",
       "\"create failed\" costs the user an evening.", &failure_is_explained},
      {"config/failure_leaves_out_alone", "A failed create writes nothing to out.",
       "A half-filled table looks like a plugin to whoever cleans up.", &failure_leaves_out_alone},
      {"config/failure_leaves_nothing", "Failed creates leave no thread, descriptor or memory.",
       "A host that tries again and again would run out of them.", &failure_leaves_nothing},
  };
}

}  // namespace ephor::host::check
