// SPDX-License-Identifier: Apache-2.0
//
// A mail server on this machine that misbehaves on request.
#pragma once

#include <Poco/Exception.h>
#include <Poco/Net/DialogSocket.h>
#include <Poco/Net/ServerSocket.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace ephor::reporter::testing {

class SmtpServer {
 public:
  struct Received {
    std::string sender;
    std::string recipient;
    std::string data;
  };

  SmtpServer() : socket_(Poco::Net::SocketAddress("127.0.0.1", 0)), thread_([this] { serve(); }) {}
  ~SmtpServer() {
    is_over_ = true;
    try {
      Poco::Net::StreamSocket(socket_.address()).close();  // wakes accept
    } catch (const Poco::Exception&) {
    }
    thread_.join();
  }

  std::uint16_t port() const { return socket_.address().port(); }
  // What RCPT TO of this recipient is answered with, so many times.
  void answer_recipient(const std::string& recipient, const std::string& reply, int times) {
    const std::lock_guard lock(mutex_);
    recipients_[recipient] = {reply, times};
  }
  // So many connections are greeted like this, and closed.
  void greet_with(const std::string& greeting, int times) {
    const std::lock_guard lock(mutex_);
    greeting_ = {greeting, times};
  }
  // So many times the data is taken, and the connection dropped without an answer.
  void drop_after_data(int times) {
    const std::lock_guard lock(mutex_);
    drops_ = times;
  }
  std::vector<Received> received() const {
    const std::lock_guard lock(mutex_);
    return received_;
  }
  int connections() const { return connections_; }

 private:
  void serve() {
    for (;;) {
      Poco::Net::StreamSocket client = socket_.acceptConnection();
      if (is_over_) return;
      ++connections_;
      try {
        client.setReceiveTimeout(Poco::Timespan(5, 0));
        Poco::Net::DialogSocket dialog(client);
        talk(dialog);
      } catch (const Poco::Exception&) {
      }
    }
  }

  void talk(Poco::Net::DialogSocket& dialog) {
    {
      const std::lock_guard lock(mutex_);
      if (greeting_.second > 0) {
        --greeting_.second;
        dialog.sendMessage(greeting_.first);
        return;
      }
    }
    dialog.sendMessage("220 test");
    Received mail;
    std::string line;
    while (dialog.receiveMessage(line)) {
      if (line.starts_with("EHLO")) {
        dialog.sendMessage("250-test");
        dialog.sendMessage("250 SIZE 1000000");
      } else if (line.starts_with("MAIL FROM:")) {
        mail = {line.substr(10), "", ""};
        dialog.sendMessage("250 ok");
      } else if (line.starts_with("RCPT TO:<")) {
        mail.recipient = line.substr(9, line.size() - 10);
        dialog.sendMessage(recipient_reply(mail.recipient));
      } else if (line == "DATA") {
        dialog.sendMessage("354 go on");
        while (dialog.receiveMessage(line) && line != ".")
          mail.data += (line.starts_with("..") ? line.substr(1) : line) + "\n";
        const std::lock_guard lock(mutex_);
        received_.push_back(mail);
        if (drops_ > 0) {
          --drops_;
          return;
        }
        dialog.sendMessage("250 taken");
      } else {
        dialog.sendMessage(line == "QUIT" ? "221 bye" : "502 what?");
        if (line == "QUIT") return;
      }
    }
  }

  std::string recipient_reply(const std::string& recipient) {
    const std::lock_guard lock(mutex_);
    const auto found = recipients_.find(recipient);
    if (found == recipients_.end() || found->second.second == 0) return "250 ok";
    --found->second.second;
    return found->second.first;
  }

  Poco::Net::ServerSocket socket_;
  std::atomic<bool> is_over_{false};
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, std::pair<std::string, int>> recipients_;
  std::pair<std::string, int> greeting_{"", 0};
  int drops_ = 0;
  std::vector<Received> received_;
  std::thread thread_;
};

}  // namespace ephor::reporter::testing
