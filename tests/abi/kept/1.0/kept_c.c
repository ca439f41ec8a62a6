/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin of ABI 1.0 in C, kept as a binary for the hosts to come: a subscription, a state, a
 * query. */
#include <ephor/abi.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VIEW(text) \
  { text, sizeof(text) - 1 }

typedef struct counter {
  uint64_t events;
  uint64_t loaded; /* how many of them came with the saved state */
} counter;

static ephor_status on_events(void* self, const ephor_event* events, uint32_t count,
                              ephor_error* error) {
  (void)events, (void)error;
  ((counter*)self)->events += count;
  return EPHOR_OK;
}
static ephor_status answer(void* user, ephor_view request, ephor_reply* reply, ephor_error* error) {
  (void)request, (void)error;
  const counter* self = user;
  char text[96];
  const int size = snprintf(text, sizeof text, "{\"events\":%" PRIu64 ",\"loaded\":%" PRIu64 "}",
                            self->events, self->loaded);
  const ephor_view view = {text, (uint64_t)size};
  return reply->write(reply->context, view);
}
static ephor_status save(void* self, const ephor_rows* rows, ephor_writer* state,
                         ephor_error* error) {
  (void)rows, (void)error;
  const ephor_view view = {(const char*)&((counter*)self)->events, sizeof(uint64_t)};
  return state->write(state->context, view);
}
static ephor_status load(void* self, uint32_t version, ephor_view state, ephor_error* error) {
  (void)error;
  counter* own = self;
  if (version != 1 || state.size != sizeof own->events) return EPHOR_UNSUPPORTED;
  memcpy(&own->events, state.data, sizeof own->events);
  own->loaded = own->events;
  return EPHOR_OK;
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
  const ephor_view topic = VIEW("test.point"), name = VIEW("kept_c.events");
  const ephor_view summary = VIEW("How many events came"), id = VIEW("ephor.query/1");
  const ephor_subscription subscription = {
      sizeof subscription, EPHOR_POLICY_REPLAY, &topic, 1, 0, {NULL, 0}};
  const ephor_query* query = host->get_extension(host->context, id);
  counter* self = calloc(1, sizeof *self);
  const ephor_plugin table = {sizeof table, 0,       self, nothing,      on_events,
                              drain,        nothing, free, get_extension};
  if (self == NULL) return EPHOR_FULL;
  ephor_status status = EPHOR_UNSUPPORTED;
  if (query != NULL && out->struct_size >= sizeof table) {
    status = host->subscribe(host->context, &subscription, error);
  }
  if (status == EPHOR_OK) {
    status = query->provide(query->context, name, summary, answer, self, error);
  }
  if (status == EPHOR_OK)
    *out = table;
  else
    free(self);
  return status;
}

static const ephor_plugin_info info = {sizeof info,
                                       0,
                                       VIEW("kept_c"),
                                       VIEW("1.0.0"),
                                       VIEW("Counts events; kept for later hosts"),
                                       VIEW("{\"type\":\"object\"}"),
                                       NULL,
                                       NULL,
                                       0,
                                       0,
                                       create};
static const ephor_plugin_info* const infos[] = {&info};
static const ephor_entry entry = {
    EPHOR_ENTRY_MAGIC, sizeof entry, EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, 0, 1, infos};

__attribute__((visibility("default"))) const ephor_entry* ephor_plugin_entry_v1(void) {
  return &entry;
}
