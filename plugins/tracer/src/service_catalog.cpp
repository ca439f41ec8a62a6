// SPDX-License-Identifier: Apache-2.0
#include "service_catalog.hpp"

#include <ephor/text_hash.hpp>

namespace ephor::tracer {

void ServiceCatalog::add(std::string_view service, std::string_view operation,
                         std::string_view kind) {
  const std::uint64_t hash = hash64(service) * 3 + hash64(operation) * 5 + hash64(kind);
  if (known_.contains(hash)) return;
  if (known_.size() >= entries_max_) {
    ++left_out_;
    return;
  }
  known_.insert(hash);
  services_[std::string(service)][std::string(operation)].emplace(kind);
}

void ServiceCatalog::write(StateWriter& out) const {
  out.varint(left_out_).varint(known_.size());
  for (const auto& [service, operations] : services_) {
    for (const auto& [operation, kinds] : operations) {
      for (const std::string& kind : kinds) out.text(service).text(operation).text(kind);
    }
  }
}

void ServiceCatalog::read(StateReader& in) {
  left_out_ = in.varint();
  for (std::size_t left = in.count(3); left > 0; --left) {
    const std::string_view service = in.view();
    const std::string_view operation = in.view();
    add(service, operation, in.view());
  }
}

}  // namespace ephor::tracer
