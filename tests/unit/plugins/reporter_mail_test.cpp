// SPDX-License-Identifier: Apache-2.0
#include <ephor/plugin.hpp>

#include "files.hpp"
#include "mail_message.hpp"
#include "smtp.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::reporter;

namespace {

Mail mail_to(const std::string& recipient) {
  Mail mail;
  mail.from = "ephor@example.org";
  mail.to = recipient;
  mail.subject = "Ephor performance report";
  mail.message_id = message_id_of("performance-daily-2017-11-08", recipient, mail.from);
  mail.date_ns = 1'510'099'500'000'000'000;
  mail.html = "<p>\xC3\xA9</p>";
  mail.attachments.push_back({"r.json", "application/json", "{}"});
  return mail;
}

}  // namespace

// RFC 4648, section 10.
TEST_CASE("base64: the vectors of RFC 4648", "[unit][reporter]") {
  CHECK(base64("", 0).empty());
  CHECK(base64("f", 0) == "Zg==");
  CHECK(base64("fo", 0) == "Zm8=");
  CHECK(base64("foo", 0) == "Zm9v");
  CHECK(base64("foob", 0) == "Zm9vYg==");
  CHECK(base64("foobar", 0) == "Zm9vYmFy");
  CHECK(base64("foobar", 4) == "Zm9v\r\nYmFy");
}

// FIPS 180-2, appendix B.1.
TEST_CASE("sha256: the vector of FIPS 180-2", "[unit][reporter]") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("mail address: nothing that could end a header or a command", "[unit][reporter]") {
  CHECK(is_mail_address("a@b"));
  CHECK(is_mail_address("first.last+tag@sub.example.org"));
  for (const char* bad : {"", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\r\nRCPT TO:<x@y>", "<a@b>",
                          "a@b,c@d", "a@b>", "\"a\"@b", "a\xC3\xA9@b", "-f@b"}) {
    INFO(bad);
    CHECK_FALSE(is_mail_address(bad));
  }
}

TEST_CASE("mail: headers and parts are as they must be on the wire", "[unit][reporter]") {
  const std::string text = compose(mail_to("desk@example.org"));
  CHECK(text.starts_with("From: Ephor <ephor@example.org>\r\nTo: <desk@example.org>\r\n"));
  CHECK(text.find("Date: Wed, 08 Nov 2017 00:05:00 +0000\r\n") != std::string::npos);
  CHECK(text.find("Auto-Submitted: auto-generated\r\n") != std::string::npos);
  CHECK(text.find("filename=\"r.json\"\r\n") != std::string::npos);
  CHECK(text.find("\r\n\r\n" + base64("{}", 76) + "\r\n") != std::string::npos);
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; ++at)
    CHECK((at > 0 && text[at - 1] == '\r'));
  for (const char c : text) CHECK(static_cast<unsigned char>(c) < 0x80);
}

TEST_CASE("mail: the Message-ID is the same for every try and another for each recipient",
          "[unit][reporter]") {
  const std::string one = message_id_of("r1", "a@b", "e@x.org");
  CHECK(one == message_id_of("r1", "a@b", "e@x.org"));
  CHECK(one != message_id_of("r1", "c@b", "e@x.org"));
  CHECK(one != message_id_of("r2", "a@b", "e@x.org"));
  CHECK(one.ends_with("@x.org>"));
}

TEST_CASE("mail: a header cannot be injected", "[unit][reporter]") {
  Mail mail = mail_to("desk@example.org");
  mail.subject = "hello\r\nBcc: everyone@example.org";
  CHECK_THROWS_AS(compose(mail), ephor::Error);
  mail = mail_to("desk@example.org\r\nBcc: everyone@example.org");
  CHECK_THROWS_AS(compose(mail), ephor::Error);
  mail = mail_to("desk@example.org");
  mail.attachments[0].name = "a\"\r\nX: y";
  CHECK_THROWS_AS(compose(mail), ephor::Error);
}

TEST_CASE("mail: a subject beyond ASCII is words of at most 75 characters", "[unit][reporter]") {
  std::string subject;
  for (int i = 0; i < 60; ++i) subject += "\xC3\xBC";
  const std::string header = encoded_header(subject);
  std::size_t begin = 0;
  std::size_t words = 0;
  while (begin < header.size()) {
    const std::size_t end = std::min(header.find("\r\n ", begin), header.size());
    const std::string word = header.substr(begin, end - begin);
    CHECK(word.size() <= 75);
    CHECK(word.starts_with("=?UTF-8?B?"));
    CHECK(word.ends_with("?="));
    ++words;
    begin = end + 3;
  }
  CHECK(words == 3);
  CHECK(encoded_header("plain") == "plain");
  CHECK(encoded_header("=?x") != "=?x");
}

TEST_CASE("mail: pauses between tries double up to an hour", "[unit][reporter]") {
  CHECK(retry_pause_s(1, 60) == 60);
  CHECK(retry_pause_s(2, 60) == 120);
  CHECK(retry_pause_s(6, 60) == 1920);
  CHECK(retry_pause_s(7, 60) == 3600);
  CHECK(retry_pause_s(1000, 60) == 3600);
}

TEST_CASE("files: written whole, and read back", "[unit][reporter]") {
  const ephor::testing::TemporaryDirectory folder;
  const auto file = folder.path() / "deep" / "a.txt";
  write_file(file, "one");
  write_file(file, "two");
  CHECK(read_file(file) == "two");
  CHECK_FALSE(std::filesystem::exists(file.string() + ".tmp"));
  CHECK_THROWS_AS(read_file(folder.path() / "b"), ephor::Error);
}
