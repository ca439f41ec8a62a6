// SPDX-License-Identifier: Apache-2.0
//
// The anchor of script/bench http: Poco's own HTTP server, a thread for each connection, that says
// 213 bytes of JSON to every request. Prints its port and serves until its standard input ends.
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/ServerSocket.h>

#include <iostream>
#include <string>

namespace {

constexpr int kThreads = 300;

const std::string& text() {
  static const std::string kText = R"({"data":")" + std::string(202, 'x') + "\"}";
  return kText;
}

class Handler final : public Poco::Net::HTTPRequestHandler {
  void handleRequest(Poco::Net::HTTPServerRequest&,
                     Poco::Net::HTTPServerResponse& response) override {
    response.setContentType("application/json");
    response.sendBuffer(text().data(), text().size());
  }
};

class Factory final : public Poco::Net::HTTPRequestHandlerFactory {
  Poco::Net::HTTPRequestHandler* createRequestHandler(
      const Poco::Net::HTTPServerRequest&) override {
    return new Handler;
  }
};

}  // namespace

int main() {
  Poco::Net::ServerSocket socket(Poco::Net::SocketAddress("127.0.0.1", 0), 1024);
  Poco::Net::HTTPServerParams::Ptr parameters = new Poco::Net::HTTPServerParams;
  parameters->setMaxThreads(kThreads);
  parameters->setMaxQueued(1024);
  Poco::ThreadPool pool(2, kThreads + 2, 60, 256 * 1024);
  Poco::Net::HTTPServer server(new Factory, pool, socket, parameters);
  server.start();
  std::cout << socket.address().port() << std::endl;
  std::cin.get();
  server.stopAll(true);
}
