// SPDX-License-Identifier: Apache-2.0
#include "smtp.hpp"

#include <Poco/Net/Context.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SecureSMTPClientSession.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Net/SocketAddress.h>

#include <algorithm>
#include <sstream>

namespace ephor::reporter {
namespace {

constexpr std::size_t kErrorMost = 300;

// Lines that begin with a dot get a second one; every line ends with CRLF; the closing dot.
std::string as_data(const std::string& message) {
  std::string out;
  out.reserve(message.size() + 64);
  bool is_line_begin = true;
  for (const char c : message) {
    if (c == '\r') continue;
    if (is_line_begin && c == '.') out += '.';
    if (c == '\n') out += '\r';
    out += c;
    is_line_begin = c == '\n';
  }
  return out + (is_line_begin ? ".\r\n" : "\r\n.\r\n");
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (text.size() > kErrorMost) text.resize(kErrorMost);
  return text;
}

struct Refused {
  int status;
  std::string text;
};

class Conversation : public Poco::Net::SecureSMTPClientSession {
 public:
  explicit Conversation(const Poco::Net::StreamSocket& socket) : SecureSMTPClientSession(socket) {}

  // The capabilities the server names.
  std::string greet() {
    std::string response;
    login("ephor.localhost", response);
    return response;
  }
  void secure(const std::string& host_name) {
    command("STARTTLS");
    const Poco::Net::Context::Ptr context = new Poco::Net::Context(
        Poco::Net::Context::TLS_CLIENT_USE, "", Poco::Net::Context::VERIFY_STRICT, 9, true);
    socket() = Poco::Net::SecureStreamSocket::attach(socket(), host_name, context);
  }
  void authenticate(const std::string& capabilities, const SmtpSettings& settings) {
    const bool has_plain = capabilities.find("PLAIN") != std::string::npos;
    login("ephor.localhost", has_plain ? AUTH_PLAIN : AUTH_LOGIN, settings.user, settings.password);
  }
  // Throws Refused on anything but 2xx and 3xx.
  void command(const std::string& text) {
    std::string response;
    const int status = sendCommand(text, response);
    if (status < 200 || status >= 400) throw Refused{status, response};
  }
  void put(const std::string& data) {
    std::istringstream in(data);
    sendMessage(in);
  }
};

}  // namespace

std::int64_t retry_pause_s(std::int64_t attempts, std::int64_t first_pause_s) {
  constexpr std::int64_t kMost = 3600;
  std::int64_t pause = std::min(first_pause_s, kMost);
  for (std::int64_t i = 1; i < attempts && pause < kMost; ++i) pause *= 2;
  return std::min(pause, kMost);
}

void SmtpClient::cancel() {
  const std::lock_guard lock(mutex_);
  is_cancelled_ = true;
  if (!socket_) return;
  try {
    socket_->shutdown();
  } catch (const Poco::Exception&) {
    // It was not connected yet, or not any more.
  }
}

Outcome SmtpClient::send(const std::string& recipient, const std::string& message) {
  // Refusals before this are about us and our account, not about the mail: worth another try.
  bool is_about_mail = false;
  const auto failed = [&](int status, const std::string& text) {
    const bool is_dead = is_about_mail && status >= 500 && status < 600;
    return Outcome{is_dead ? Delivered::dead : Delivered::deferred,
                   one_line((status > 0 ? std::to_string(status) + " " : "") + text)};
  };
  Outcome outcome;
  try {
    const Poco::Timespan timeout(settings_.timeout_s, 0);
    Poco::Net::StreamSocket socket;
    {
      const std::lock_guard lock(mutex_);
      if (is_cancelled_) return {Delivered::deferred, "stopped"};
      socket_ = socket;
    }
    socket.connect(Poco::Net::SocketAddress(settings_.host, settings_.port), timeout);
    socket.setReceiveTimeout(timeout);
    socket.setSendTimeout(timeout);
    Conversation conversation(socket);
    conversation.setTimeout(timeout);
    std::string capabilities = conversation.greet();
    if (settings_.has_starttls) {
      if (capabilities.find("STARTTLS") == std::string::npos)
        throw Refused{0, "the server offers no STARTTLS, and nothing is sent without"};
      conversation.secure(settings_.host);
      capabilities = conversation.greet();
    }
    if (!settings_.user.empty()) conversation.authenticate(capabilities, settings_);
    is_about_mail = true;
    conversation.command("MAIL FROM:<" + settings_.from + ">");
    conversation.command("RCPT TO:<" + recipient + ">");
    conversation.command("DATA");
    conversation.put(as_data(message));
    outcome = {Delivered::sent, ""};
    conversation.close();
  } catch (const Refused& refused) {
    if (outcome.delivered != Delivered::sent) outcome = failed(refused.status, refused.text);
  } catch (const Poco::Net::SMTPException& failure) {
    if (outcome.delivered != Delivered::sent)
      outcome = failed(failure.code(), failure.displayText());
  } catch (const Poco::Exception& failure) {
    if (outcome.delivered != Delivered::sent) outcome = failed(0, failure.displayText());
  } catch (const std::exception& failure) {
    if (outcome.delivered != Delivered::sent) outcome = failed(0, failure.what());
  }
  const std::lock_guard lock(mutex_);
  socket_.reset();
  return outcome;
}

}  // namespace ephor::reporter
