// SPDX-License-Identifier: Apache-2.0
//
// The head of a request (RFC 9112, 2 and 5) from bytes in memory, each limit with its own answer.
#pragma once

#include <Poco/Net/HTTPRequest.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ephor::http_api {

struct HeadLimits {
  std::size_t bytes_max = 0;  // of the whole head
  std::size_t uri_bytes_max = 0;
  std::size_t fields_max = 0;
};

// Why a request is turned away before anything looked at what it asks for.
struct Refusal {
  int status = 400;
  std::string_view code;
  std::string message;
};

// Requests that bring events in, and all others: each sort has threads of its own.
enum class Lane { reads, ingest };

// How many bytes the head takes, with the blank line that ends it; 0 while that line is missing.
// `scanned` remembers between calls how far `bytes`, which only grows, was looked through.
std::size_t head_size(std::string_view bytes, std::size_t& scanned);

// What is already wrong with a head of which `bytes` have come and the end has not.
std::optional<Refusal> refusal_of_part(std::string_view bytes, const HeadLimits& limits);

// Fills `request` from a whole head. A refusal leaves it half filled.
std::optional<Refusal> read_head(std::string_view head, const HeadLimits& limits,
                                 Poco::Net::HTTPRequest& request);

// By the first line alone.
Lane lane_of(std::string_view head);

// RFC 9110, 5.6.2.
bool is_token_character(char character);

}  // namespace ephor::http_api
