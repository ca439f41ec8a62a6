// SPDX-License-Identifier: Apache-2.0
#include "mail_message.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <ephor/plugin.hpp>

#include "files.hpp"

namespace ephor::reporter {
namespace {

constexpr std::size_t kLineLength = 76;

bool has_line_break(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

std::string padded(std::int64_t value, int digits) {
  std::string text = std::to_string(value);
  while (static_cast<int>(text.size()) < digits) text.insert(0, "0");
  return text;
}

// RFC 5322: "Wed, 08 Nov 2017 00:05:00 +0000".
std::string date_header(std::int64_t time_ns) {
  using namespace std::chrono;
  constexpr std::array<const char*, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto time = floor<seconds>(sys_time<nanoseconds>(nanoseconds(time_ns)));
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const std::int64_t second = (time - day).count();
  return std::string(kDays[weekday(day).c_encoding()]) + ", " +
         padded(static_cast<unsigned>(date.day()), 2) + " " +
         kMonths[static_cast<unsigned>(date.month()) - 1] + " " +
         padded(static_cast<int>(date.year()), 4) + " " + padded(second / 3600, 2) + ":" +
         padded(second / 60 % 60, 2) + ":" + padded(second % 60, 2) + " +0000";
}

std::string part(const std::string& boundary, const std::string& headers, std::string_view bytes) {
  return "--" + boundary + "\r\n" + headers + "Content-Transfer-Encoding: base64\r\n\r\n" +
         base64(bytes, kLineLength) + "\r\n";
}

}  // namespace

bool is_mail_address(std::string_view text) {
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == text.size() || text.size() > 254)
    return false;
  if (text.find('@', at + 1) != std::string_view::npos || text.front() == '-') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7F &&
           std::string_view("<>\"(),:;\\[]").find(c) == std::string_view::npos;
  });
}

std::string message_id_of(std::string_view report_id, std::string_view recipient,
                          std::string_view from) {
  return "<" + std::string(report_id) + "." + sha256_hex(recipient).substr(0, 16) + "@" +
         std::string(from.substr(from.find('@') + 1)) + ">";
}

std::string base64(std::string_view bytes, std::size_t line_length) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve(bytes.size() * 4 / 3 + bytes.size() / 28 + 8);
  std::size_t column = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    if (line_length != 0 && column == line_length) {
      out += "\r\n";
      column = 0;
    }
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<std::uint8_t>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : kDigits[group >> (18 - 6 * k) & 0x3F];
    column += 4;
  }
  return out;
}

std::string encoded_header(std::string_view text) {
  const bool is_plain =
      text.size() <= 60 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7F; }) &&
      text.find("=?") == std::string_view::npos;
  if (is_plain) return std::string(text);
  constexpr std::size_t kBytesMost = 42;  // 56 characters of base64 and the frame: below 75
  std::string out;
  while (!text.empty()) {
    std::size_t size = std::min(kBytesMost, text.size());
    // A character is not cut in two.
    while (size > 1 && size < text.size() &&
           (static_cast<std::uint8_t>(text[size]) & 0xC0U) == 0x80U) {
      --size;
    }
    out +=
        (out.empty() ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?") + base64(text.substr(0, size), 0) + "?=";
    text.remove_prefix(size);
  }
  return out;
}

std::string compose(const Mail& mail) {
  for (const std::string* address : {&mail.from, &mail.to}) {
    if (!is_mail_address(*address))
      throw Error(EPHOR_INVALID,
                  "found \"" + *address + "\", expected an address such as name@host");
  }
  if (has_line_break(mail.subject) || has_line_break(mail.message_id))
    throw Error(EPHOR_INVALID, "a mail header holds a line break or control character");
  // "_" is no digit of base64: no body can hold the boundary.
  const std::string boundary = "ephor_" + sha256_hex(mail.message_id).substr(0, 24);
  std::string out = "From: Ephor <" + mail.from + ">\r\nTo: <" + mail.to +
                    ">\r\nSubject: " + encoded_header(mail.subject) +
                    "\r\nDate: " + date_header(mail.date_ns) +
                    "\r\nMessage-ID: " + mail.message_id +
                    "\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n"
                    "List-Id: Ephor reports <reports.ephor.localhost>\r\n"
                    "Content-Type: multipart/mixed; boundary=\"" +
                    boundary + "\"\r\n\r\n";
  out += part(boundary, "Content-Type: text/html; charset=utf-8\r\n", mail.html);
  for (const Attachment& one : mail.attachments) {
    const bool is_plain =
        !one.name.empty() && std::all_of(one.name.begin(), one.name.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '.' || c == '-' || c == '_';
        });
    if (!is_plain || has_line_break(one.content_type))
      throw Error(EPHOR_INVALID, "an attachment's name is not plain");
    out += part(boundary,
                "Content-Type: " + one.content_type +
                    "\r\nContent-Disposition: attachment; "
                    "filename=\"" +
                    one.name + "\"\r\n",
                one.bytes);
  }
  return out + "--" + boundary + "--\r\n";
}

}  // namespace ephor::reporter
