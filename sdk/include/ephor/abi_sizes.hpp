// SPDX-License-Identifier: Apache-2.0
//
// How large each struct was in the first release that had it; no side may pass a shorter one.
// Generated from sdk/abi/ephor-1.0.toml by sdk/abi/generate.py.
#pragma once

#include <ephor/abi.h>

#include <cstddef>
#include <cstdint>

namespace ephor {

template <typename Struct>
struct FirstRelease;

template <>
struct FirstRelease<ephor_error> {
  static constexpr const char* kName = "ephor_error";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_error, json_pointer) + sizeof(ephor_error::json_pointer));
};
template <>
struct FirstRelease<ephor_writer> {
  static constexpr const char* kName = "ephor_writer";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_writer, write) + sizeof(ephor_writer::write));
};
template <>
struct FirstRelease<ephor_draft> {
  static constexpr const char* kName = "ephor_draft";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_draft, trace_id) + sizeof(ephor_draft::trace_id));
};
template <>
struct FirstRelease<ephor_subscription> {
  static constexpr const char* kName = "ephor_subscription";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_subscription, key) + sizeof(ephor_subscription::key));
};
template <>
struct FirstRelease<ephor_host> {
  static constexpr const char* kName = "ephor_host";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_host, render_json) + sizeof(ephor_host::render_json));
};
template <>
struct FirstRelease<ephor_plugin> {
  static constexpr const char* kName = "ephor_plugin";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_plugin, get_extension) + sizeof(ephor_plugin::get_extension));
};
template <>
struct FirstRelease<ephor_plugin_info> {
  static constexpr const char* kName = "ephor_plugin_info";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_plugin_info, create) + sizeof(ephor_plugin_info::create));
};
template <>
struct FirstRelease<ephor_entry> {
  static constexpr const char* kName = "ephor_entry";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_entry, infos) + sizeof(ephor_entry::infos));
};
template <>
struct FirstRelease<ephor_reply> {
  static constexpr const char* kName = "ephor_reply";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_reply, deadline_ns) + sizeof(ephor_reply::deadline_ns));
};
template <>
struct FirstRelease<ephor_query> {
  static constexpr const char* kName = "ephor_query";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_query, list) + sizeof(ephor_query::list));
};
template <>
struct FirstRelease<ephor_http_route> {
  static constexpr const char* kName = "ephor_http_route";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_http_route, content_type) + sizeof(ephor_http_route::content_type));
};
template <>
struct FirstRelease<ephor_http> {
  static constexpr const char* kName = "ephor_http";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_http, generation) + sizeof(ephor_http::generation));
};
template <>
struct FirstRelease<ephor_storage> {
  static constexpr const char* kName = "ephor_storage";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_storage, select) + sizeof(ephor_storage::select));
};
template <>
struct FirstRelease<ephor_rows> {
  static constexpr const char* kName = "ephor_rows";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_rows, erase) + sizeof(ephor_rows::erase));
};
template <>
struct FirstRelease<ephor_checkpoint> {
  static constexpr const char* kName = "ephor_checkpoint";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_checkpoint, load) + sizeof(ephor_checkpoint::load));
};
template <>
struct FirstRelease<ephor_rejection> {
  static constexpr const char* kName = "ephor_rejection";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_rejection, reason) + sizeof(ephor_rejection::reason));
};
template <>
struct FirstRelease<ephor_ingest_result> {
  static constexpr const char* kName = "ephor_ingest_result";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_ingest_result, last_sequence) + sizeof(ephor_ingest_result::last_sequence));
};
template <>
struct FirstRelease<ephor_journal> {
  static constexpr const char* kName = "ephor_journal";
  static constexpr std::uint32_t kSize = static_cast<std::uint32_t>(
      offsetof(ephor_journal, last_sequence) + sizeof(ephor_journal::last_sequence));
};
template <>
struct FirstRelease<ephor_command> {
  static constexpr const char* kName = "ephor_command";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_command, provide) + sizeof(ephor_command::provide));
};
template <>
struct FirstRelease<ephor_metrics> {
  static constexpr const char* kName = "ephor_metrics";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_metrics, render) + sizeof(ephor_metrics::render));
};
template <>
struct FirstRelease<ephor_log> {
  static constexpr const char* kName = "ephor_log";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_log, log) + sizeof(ephor_log::log));
};
template <>
struct FirstRelease<ephor_health> {
  static constexpr const char* kName = "ephor_health";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_health, snapshot) + sizeof(ephor_health::snapshot));
};
template <>
struct FirstRelease<ephor_task> {
  static constexpr const char* kName = "ephor_task";
  static constexpr std::uint32_t kSize =
      static_cast<std::uint32_t>(offsetof(ephor_task, run) + sizeof(ephor_task::run));
};

template <typename Struct>
inline constexpr std::uint32_t least_size = FirstRelease<Struct>::kSize;

// Whether all that the first release promised is behind the pointer. Reads struct_size alone.
template <typename Struct>
constexpr bool is_whole(const Struct& one) {
  return one.struct_size >= least_size<Struct>;
}

}  // namespace ephor
