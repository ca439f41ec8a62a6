// SPDX-License-Identifier: Apache-2.0
#include "http_post.hpp"

#include <Poco/Exception.h>
#include <Poco/Net/Context.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPSClientSession.h>
#include <Poco/Timespan.h>
#include <Poco/URI.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <istream>
#include <memory>
#include <ostream>

namespace ephor::alerter {
namespace {

using Poco::Net::HTTPClientSession;
using Poco::Net::HTTPRequest;

constexpr std::size_t kAnswerShown = 200;
constexpr std::int64_t kLookUpUs = 50'000;

std::unique_ptr<HTTPClientSession> session_to(const Poco::URI& uri) {
  if (uri.getScheme() != "https") {
    return std::make_unique<HTTPClientSession>(uri.getHost(), uri.getPort());
  }
  const Poco::Net::Context::Ptr context = new Poco::Net::Context(
      Poco::Net::Context::TLS_CLIENT_USE, "", Poco::Net::Context::VERIFY_RELAXED, 9, true);
  return std::make_unique<Poco::Net::HTTPSClientSession>(uri.getHost(), uri.getPort(), context);
}

// In short steps, so that a stop need not wait for the other side.
void wait_for_answer(HTTPClientSession& session, double timeout_s,
                     const std::atomic<bool>& is_aborted) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  const Poco::Timespan step(kLookUpUs);
  while (!session.socket().poll(step, Poco::Net::Socket::SELECT_READ)) {
    if (is_aborted) throw Poco::IOException("the plugin is stopping");
    if (std::chrono::steady_clock::now() >= deadline) throw Poco::TimeoutException("no answer");
  }
}

}  // namespace

PostResult HttpPoster::post(const PostRequest& request) noexcept {
  PostResult result;
  try {
    const Poco::URI uri(request.url);
    const auto session = session_to(uri);
    const Poco::Timespan timeout(static_cast<std::int64_t>(request.timeout_s * 1e6));
    session->setTimeout(timeout, timeout, timeout);
    if (is_aborted_) throw Poco::IOException("the plugin is stopping");
    std::string path = uri.getPathAndQuery();
    if (path.empty()) path = "/";
    HTTPRequest head(HTTPRequest::HTTP_POST, path, HTTPRequest::HTTP_1_1);
    head.setContentType("application/json");
    head.setContentLength64(static_cast<std::int64_t>(request.body.size()));
    head.set("User-Agent", "ephor-alerter");
    for (const auto& [name, value] : request.headers) head.set(name, value);
    session->sendRequest(head) << request.body << std::flush;
    wait_for_answer(*session, request.timeout_s, is_aborted_);
    Poco::Net::HTTPResponse response;
    std::istream& answer = session->receiveResponse(response);
    result.status = static_cast<int>(response.getStatus());
    if (!result.is_good()) {
      std::string text(kAnswerShown, '\0');
      answer.read(text.data(), static_cast<std::streamsize>(text.size()));
      text.resize(static_cast<std::size_t>(answer.gcount()));
      result.problem = "answered " + std::to_string(result.status) + " " + response.getReason() +
                       (text.empty() ? "" : ": " + text);
    }
  } catch (const Poco::Exception& failure) {
    result.status = 0;
    result.problem = failure.displayText();
  } catch (const std::exception& failure) {
    result.status = 0;
    result.problem = failure.what();
  }
  return result;
}

}  // namespace ephor::alerter
