// SPDX-License-Identifier: Apache-2.0
//
// Configurations made from a schema: random valid ones, those at its bounds, and neighbours that it
// refuses. The schema has passed schema/keywords_are_used_rightly.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace ephor::host::check {

class ConfigMaker {
 public:
  using Json = nlohmann::json;
  // `base`: a valid configuration with its defaults; what is not changed is taken from it.
  ConfigMaker(const Json& schema, Json base, std::mt19937_64& random)
      : schema_(schema), base_(std::move(base)), random_(random) {}

  // Valid by the schema: some keys changed to values all over their range.
  Json random_valid();

  struct Case {
    std::string what;  // "/bins = 2 (its minimum)"
    Json config;
  };
  // For each key one configuration per bound: least, greatest, empty, longest, first and last
  // choice, unusual text. All valid by the schema.
  std::vector<Case> at_bounds();
  // For each key one value of another type, beyond each bound and outside of the choices; a missing
  // required key; an unknown one. All refused by the schema.
  std::vector<Case> refused();

  // One value that `schema` takes. `depth` bounds objects within objects.
  Json value_of(const Json& schema, int depth = 0);

 private:
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }
  Json number_of(const Json& schema, bool is_integer);
  Json text_of(const Json& schema);
  Json array_of(const Json& schema, int depth);
  Json object_of(const Json& schema, int depth);
  bool takes(const Json& schema, const Json& value) const;
  void add_valid(std::vector<Case>& cases, const std::string& key, const Json& value,
                 const char* which);

  const Json& schema_;
  Json base_;
  std::mt19937_64& random_;
};

// The type a value of this schema has mostly: the first of a list that is not null.
std::string main_type(const nlohmann::json& schema);

}  // namespace ephor::host::check
