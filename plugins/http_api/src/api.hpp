// SPDX-License-Identifier: Apache-2.0
//
// A request in, an answer out; knows no socket.
#pragma once

#include <Poco/Net/HTTPRequest.h>

#include <ephor/plugin.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "access.hpp"
#include "answer.hpp"
#include "body.hpp"
#include "ingest.hpp"
#include "options.hpp"
#include "route_table.hpp"

namespace ephor::http_api {

class Api {
 public:
  struct Callbacks {
    std::function<bool()> is_websocket_full;
    std::function<void()> update_gauges;  // before /metrics is rendered
  };
  Api(const Host& host, const Options& options, const Access& access, Callbacks callbacks);

  // [any] Never throws. The answer has its correlation id, as-of sequence and all other headers but
  // those of the connection; its body is compressed where the client takes it.
  Answer answer(const Poco::Net::HTTPRequest& request, Body& body);

  // [any] What GET of `target` ("/api/performance?symbol=X") would answer to a token of scope read;
  // plugins' routes only. Never throws.
  Answer look(std::string_view target);

  // For requests whose head could not be read.
  void count_unreadable(int status);

 private:
  Answer route(const Poco::Net::HTTPRequest& request, Body& body, std::string& route_name);
  Answer call_builtin(const Endpoint& endpoint, const Router& router, const Target& target,
                      const Poco::Net::HTTPRequest& request, Body& body, std::string_view source);
  Answer call_query(const Endpoint& endpoint, const Router::Match& match, const Target& target,
                    const Poco::Net::HTTPRequest& request, Body& body);
  Answer ask(const Endpoint& endpoint, const Router::Match& match, const Target& target,
             std::string_view body_json);
  Answer health(std::string_view member);
  Answer metrics();
  Answer upgrade(const Target& target, const Poco::Net::HTTPRequest& request);
  Answer preflight(const Poco::Net::HTTPRequest& request, const std::string& allow);
  void finish(const Poco::Net::HTTPRequest& request, Answer& answer);

  const Host& host_;
  const Options& options_;
  const Access& access_;
  Callbacks callbacks_;
  const ephor_query* query_;
  const ephor_journal* journal_;
  Ingest ingest_;
  RouteTable routes_;
  RequestMetrics metrics_;
};

}  // namespace ephor::http_api
