// SPDX-License-Identifier: Apache-2.0
//
// Which services there are and what they do: service -> operation -> kinds of its spans. Grows with
// the program that is traced, not with its traffic; what is beyond the bounds is counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>

namespace ephor::tracer {

class ServiceCatalog {
 public:
  using Operations = std::map<std::string, std::set<std::string>, std::less<>>;  // -> span kinds
  using Services = std::map<std::string, Operations, std::less<>>;

  // `entries_max`: (service, operation, kind) triples remembered.
  explicit ServiceCatalog(std::size_t entries_max) : entries_max_(entries_max) {}

  // O(1) for what is known.
  void add(std::string_view service, std::string_view operation, std::string_view kind);

  const Services& services() const { return services_; }
  std::uint64_t left_out() const { return left_out_; }  // spans beyond the bound

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t entries_max_;
  Services services_;
  std::unordered_set<std::uint64_t> known_;  // hashes of the triples
  std::uint64_t left_out_ = 0;
};

}  // namespace ephor::tracer
