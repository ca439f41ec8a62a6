// SPDX-License-Identifier: Apache-2.0
//
// Text work around SQL that needs no database.
#pragma once

#include <string>
#include <string_view>

namespace ephor::host {

// One SELECT of a plugin, checked and made fit for SOCI's parser: comments are gone, '?' outside of
// literals became :p1, :p2 ... if `named` (else stays), a trailing ';' is gone.
struct SelectText {
  std::string sql;
  unsigned parameter_count = 0;
};

// HostError EPHOR_INVALID if the text is not a single SELECT or WITH. It is a first line only: that
// nothing is written is held by the connection.
SelectText check_select(std::string_view sql, bool named);

// "name" in double quotes.
std::string quoted_name(std::string_view name);

// The same text in valid UTF-8 without NUL; what is neither becomes U+FFFD. PostgreSQL refuses
// both.
void make_strict_utf8(std::string& text);

std::string bytes_of_hex(std::string_view hex);  // stops at the first pair that is no hex

}  // namespace ephor::host
