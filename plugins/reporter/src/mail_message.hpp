// SPDX-License-Identifier: Apache-2.0
//
// One mail as the text that goes over the wire: seven bits, CRLF, every value that came from
// outside checked or encoded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::reporter {

struct Attachment {
  std::string name;
  std::string content_type;
  std::string bytes;
};

struct Mail {
  std::string from;
  std::string to;
  std::string subject;
  std::string message_id;  // "<...@...>"
  std::int64_t date_ns = 0;
  std::string html;
  std::vector<Attachment> attachments;
};

// name@host of visible ASCII, without what could end a header or an SMTP command.
bool is_mail_address(std::string_view text);

// The same for every try of the same report and recipient, so that a server or a reader can drop
// the twin of a mail whose first try broke off after the data.
std::string message_id_of(std::string_view report_id, std::string_view recipient,
                          std::string_view from);

// Throws Error(EPHOR_INVALID) on an address that is none or a header value with a line break.
std::string compose(const Mail& mail);

// A header's value: as it is, or RFC 2047 words of at most 75 characters, folded.
std::string encoded_header(std::string_view text);
std::string base64(std::string_view bytes, std::size_t line_length);  // 0: one line

}  // namespace ephor::reporter
