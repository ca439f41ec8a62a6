// SPDX-License-Identifier: Apache-2.0
//
// What the public suite of W3C trace context talks to: POST any path with [{"url", "arguments"}];
// each url is called by POST with its arguments as body, below the span of the request. A program
// of the tests, never of the product: calling what one is told to call is a hole by design, so it
// serves loopback only. Prints "listening on http://127.0.0.1:PORT/" and ends with its standard
// input.
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/URI.h>

#include <ephor/propagation.hpp>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace {

namespace propagation = ephor::propagation;

void call(const propagation::Context& parent, const nlohmann::json& action) {
  const Poco::URI target(action.at("url").get<std::string>());
  if (target.getHost() != "127.0.0.1" && target.getHost() != "localhost") {
    throw std::runtime_error("found host " + target.getHost() + ", expected this machine");
  }
  Poco::Net::HTTPClientSession session(target.getHost(), target.getPort());
  session.setTimeout(Poco::Timespan(5, 0));
  Poco::Net::HTTPRequest request("POST", target.getPathAndQuery(), "HTTP/1.1");
  propagation::inject(propagation::child_of(parent), [&](std::string_view name, std::string value) {
    request.add(std::string(name), value);
  });
  const std::string body = action.value("arguments", nlohmann::json::array()).dump();
  request.setContentType("application/json");
  request.setContentLength64(static_cast<Poco::Int64>(body.size()));
  session.sendRequest(request) << body;
  Poco::Net::HTTPResponse response;
  std::istream& answer = session.receiveResponse(response);
  answer.ignore(std::numeric_limits<std::streamsize>::max());
}

class Handler final : public Poco::Net::HTTPRequestHandler {
 public:
  void handleRequest(Poco::Net::HTTPServerRequest& request,
                     Poco::Net::HTTPServerResponse& response) override {
    propagation::HeaderList headers;
    for (const auto& header : request) headers.add(header.first, header.second);
    const propagation::Context mine = propagation::continue_from(propagation::extract(headers));
    nlohmann::json answer = {{"trace_id", mine.trace_id.hex()},
                             {"correlation_id", mine.correlation_id}};
    try {
      for (const auto& action : nlohmann::json::parse(request.stream())) call(mine, action);
    } catch (const std::exception& error) {
      response.setStatus(Poco::Net::HTTPResponse::HTTP_BAD_REQUEST);
      answer["error"] = error.what();
    }
    const std::string text = answer.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    response.setContentType("application/json");
    response.sendBuffer(text.data(), text.size());
  }
};

class Factory final : public Poco::Net::HTTPRequestHandlerFactory {
 public:
  Poco::Net::HTTPRequestHandler* createRequestHandler(
      const Poco::Net::HTTPServerRequest&) override {
    return new Handler;
  }
};

}  // namespace

int main() {
  const Poco::Net::ServerSocket socket(Poco::Net::SocketAddress("127.0.0.1", 0));
  Poco::Net::HTTPServer server(new Factory, socket, new Poco::Net::HTTPServerParams);
  server.start();
  std::cout << "listening on http://127.0.0.1:" << socket.address().port() << "/" << std::endl;
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
  server.stopAll(true);
}
