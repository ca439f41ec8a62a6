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
#include "head.hpp"
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
  // Who may come in through which entrance.
  struct Guards {
    const Access& main;
    const Access& ingest;
  };
  Api(const Host& host, const Options& options, const Guards& guards, Callbacks callbacks);

  // [any] Never throws. The answer has its correlation id, as-of sequence and all other headers but
  // those of the connection; its body is compressed where the client takes it.
  Answer answer(const Poco::Net::HTTPRequest& request, Body& body,
                Entrance entrance = Entrance::main);

  // [any] To a request that no thread will look at; `request` is null where its head could not be
  // read. Never throws.
  Answer refuse(const Poco::Net::HTTPRequest* request, Entrance entrance, const Refusal& refusal);

  // [any] What GET of `target` ("/api/performance?symbol=X") would answer to a token of scope read;
  // plugins' routes only. Never throws.
  Answer look(std::string_view target);

  // Bodies that wait to be taken in.
  int waiting_bodies() { return ingest_.waiting(); }

 private:
  // What a request turned out to ask for, as far as that is known when it fails.
  struct Found {
    std::string route = "(unknown)";
    Builtin builtin = Builtin::query;
  };
  Answer route(const Poco::Net::HTTPRequest& request, Body& body, Entrance entrance, Found& found);
  Answer take(const Endpoint& endpoint, const Target& target, const Poco::Net::HTTPRequest& request,
              Body& body, std::string_view token_name);
  Answer call_builtin(const Endpoint& endpoint, const Router& router, const Target& target,
                      const Poco::Net::HTTPRequest& request, Body& body, std::string_view source);
  Answer call_query(const Endpoint& endpoint, const Router::Match& match, const Target& target,
                    const Poco::Net::HTTPRequest& request, Body& body);
  Answer ask(const Endpoint& endpoint, const Router::Match& match, const Target& target,
             std::string_view body_json);
  Answer health(std::string_view member);
  Answer metrics();
  Answer upgrade(const Target& target, const Poco::Net::HTTPRequest& request);
  Answer preflight(const Poco::Net::HTTPRequest& request, const std::string& allow,
                   const Access& access);
  void finish(const Poco::Net::HTTPRequest& request, const Access& access, Answer& answer);
  const Access& access(Entrance entrance) const {
    return entrance == Entrance::ingest ? guards_.ingest : guards_.main;
  }

  const Host& host_;
  const Options& options_;
  const Guards guards_;
  Callbacks callbacks_;
  const ephor_query* query_;
  const ephor_journal* journal_;
  Ingest ingest_;
  RouteTable routes_;
  RequestMetrics metrics_;
};

}  // namespace ephor::http_api
