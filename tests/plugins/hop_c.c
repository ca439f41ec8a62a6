/* SPDX-License-Identifier: Apache-2.0
 *
 * The least a plugin in C can do with an event; hop_cpp.cpp beside it does the same in C++. */
#include <ephor/abi.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIEW(text) \
  { text, sizeof(text) - 1 }

typedef struct hop {
  uint64_t sum;
} hop;

static ephor_status on_events(void* self, const ephor_event* events, uint32_t count,
                              ephor_error* error) {
  (void)error;
  for (uint32_t i = 0; i < count; ++i) ((hop*)self)->sum += events[i].sequence;
  return EPHOR_OK;
}
static ephor_status save(void* self, const ephor_rows* rows, ephor_writer* state,
                         ephor_error* error) {
  (void)rows, (void)error;
  char text[32];
  const int size = snprintf(text, sizeof text, "%" PRIu64, ((hop*)self)->sum);
  const ephor_view view = {text, (uint64_t)size};
  return state->write(state->context, view);
}
static ephor_status load(void* self, uint32_t version, ephor_view state, ephor_error* error) {
  (void)self, (void)version, (void)state, (void)error;
  return EPHOR_UNSUPPORTED;
}
static ephor_status nothing(void* self, ephor_error* error) {
  (void)self, (void)error;
  return EPHOR_OK;
}
static ephor_status drain(void* self, int64_t deadline_ns, ephor_error* error) {
  (void)deadline_ns;
  return nothing(self, error);
}
static const void* get_extension(void* self, ephor_view id) {
  static const ephor_checkpoint checkpoint = {sizeof checkpoint, 1, save, load};
  static const char storage[] = "ephor.storage/1";
  (void)self;
  return id.size == sizeof storage - 1 && memcmp(id.data, storage, id.size) == 0 ? &checkpoint
                                                                                 : NULL;
}
static ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                           ephor_plugin* out, ephor_error* error) {
  (void)instance, (void)config;
  const ephor_view everything = VIEW(">");
  const ephor_subscription subscription = {
      sizeof subscription, EPHOR_POLICY_REPLAY, &everything, 1, 0, {NULL, 0}};
  hop* self = calloc(1, sizeof *self);
  const ephor_plugin table = {sizeof table, 0,       self, nothing,      on_events,
                              drain,        nothing, free, get_extension};
  if (self == NULL) return EPHOR_FULL;
  const ephor_status status = host->subscribe(host->context, &subscription, error);
  if (status == EPHOR_OK)
    *out = table;
  else
    free(self);
  return status;
}

static const ephor_plugin_info info = {
    sizeof info, 0, VIEW("hop_c"), VIEW("1.0.0"), VIEW(""), VIEW("{}"), NULL, NULL, 0, 0, create};
static const ephor_plugin_info* const infos[] = {&info};
static const ephor_entry entry = {
    EPHOR_ENTRY_MAGIC, sizeof entry, EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, 0, 1, infos};

__attribute__((visibility("default"))) const ephor_entry* ephor_plugin_entry_v1(void) {
  return &entry;
}
