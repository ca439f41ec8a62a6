// SPDX-License-Identifier: Apache-2.0
#include <random>
#include <unordered_map>
#include <vector>

#include "hash_index.hpp"
#include "support/catch.hpp"

using ephor::ml_monitor::HashIndex;

// std::unordered_map is the second implementation. Few different low bits make long probe runs that
// wrap round the table, which is where deletion by shifting back can go wrong.
TEST_CASE("hash index: finds what a map finds under random inserts and erases", "[unit][ml]") {
  for (const std::uint64_t spread : {std::uint64_t{7}, std::uint64_t{200}, ~std::uint64_t{0}}) {
    std::mt19937_64 random(spread);
    HashIndex index;
    std::vector<std::uint64_t> hashes;  // by reference
    std::unordered_map<std::uint32_t, bool> is_there;
    for (int step = 0; step < 6'000; ++step) {
      if (hashes.empty() || random() % 3 != 0) {
        // Near the end of the 32-bit tags, so that runs cross it.
        hashes.push_back(0xFFFFFFFFULL - random() % spread);
        const auto reference = static_cast<std::uint32_t>(hashes.size() - 1);
        index.insert(hashes.back(), reference);
        is_there[reference] = true;
      } else {
        const auto reference = static_cast<std::uint32_t>(random() % hashes.size());
        if (is_there[reference]) {
          index.erase(hashes[reference], reference);
          is_there[reference] = false;
        }
      }
      if (step % 500 != 0) continue;
      std::size_t count = 0;
      for (std::uint32_t reference = 0; reference < hashes.size(); ++reference) {
        const std::uint32_t found =
            index.find(hashes[reference], [&](std::uint32_t at) { return at == reference; });
        CHECK((found == reference) == is_there[reference]);
        count += is_there[reference] ? 1 : 0;
      }
      CHECK(index.size() == count);
    }
  }
}
